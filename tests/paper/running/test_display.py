"""What those see who watch a run."""

import io
import json
import re
import sys
import time

from notebook_files import write

from svcca_lib.paper.running import display, progress
from svcca_lib.paper.running.grid import grid
from svcca_lib.paper.running.plan import Layout
from svcca_lib.paper.store.files import write_json
from svcca_lib.paper.store.paths import REPOSITORY as ROOT


def test_live_lines_say_where_each_job_is_and_what_is_left(tmp_path):
    plan = grid(ROOT, [write(tmp_path / "a.ipynb")], {"seed": ["0-2"]})
    layout = Layout(tmp_path)
    watch = display.Watch(plan, layout, display.Lines(sys.stderr))
    for name, seconds in (("a/quick_seed-0", 100.0), ("a/quick_seed-1", 100.0)):
        write_json(layout.record(name), {"seconds": seconds})
    with watch.looking(), progress.recorded(layout.record("a/quick_seed-2")) as note:
        note(cell=3, cells=9)
        time.sleep(1.5 * progress.EVERY)
        (line,) = watch.lines()
    assert line.startswith("a/quick_seed-2: cell 3 of 9, 1 min ")
    assert line.endswith(" left")


EVENTS = [
    display.Event("a/quick_seed-0", "running"),
    display.Event("a/quick_seed-0", "done", 75.0, 3, 2),
    display.Event("a/quick_seed-1", "failed", error="ValueError: [red]:smile: " + "long " * 40),
]


class Screen(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self):
        return True


def told(listener, stream):
    """Return what a listener writes of a run."""
    for event in EVENTS:
        listener.tell(event)
        listener.show([f"{event.step}: cell 1 of 2", "1 of 2 done"])
    listener.close()
    return stream.getvalue()


def test_a_log_has_a_plain_line_for_each_step_that_ended():
    stream = io.StringIO()
    first, second = told(display.Lines(stream), stream).splitlines()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d a/quick_seed-0: done after 1 min 15 s, 2 of 3 claims hold", first
    )
    assert second.partition(" ")[2] == str(EVENTS[2])  # neither wrapped nor read as markup


def test_a_terminal_has_live_lines_below_those_of_steps_that_ended(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Screen()
    shown = told(display.Lines(stream), stream)
    assert "\x1b[32ma/quick_seed-0: done after 1 min 15 s, 2 of 3 claims hold" in shown
    assert "a/quick_seed-1: cell 1 of 2\n1 of 2 done" in shown
    assert shown.endswith("\x1b[1A\x1b[2K")  # they are taken away at the end


def test_machines_get_an_object_for_each_event():
    stream = io.StringIO()
    lines = [json.loads(line) for line in told(display.Json(stream), stream).splitlines()]
    assert [line["state"] for line in lines] == ["running", "done", "failed"]
    assert {key for line in lines for key in line} == {
        *("time", "step", "state", "seconds", "claims", "holding", "error")
    }
