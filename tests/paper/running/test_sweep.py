"""Sweeps: how a grid becomes jobs, how jobs stand, and what real faults do to them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
from test_runs import texts, write
from typer.testing import CliRunner

from conftest import ROOT
from svcca_lib.__main__ import app
from svcca_lib.paper import profiles
from svcca_lib.paper.chapter.claims import Claim, Ledger, at_least
from svcca_lib.paper.running import collect, devices, display, notebooks, progress, sweep

BOOK = ROOT / "book"
CLI = [sys.executable, "-m", "svcca_lib"]
ENVIRONMENT = os.environ | {"NO_COLOR": "1"}
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
PATIENCE = 500  # seconds; a busy machine may take a minute to import torch


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


# --------------------------------------------------------------------------------- the grid


def test_grid_is_every_combination_once(tmp_path):
    notebook = write(tmp_path / "a.ipynb")
    values = {"seed": ["0-2", "2"], "keep": ["0.5,1"], "deep": ["True"]}
    plan = sweep.grid(ROOT, [notebook], values)
    found = {(j.parameters["seed"], j.parameters["keep"]) for j in plan.jobs}
    assert found == {(seed, keep) for seed in (0, 1, 2) for keep in (0.5, 1.0)}
    assert len(plan.jobs) == 6
    assert len({job.name for job in plan.jobs}) == 6
    assert all(job.parameters["deep"] is True for job in plan.jobs)


def test_default_given_is_the_default(tmp_path):
    notebook = write(tmp_path / "a.ipynb")
    (plain,) = sweep.grid(ROOT, [notebook], {}).jobs
    (given,) = sweep.grid(ROOT, [notebook], {"keep": ["0.99"], "seed": ["0"]}).jobs
    assert plain == given
    assert plain.name == "a/quick_seed-0"


def test_value_with_commas_goes_in_quotes_and_brackets():
    assert sweep.expand({"s": ""}, "s", ["'a,b',c"]) == ["a,b", "c"]
    assert sweep.expand({"t": (1,)}, "t", ["(1, 2),(3,)"]) == [(1, 2), (3,)]


@pytest.mark.parametrize("value", ["cifar10:/a b", "x/y", "a_b", "'", "é", "z" * 200])
def test_job_of_any_value_has_a_plain_name_of_its_own(tmp_path, value):
    notebook = write(tmp_path / "a.ipynb")
    names = {
        sweep.grid(ROOT, [notebook], {"data": [repr(text)]}).jobs[0].name
        for text in (value, value + "2")
    }
    assert len(names) == 2
    for name in names:
        assert name.isascii()
        assert not set(name) & set(" :'\"=,$")
        assert name.count("/") == 1
        assert len(name) < 150


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"sed": ["1"]}, r"a: unknown parameter 'sed'; the chapter takes profile, seed, data"),
        ({"seed": ["one"]}, "a: parameter seed needs int"),
        ({"seed": ["3-1"]}, "a: a range runs upward"),
        ({"seed": ["-1"]}, "a: seed must be at least 0"),
        ({"keep": ["0.5,half"]}, "a: parameter keep needs float"),
        ({"profile": ["quik"]}, "a: profile must be one of quick, cifar10, paper"),
        ({"out": ["x"]}, "a: out is set by the sweep"),
    ],
)
def test_wrong_parameter_fails_before_anything_is_written(tmp_path, values, error):
    notebook = write(tmp_path / "a.ipynb", "raise SystemExit('it ran')")
    with pytest.raises((ValueError, TypeError), match=error):
        sweep.grid(ROOT, [notebook], values)
    arguments = [f"-p{name}={text}" for name, texts in values.items() for text in texts]
    done = invoke("run", notebook, "--out", tmp_path / "runs", *arguments)
    assert done.exit_code == 2
    assert not (tmp_path / "runs").exists()


def test_width_that_no_network_can_have_fails_at_once():
    with pytest.raises(ValueError, match="width must be a positive multiple of 4; got 6"):
        sweep.grid(ROOT, [BOOK / "05-freeze-training.ipynb"], {"width": ["6"]})


def test_the_issues_example_is_a_grid_of_twenty():
    values = {"profile": ["cifar10"], "seed": ["0-9"], "width": ["64,128"]}
    plan = sweep.grid(ROOT, [BOOK / "05-freeze-training.ipynb"], values)
    # 64 is the profile's own; still a job of its own, with networks of its own name
    assert len(plan.jobs) == 20
    widths = {t.width for t in plan.trainings.values()}
    assert widths == {64, 128}


def test_jobs_share_trainings():
    plan = sweep.grid(ROOT, [BOOK / "01-toy-regression.ipynb"], {"keep": ["0.9,0.99"]})
    assert len(plan.jobs) == 2
    assert sorted(plan.trainings) == [f"quick-toy-{seed}" for seed in range(6)]


def test_trainings_of_a_job_are_those_the_chapter_declares():
    (job,) = sweep.grid(ROOT, [BOOK / "03-fourier.ipynb"], {"seed": ["4"]}).jobs
    declared = profiles.profile("quick").trainings("03-fourier")
    assert [(t.name, t.seed) for t in job.trainings] == [(n, 4 + o) for n, o in declared]


def test_plan_is_written_and_read(tmp_path):
    values = {"seed": ["0-1"], "keep": ["0.5"]}
    plan = sweep.grid(ROOT, [write(tmp_path / "a.ipynb")], values, timeout=5.0)
    plan.write(tmp_path)
    assert sweep.Plan.read(tmp_path) == plan
    more = sweep.grid(ROOT, [tmp_path / "a.ipynb"], {"seed": ["1-2"], "keep": ["0.5"]})
    joined = plan.joined(more)
    assert [job.parameters["seed"] for job in joined.jobs] == [0, 1, 2]
    assert joined.timeout is None


def test_folder_without_a_sweep_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds no sweep\.json"):
        sweep.Plan.read(tmp_path)
    for verb in ("resume", "list", "status", "collect", "clean"):
        done = invoke(verb, tmp_path)
        assert done.exit_code == 1, verb


def test_book_is_a_plan_of_every_chapter_once():
    plan = sweep.book(ROOT, "quick")
    assert [job.name for job in plan.jobs] == sorted(
        path.stem for path in BOOK.glob("[0-9]*.ipynb")
    )
    assert {"quick-convnet-0", "quick-resnet-2", "quick-lstm-0"} <= set(plan.trainings)


# --------------------------------------------------------------------- how a step stands


def test_step_says_how_it_stands_from_begin_to_end(tmp_path):
    record = tmp_path / "x" / "run.json"
    assert progress.state(record) == "waiting"
    with progress.recorded(record, chapter="a") as note:
        assert progress.state(record) == "running"
        note(cell=3, cells=9)
        assert progress.state(record) == "running"
    assert progress.state(record) == "done"
    left = json.loads(record.read_text())
    assert left["chapter"] == "a"
    assert left["seconds"] >= 0
    record.unlink()
    with pytest.raises(ZeroDivisionError, match="of nothing"), progress.recorded(record):
        raise ZeroDivisionError("of nothing")
    assert progress.state(record) == "failed"
    assert progress.read(progress.failed_path(record))["error"] == "of nothing"
    assert not record.exists()


@posix
def test_step_of_a_dead_process_has_stopped(tmp_path):
    record = tmp_path / "run.json"
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    pulse = {"host": socket.gethostname(), "pid": child.pid, "started": 0}
    progress.write_json(progress.pulse_path(record), pulse)
    assert progress.state(record) == "stopped"
    elsewhere = pulse | {"host": "another", "pid": os.getpid()}
    progress.write_json(progress.pulse_path(record), elsewhere)
    assert progress.state(record) == "running"
    long_ago = time.time() - 2 * progress.STALE
    os.utime(progress.pulse_path(record), (long_ago, long_ago))
    assert progress.state(record) == "stopped"


def test_only_one_process_does_a_step(tmp_path):
    record = tmp_path / "run.json"
    with progress.recorded(record):
        code = (
            "import sys; from pathlib import Path; from svcca_lib.paper.running import progress\n"
            "print('ready', flush=True)\n"
            "with progress.recorded(Path(sys.argv[1]), by='the second'): pass\n"
        )
        second = subprocess.Popen(
            [sys.executable, "-c", code, str(record)], stdout=subprocess.PIPE, text=True
        )
        assert second.stdout.readline() == "ready\n"
        time.sleep(0.5)
        assert second.poll() is None
        assert progress.read(progress.pulse_path(record))["pid"] == os.getpid()
    second.communicate(timeout=PATIENCE)
    left = json.loads(record.read_text())
    assert left["by"] == "the second"
    assert left["seconds"] < 0.5  # waiting is not counted


@posix
def test_step_ends_with_its_engine_even_if_that_ended_before_it_began(tmp_path):
    record = tmp_path / "run.json"
    code = (
        "import sys, time; from pathlib import Path; from svcca_lib.paper.running import progress\n"
        "with progress.recorded(Path(sys.argv[1]), parent=int(sys.argv[2])): time.sleep(600)\n"
    )
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    child = subprocess.Popen([sys.executable, "-c", code, str(record), str(gone.pid)])
    assert child.wait(timeout=PATIENCE) == -signal.SIGTERM
    assert progress.state(record) == "waiting"


def test_gpus_are_claimed_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setenv(devices.VISIBLE, "4,7")
    with devices.claimed(tmp_path) as first:
        assert (first, os.environ[devices.VISIBLE]) == ("4", "4")
        monkeypatch.setenv(devices.VISIBLE, "4,7")
        with devices.claimed(tmp_path) as second:
            assert second == "7"
    monkeypatch.setenv(devices.VISIBLE, "2")
    with devices.claimed(tmp_path) as alone:
        assert alone is None
        assert os.environ[devices.VISIBLE] == "2"


def test_live_lines_say_where_each_job_is_and_what_is_left(tmp_path):
    plan = sweep.grid(ROOT, [write(tmp_path / "a.ipynb")], {"seed": ["0-2"]})
    layout = sweep.Layout(tmp_path)
    watch = display.Watch(plan, layout, display.Lines(sys.stderr))
    for name, seconds in (("a/quick_seed-0", 100.0), ("a/quick_seed-1", 100.0)):
        progress.write_json(layout.record(name), {"seconds": seconds})
    with watch, progress.recorded(layout.record("a/quick_seed-2")) as note:
        note(cell=3, cells=9)
        time.sleep(1.5 * progress.EVERY)
        (line,) = watch.lines()
    assert line.startswith("a/quick_seed-2: cell 3 of 9, 1 min ")
    assert line.endswith(" left")


# ------------------------------------------------------------------------------- over seeds


def make_sweep(folder, values, chapter="stand-in"):
    """Write a sweep whose jobs are done and measured `values`, without running it."""
    notebook = write(folder / f"{chapter}.ipynb")
    plan = sweep.grid(ROOT, [notebook], {"seed": [f"0-{len(values) - 1}"]})
    plan.write(folder)
    layout = sweep.Layout(folder)
    for job, value in zip(plan.jobs, values, strict=True):
        claim = Claim(
            "high", "ours", "Figure 1", "it is <high>", at_least(1.0), (value,), paper=2.0,
            interval=(value, value), over="images",
        )  # fmt: skip
        layout.results(job.name).mkdir(parents=True)
        ledger = Ledger(chapter, "quick", job.parameters["seed"], "digits", (claim,))
        ledger.write(layout.results(job.name) / "claims.json")
        frame = pd.DataFrame({"curve.x": [0, 1, 2], "curve.y": [value, value + 1, value + 2]})
        frame.to_csv(layout.results(job.name) / "figure-1.csv", index=False)
        pd.DataFrame({"n": range(int(value))}).to_csv(layout.results(job.name) / "odd.csv")
        layout.notebook(job.name).parent.mkdir(parents=True, exist_ok=True)
        layout.notebook(job.name).write_text("{}")
        progress.write_json(layout.record(job.name), {"seconds": 1.5, "cpu_seconds": 1.0})
    return layout, plan


def test_collected_claims_have_mean_interval_and_verdicts(tmp_path):
    make_sweep(tmp_path, [1.0, 2.0, 3.0, 0.0])
    (group,) = collect.collect(tmp_path)
    assert group.name == "stand-in/quick"
    assert group.seeds == (0, 1, 2, 3)
    (claim,) = group.ledger.claims
    # by hand: mean 1.5, standard deviation sqrt(5/3), t(0.975, 3) = 3.182446
    half = 3.182446 * (5 / 3) ** 0.5 / 2
    assert claim.interval == pytest.approx((1.5 - half, 1.5 + half))
    assert group.holding == (3,)
    assert (claim.measured, claim.over, claim.verdict) == (1.5, "seeds", "not settled")
    row = pd.read_csv(tmp_path / "collected" / "ledger.csv").iloc[0]
    assert (row["mean"], row["seeds_holding"], row["paper"]) == (1.5, 3, 2.0)
    page = (tmp_path / "collected" / "index.html").read_text()
    assert "it is &lt;high&gt;" in page
    assert "holds for 3 of 4" in page


def test_collected_figures_have_mean_and_interval_of_every_number(tmp_path):
    make_sweep(tmp_path, [1.0, 3.0])
    (group,) = collect.collect(tmp_path)
    assert group.figures == ("figure-1",)
    assert group.left_out == ("odd",)  # as many rows as the value: not alike
    table = pd.read_csv(tmp_path / "collected" / group.name / "figure-1.csv")
    assert table["curve.y"].tolist() == [2, 3, 4]
    half = 12.706205  # t(0.975, 1), times the standard deviation sqrt(2) over sqrt(2)
    assert (table["curve.y.high"] - table["curve.y"]).tolist() == pytest.approx([half] * 3)
    assert table["curve.x.low"].tolist() == [0, 1, 2]
    assert (tmp_path / "collected" / group.name / "figure-1.svg").stat().st_size > 1000


def test_jobs_that_are_not_done_are_counted_and_left_out(tmp_path):
    layout, plan = make_sweep(tmp_path, [1.0, 2.0, 6.0])
    layout.record(plan.jobs[2].name).unlink()
    (group,) = collect.collect(tmp_path)
    assert (group.seeds, group.missing) == ((0, 1), 1)
    assert group.ledger.claims[0].values == (1.0, 2.0)


def test_seeds_that_share_networks_are_marked(tmp_path):
    make_sweep(tmp_path, [1.0, 2.0], chapter="01-toy-regression")
    assert collect.collect(tmp_path)[0].shared  # seed 0 uses networks 0 and 1, seed 1 uses 1 and 2
    assert "too narrow" in (tmp_path / "collected" / "index.html").read_text()


def test_table_has_parameters_status_times_and_claims(tmp_path):
    layout, plan = make_sweep(tmp_path, [1.0, 0.5])
    rows = [sweep.row(layout, job) for job in plan.jobs]
    sweep.write_table(tmp_path, rows)
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["seed"].tolist() == [0, 1]
    assert table["status"].tolist() == ["done", "done"]
    assert table["claims_hold"].tolist() == [1, 0]
    assert table["high"].tolist() == [1.0, 0.5]
    assert table["seconds"].tolist() == [1.5, 1.5]
    full = json.loads((tmp_path / "table.json").read_text())
    assert [job["claims"][0]["holds"] for job in full] == [True, False]


def test_list_status_and_clean_tell_and_free_space(tmp_path, monkeypatch):
    layout, plan = make_sweep(tmp_path, [1.0, 2.0])
    done = invoke("list", tmp_path)
    assert done.exit_code == 0
    assert "stand-in/quick_seed-0" in done.output
    assert "2 of 2 done" in done.output
    assert invoke("status", tmp_path).exit_code == 0
    said = json.loads(invoke("status", tmp_path, "--json").output)
    assert set(said["jobs"].values()) == {"done"}
    assert said["bytes"]["sweep"] > 0

    record = layout.record(plan.jobs[0].name)
    record.unlink()
    progress.write_json(progress.failed_path(record), {"error": "ValueError: it broke\n"})
    assert "ValueError: it broke" in invoke("list", tmp_path).output
    assert invoke("status", tmp_path).exit_code == 1
    invoke("clean", tmp_path, "--what", "failed")
    assert record.parent.exists()  # it only said what it would do
    invoke("clean", tmp_path, "--what", "failed", "--yes")
    assert not record.parent.exists()
    assert layout.record(plan.jobs[1].name).exists()
    invoke("clean", tmp_path, "--what", "everything", "--yes")
    assert not (tmp_path / "sweep.json").exists()


def test_help_has_examples():
    assert "--seed 0-4" in invoke("run", "--help").output
    assert "torchrun" in invoke("compare", "--help").output


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("svcca ", "resume"),
        ("svcca run --on ", "slurm"),
        ("svcca run book/0", "book/03-fourier.ipynb"),
    ],
)
def test_shell_completes_verbs_clusters_and_chapters(line, expected):
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = CliRunner().invoke(
        app, prog_name="svcca", env={"_SVCCA_COMPLETE": "complete_bash", **words}
    )
    assert expected in done.output.splitlines()


KUBECTL = """#!/bin/sh
# a stand-in: create keeps what it is given, get says what the test wrote
echo "$@" >> "$0.calls"
case $1 in
    create) cat > "$0.created" ;;
    get) cat "$0.answer" ;;
esac
"""


@posix
def test_kubernetes_jobs_are_submitted_followed_and_deleted(tmp_path):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    pods = ROOT / "workflow" / "profiles" / "kubernetes" / "pods"
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    where = {"SVCCA_IMAGE": "image:1", "SVCCA_CLAIM": "claim", "SVCCA_MOUNT": "/svcca"}

    def call(*arguments, **environment):
        return subprocess.run(
            [sys.executable, pods, *arguments],
            env={"PATH": path, **environment},
            capture_output=True,
            text=True,
        )

    size = ["--cpus", "4", "--memory-mb", "3000", "--gpus", "1"]
    assert "SVCCA_CLAIM" in call("submit", *size, "/svcca/job.sh").stderr
    name = call("submit", *size, "/svcca/job.sh", **where).stdout.strip()
    job = json.loads((tmp_path / "kubectl.created").read_text())
    assert job["metadata"]["name"] == name
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["/bin/sh", "/svcca/job.sh"]
    assert container["resources"]["limits"] == {
        "cpu": "4",
        "memory": "3000M",
        "nvidia.com/gpu": "1",
    }
    answers = {
        '{"status": {"active": 1}}': "running",
        '{"status": {"succeeded": 1}}': "success",
        '{"status": {"failed": 1}}': "failed",
        "": "failed",  # somebody deleted it
    }
    for answer, said in answers.items():
        (tmp_path / "kubectl.answer").write_text(answer)
        assert call("status", name).stdout.strip() == said
    call("one", "two")
    last = (tmp_path / "kubectl.calls").read_text().splitlines()[-1]
    assert last == "delete job --wait=false --ignore-not-found one two"


# ------------------------------------------------------------------ faults, by real processes

STAND_IN = """
import json, os, time
from pathlib import Path

allowed = Path(data).exists()
if not allowed:
    Path(out, "began").touch()
    if seed == 1:
        raise ValueError("seed 1 is wrong")
    if seed == 2:
        os._exit(9)
    if seed in (3, 4):
        time.sleep(600)
claim = {"id": "c", "kind": "ours", "figure": "Figure 1", "statement": "s", "measured": seed}
claim |= {"rule": {"low": 0, "high": None}, "holds": True}
ledger = {"chapter": "a", "profile": profile, "seed": seed, "data": "", "claims": [claim]}
ledger["omitted"] = []
Path(out, "claims.json").write_text(json.dumps(ledger))
print("whole")
"""


def wait(look):
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def command(*arguments, **options):
    """Start the command line in a group of processes of its own, as a terminal does."""
    process = subprocess.Popen(
        [*CLI, *map(str, arguments)],
        env=ENVIRONMENT,
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )
    try:
        yield process
    finally:
        for child in psutil.Process(process.pid).children() if process.poll() is None else ():
            child.kill()
        process.kill()
        process.communicate()


def processes_in(folder):
    """Return the steps of a sweep whose processes live."""
    return [
        path
        for path in folder.rglob("*.pulse")
        if progress.state(path.with_suffix(".json")) == "running"
    ]


@posix
def test_faults_stop_no_other_job_and_resume_mends_them(tmp_path):
    """A job that fails, a kernel that dies, a notebook that hangs, a job that is killed."""
    notebook = write(tmp_path / "a.ipynb", STAND_IN)
    allow, out = tmp_path / "allow", tmp_path / "out of" / "the way"
    layout = sweep.Layout(out)
    given = ["--seed", "0-4", "--data", allow, "--out", out, "--timeout", "4", "--cores", "2"]
    with command("run", notebook, *given, "--json") as engine:
        plan = wait(lambda: (out / "sweep.json").is_file() and sweep.Plan.read(out))
        records = [layout.record(job.name) for job in plan.jobs]
        wait(lambda: (records[4].parent / "began").is_file())
        os.kill(progress.read(progress.pulse_path(records[4]))["pid"], signal.SIGKILL)
        output, _ = engine.communicate(timeout=PATIENCE)
    assert engine.returncode == 1, output
    states = [progress.state(record) for record in records]
    assert states == ["done", "failed", "failed", "failed", "stopped"], output
    said = [progress.read(progress.failed_path(record)) for record in records[1:4]]
    assert "seed 1 is wrong" in said[0]["error"]
    assert "ied" in said[1]["error"]  # "Kernel died"
    assert "timed out" in said[2]["error"]
    stopped = notebooks.unfinished(layout.notebook(plan.jobs[1].name))
    assert "seed 1 is wrong" in stopped.read_text()
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["state"] for line in lines[:-1]].count("failed") == 3
    assert lines[-1]["exit"] == 1
    assert not any(layout.notebook(job.name).exists() for job in plan.jobs[1:])

    allow.touch()
    first = records[0].read_text()
    with command("resume", out, "--cores", "2") as engine:
        output, _ = engine.communicate(timeout=PATIENCE)
    assert engine.returncode == 0, output
    assert records[0].read_text() == first, "what was finished was done again"
    for job in plan.jobs:
        assert "whole\n" in texts(layout.notebook(job.name))
    table = pd.read_csv(out / "table.csv")
    assert table["status"].tolist() == ["done"] * 5
    assert table["c"].tolist() == [0, 1, 2, 3, 4]


@posix
def test_an_engine_that_is_killed_takes_its_jobs_along_and_another_goes_on(tmp_path):
    notebook = write(tmp_path / "a.ipynb", STAND_IN)
    allow, out = tmp_path / "allow", tmp_path / "runs"
    layout = sweep.Layout(out)
    given = ["--seed", "3-4", "--data", allow, "--out", out, "--cores", "2"]
    with command("run", notebook, *given) as engine:
        wait(lambda: len(list(out.rglob("began"))) == 2)
        beside = invoke("resume", out)
        assert beside.exit_code == 1
        assert "another run is under way" in beside.output
        engine.kill()
    wait(lambda: not processes_in(out))

    with command("resume", out, "--cores", "2") as engine:
        (path, *_) = wait(lambda: processes_in(out))
        wait(lambda: "cell" in (progress.read(path) or {}))
        os.killpg(engine.pid, signal.SIGINT)  # Ctrl-C
        output, _ = engine.communicate(timeout=PATIENCE)
    assert engine.returncode == 130, output
    assert not processes_in(out)
    assert not list(out.rglob("run.json"))
    assert [sweep.row(layout, job).state for job in sweep.Plan.read(out).jobs] != ["done"] * 2


def test_a_full_disk_leaves_no_step_that_seems_done(tmp_path, monkeypatch):
    record = tmp_path / "run.json"

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), progress.recorded(record):
        pass
    assert progress.state(record) == "waiting"
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
