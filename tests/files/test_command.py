"""``svcca compare a.npy b.npy``: what it takes and says, with and without the extras."""

import csv
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from svcca_lib import MEASURES, svcca
from svcca_lib.__main__ import REPRODUCTION, app
from svcca_lib.files import command
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

RNG = np.random.default_rng(2)
X = RNG.normal(size=(300, 6))
Y = X[:, :4] + RNG.normal(size=(300, 4))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", X)
    np.save("b.npy", Y)
    np.savez("a.npz", fc1=X, fc2=X[:, :3], labels=np.arange(300))
    np.savez("b.npz", fc1=Y, fc2=X)
    return tmp_path


@pytest.fixture
def say(folder, capsys):
    def run(*arguments):
        try:
            status = command.main([str(a) for a in arguments])
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return run


def test_two_layers_give_a_line(say):
    right = svcca(X, Y, keep=0.9)
    status, out, err = say("compare", "a.npy", "b.npy", "--keep", "0.9")
    assert (status, err) == (0, "")
    assert out == (
        f"{right.similarity:.4f}  svcca of a.npy and b.npy; independent layers would score "
        f"{right.chance:.4f}; n = 300, {right.x_kept} and {right.y_kept} directions\n"
    )


def test_two_files_of_many_layers_give_a_table(say):
    status, out, err = say("compare", "a.npz", "b.npz", "--csv", "deep/t.csv")
    assert status == 0
    assert err == (
        "note: left out: a.npz:labels has shape (300,), and a layer is (datapoints, neurons)\n"
    )
    head, columns, *rows = out.splitlines()
    assert head == "svcca, n = 300; in parentheses what independent layers would score"
    assert columns.split() == ["fc1", "fc2"]
    assert [row.split()[0] for row in rows] == ["fc1", "fc2"]
    right = svcca(X, Y)
    assert f"{right.similarity:.3f} ({right.chance:.3f})" in rows[0]
    with open("deep/t.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert [(row["a"], row["b"]) for row in written] == [
        *(("fc1", "fc1"), ("fc1", "fc2")),
        *(("fc2", "fc1"), ("fc2", "fc2")),
    ]
    assert float(written[0]["similarity"]) == pytest.approx(right.similarity, abs=1e-12)
    assert float(written[0]["chance"]) == pytest.approx(right.chance, abs=1e-12)


def test_json_is_for_machines(say):
    np.savez("dead.npz", fc1=X, dead=np.ones((300, 2)))
    status, out, _ = say("compare", "dead.npz", "b.npy", "--measure", "cca", "--json")
    said = json.loads(out)
    assert (status, said["measure"], said["n"]) == (0, "cca", 300)
    first, dead = said["pairs"]
    assert first["similarity"] == pytest.approx(svcca(X, Y, keep=1).similarity, abs=1e-12)
    assert dead["similarity"] is None


def test_few_datapoints_are_noted(say):
    np.save("few.npy", X[:5])
    _, _, err = say("compare", "few.npy")
    assert err.startswith("note: 5 datapoints for a layer of 6 neurons: independent layers")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (["a.npy", "c.npy"], 1, "error: there is no file c.npy"),
        (["a.npy", "b.npy", "--keeep", "1"], 2, "error: unrecognized arguments: --keeep 1"),
        (["a.npy", "b.npy", "--keep", "some"], 2, "argument --keep: invalid float value: 'some'"),
        (["a.npy", "b.npy", "--keep", "2"], 1, "error: keep must"),
        (["a.npy", "b.npy", "--measure", "svca"], 2, "argument --measure: invalid choice: 'svca'"),
        (["a.npy", "b.npy", "--measure", "cka", "--keep", "1"], 2, "cka takes the options kernel"),
        (["a.npz:fc9", "b.npy"], 1, "error: a.npz holds no layer 'fc9'; it holds fc1, fc2"),
        (["a.txt"], 1, "error: there is no file a.txt"),
        (["a.npy", "b.npy", "--csv", "."], 1, "error: . is a folder: name a file"),
        ([], 2, "the following arguments are required: A"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(say, arguments, status, error):
    found, out, err = say("compare", *arguments)
    assert (found, out) == (status, "")
    assert error in err
    assert err.count("\n") == 1


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=12), max_size=4))
@settings(deadline=None)
def test_no_arguments_end_in_a_traceback(arguments):
    try:
        command.main(["compare", *arguments])
    except SystemExit as end:
        assert end.code in (0, 1, 2)  # noqa: PT017


def test_name_that_begins_with_a_dash(say):
    np.save("-a.npy", X)
    assert say("compare", "--", "-a.npy", "b.npy")[0] == 0


def test_help_shows_every_option_of_every_measure(say):
    status, out, _ = say("compare", "--help")
    assert status == 0
    for measure in MEASURES.values():
        for field in fields(measure):
            assert f"--{field.name.replace('_', '-')}" in out
    assert "of svcca (0.99), pwcca (1.0)" in " ".join(out.split())
    assert "svcca compare a.npy b.npy" in out


def test_measures_are_listed(say):
    _, out, _ = say("measures")
    assert [line.partition(":")[0] for line in out.splitlines() if line[0] != " "] == list(MEASURES)
    assert "    --keep 0.99\n" in out


def test_both_kinds_of_compare_are_one_command(folder):
    done = CliRunner().invoke(app, ["compare", "a.npy", "b.npy"])
    assert done.exit_code == 0
    assert "svcca of a.npy and b.npy" in done.output
    told = CliRunner().invoke(app, ["compare", "--help"]).output
    assert "--mean-over" in told
    assert "torchrun" in told
    wrong = CliRunner().invoke(app, ["compare", "no.module:model", "no.module:model"])
    assert "there is no no.module:model" in wrong.output
    listed = CliRunner().invoke(app, ["--help"]).output
    assert all(f" {name} " in listed for name in (*REPRODUCTION, "compare", "measures"))


def test_commands_that_come_with_the_extra_are_those_that_are_listed_without():
    import typer

    commands = set(typer.main.get_command(app).commands)
    assert commands == {*REPRODUCTION, "compare", "measures"}


BLOCKED = ("typer", "click", "rich", "snakemake", "papermill", "pandas", "torchvision", "h5py")
PLAIN = f"""
import sys
for name in {BLOCKED!r}: sys.modules[name] = None
from svcca_lib.__main__ import main
status = []
for line in sys.stdin.read().splitlines():
    sys.argv = ["svcca", *line.split()]
    print("$", line, flush=True)
    try:
        main()
    except SystemExit as end:
        print("status", end.code or 0, flush=True)
"""


def test_plain_install_has_the_command_and_says_what_the_rest_needs(folder):
    (folder / "a.h5").touch()
    lines = ("--help", "", "compare a.npy b.npy", "measures", "run x.ipynb", "compare a.h5")
    networks = ("compare convnet+0 convnet+1", "frobnicate")
    done = subprocess.run(
        [sys.executable, "-c", PLAIN],
        input="\n".join([*lines, *networks]),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    said = dict(part.split("\n", 1) for part in done.stdout.split("$ ")[1:])
    for line in ("--help", ""):
        assert all(name in said[line] for name in (*REPRODUCTION, "compare", "measures"))
        assert "pip install 'svcca-lib[workflow]'" in said[line]
    assert "svcca of a.npy and b.npy" in said["compare a.npy b.npy"]
    assert "status 0" in said["measures"]
    assert all("status" in text for text in said.values())
    assert said["run x.ipynb"] == said["compare convnet+0 convnet+1"] == "status 1\n"
    extra = "which is not installed: pip install 'svcca-lib[workflow]'"
    assert done.stderr.splitlines()[:3] == [
        f"error: run needs typer, {extra}",
        "error: .h5 files are read by h5py, which is not installed: pip install 'svcca-lib[files]'",
        f"error: compare needs typer, {extra}",
    ]
    assert "invalid choice: 'frobnicate'" in done.stderr.splitlines()[3]


def test_command_is_what_the_project_installs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"svcca": "svcca_lib.__main__:main"}
    plain = [line.partition(">")[0] for line in project["dependencies"]]
    assert not set(BLOCKED) & set(plain)
