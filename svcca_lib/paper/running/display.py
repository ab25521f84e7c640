"""How a run goes, for those who watch it: lines that live on a terminal, plain lines, or JSON.

Everything is read from the files that steps write (`progress`), so it is the same for processes of
this machine and for jobs of a cluster.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from svcca_lib.paper.chapter.provenance import duration
from svcca_lib.paper.running import progress, sweep

EVERY = 1.0  # seconds between two looks


@dataclass(frozen=True)
class Event:
    """A step began, or ended.

    Attributes
    ----------
    step : str
        A job's name, or "training ..." and its id.
    state : str
        "running", "done", "failed" or "stopped".
    seconds : float or None
        That it took.
    claims, holding : int or None
        Of a chapter that is done.
    error : str
        Of one that failed, in a line.
    """

    step: str
    state: progress.State
    seconds: float | None = None
    claims: int | None = None
    holding: int | None = None
    error: str = ""

    def __str__(self) -> str:
        text = f"{self.step}: {self.state}"
        if self.seconds is not None:
            text += f" after {duration(self.seconds)}"
        if self.claims:
            text += f", {self.holding} of {self.claims} claims hold"
        return f"{text}: {self.error}" if self.error else text


class Listener(Protocol):
    """What a run is told to."""

    def tell(self, event: Event) -> None:
        """A step began or ended."""

    def show(self, lines: list[str]) -> None:
        """What is under way now, a line for each step and one for all."""

    def close(self) -> None:
        """No more is to come."""


class Lines:
    """A plain line for each step that ended: for logs."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def tell(self, event: Event) -> None:
        """Write steps that ended."""
        if event.state != "running":
            print(time.strftime("%H:%M:%S"), event, file=self.stream, flush=True)

    def show(self, lines: list[str]) -> None:
        """Write nothing: a log is no place for what changes every second."""

    def close(self) -> None:
        """Leave the stream open: it is the caller's."""


class Json:
    """An object in a line for each event: for machines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def tell(self, event: Event) -> None:
        """Write what is known of the event."""
        known = {key: value for key, value in asdict(event).items() if value not in (None, "")}
        print(json.dumps({"time": round(time.time(), 1), **known}), file=self.stream, flush=True)

    def show(self, lines: list[str]) -> None:
        """Write nothing: see the files of the steps."""

    def close(self) -> None:
        """Leave the stream open: it is the caller's."""


class Terminal:
    """A line for each step under way, kept up to date, below those that ended."""

    def __init__(self, console: Console) -> None:
        self.live = Live(console=console, auto_refresh=False, transient=True)
        self.live.start()

    def tell(self, event: Event) -> None:
        """Print steps that ended, above the live lines."""
        style = {"failed": "red", "stopped": "red", "done": "green"}.get(event.state)
        if style:
            self.live.console.print(Text(str(event), style=style))

    def show(self, lines: list[str]) -> None:
        """Replace the live lines."""
        width = self.live.console.width
        self.live.update(Text("\n".join(line[:width] for line in lines)), refresh=True)

    def close(self) -> None:
        """Take the live lines away."""
        self.live.stop()


def for_stream(stream: TextIO) -> Listener:
    """Return live lines for a terminal, plain ones for anything else."""
    return Terminal(Console(file=stream)) if stream.isatty() else Lines(stream)


class Watch:
    """Looks every second at the files of a plan's steps, and tells a listener what is new.

    Parameters
    ----------
    plan, layout
        What to look at, and where.
    listener : Listener
    table : bool
        Keep the table of the sweep up to date.

    Attributes
    ----------
    stopped : list of str
        Steps that failed or were killed meanwhile.
    """

    def __init__(
        self, plan: sweep.Plan, layout: sweep.Layout, listener: Listener, table: bool = False
    ) -> None:
        self.plan, self.layout, self.listener, self.table = plan, layout, listener, table
        self.folder = layout.folder
        self.jobs = {job.name: job for job in plan.jobs}
        self.records = {f"training {name}": layout.trained(name) for name in plan.trainings}
        self.records |= {name: layout.record(name) for name in self.jobs}
        self.states: dict[str, progress.State] = {}
        self._seen: dict[str, tuple[progress.State, int]] = {}
        self.took: dict[str, list[float]] = defaultdict(list)  # seconds of a kind's finished steps
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    @property
    def stopped(self) -> list[str]:
        """Steps that failed or were killed."""
        return [name for name, state in self.states.items() if state in ("failed", "stopped")]

    def __enter__(self) -> Watch:
        for name, record in self.records.items():
            self._seen[name] = state, _ = _look_at(record)
            # That a step stopped in an earlier run is no news of this one.
            self.states[name] = "waiting" if state in ("failed", "stopped") else state
            if state == "done":
                self._learn(name, progress.read(record))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._update()
        self.listener.close()

    def _look(self) -> None:
        while not self._over.wait(EVERY):
            self._update()

    def _update(self) -> None:
        news = False
        for name, record in self.records.items():
            state, stamp = _look_at(record)
            if (state, stamp) != self._seen[name]:
                self._seen[name], self.states[name], news = (state, stamp), state, True
                if state != "waiting":
                    self.listener.tell(self._event(name, state))
        if self.table and news:
            with suppress(OSError):  # a full disk: the next look tries again
                sweep.write_table(
                    self.folder, [sweep.row(self.layout, job) for job in self.plan.jobs]
                )
        self.listener.show([*self.lines(), counts(self.states.values())])

    def lines(self) -> list[str]:
        """Return a line for each step under way: where it is and what time it has left."""
        return [
            self._line(name, progress.read(progress.pulse_path(record)) or {})
            for name, record in self.records.items()
            if progress.state(record) == "running"
        ]

    def _event(self, name: str, state: progress.State) -> Event:
        if state == "running":
            return Event(name, state)
        if name not in self.jobs:
            paths = {"done": self.records[name], "failed": progress.failed_path(self.records[name])}
            said = (progress.read(paths[state]) if state in paths else None) or {}
            claims = ()
        else:
            row = sweep.row(self.layout, self.jobs[name])
            said, claims = row.record, row.claims
        if state == "done":
            self._learn(name, said)
        return Event(
            name,
            state,
            said.get("seconds"),
            len(claims) or None,
            sum(claim["holds"] for claim in claims) if claims else None,
            sweep.first_line(said.get("error", "")),
        )

    def _learn(self, name: str, said: Mapping[str, Any] | None) -> None:
        if said and "seconds" in said:
            self.took[self._kind(name)].append(said["seconds"])

    def _kind(self, name: str) -> str:
        return name.split("/")[0] if name in self.jobs else name.rpartition("-")[0]

    def _line(self, name: str, pulse: Mapping[str, Any]) -> str:
        """Return where a step is and, where that can be judged, the time it has left."""
        spent = max(0.0, time.time() - pulse.get("started", time.time()))
        where, left = f"{duration(spent)}", None
        if "step" in pulse:
            where = f"step {pulse['step']:,} of {pulse['steps']:,}"
            left = pulse["seconds"] / max(pulse["step"], 1) * (pulse["steps"] - pulse["step"])
        elif "cell" in pulse:
            where = f"cell {pulse['cell']} of {pulse['cells']}"
        if left is None and (took := self.took.get(self._kind(name))):
            left = max(0.0, statistics.median(took) - spent)
        return f"{name}: {where}" + (f", {duration(left)} left" if left is not None else "")


def _look_at(record: Path) -> tuple[progress.State, int]:
    """Return the state of a step, and which failure it is: a step may fail twice in a row."""
    state = progress.state(record)
    with suppress(OSError):
        if state == "failed":
            return state, progress.failed_path(record).stat().st_mtime_ns
    return state, 0


def counts(states: Iterable[str]) -> str:
    """Return how many steps are in which state, in words.

    Examples
    --------
    >>> counts(["done", "waiting", "done"])
    '2 of 3 done, 1 waiting'
    """
    found = Counter(states)
    parts = [f"{found['done']} of {found.total()} done"]
    order = ("running", "failed", "stopped", "waiting")
    return ", ".join([*parts, *(f"{found[state]} {state}" for state in order if found[state])])
