"""One chapter with given parameters, through papermill.

papermill executes; here are the checks and the clean-up it leaves open: an unknown or mistyped
parameter fails before anything runs, the kernel is the running interpreter whatever else is
installed or active, the executed notebook holds no path, no time and no name of this machine, and
a notebook that stops half-way is never taken for a finished one.
"""

from __future__ import annotations

import ast
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbformat import NotebookNode
from traitlets import default

from svcca_lib.paper.chapter.outputs import read_notebook
from svcca_lib.paper.data.sources import Spec, source_of
from svcca_lib.paper.store.files import write_whole

logger = logging.getLogger(__name__)


class ChapterError(RuntimeError):
    """A chapter did not run to its end."""


class _ThisInterpreter(AsyncKernelManager):
    """Kernels of the running interpreter, whatever kernel specifications are installed."""

    @default("transport_encryption")
    def _encrypt(self) -> str:
        return "auto"  # the default warns on every start that others on this machine may listen

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


def parameters(notebook: Path) -> dict[str, Any]:
    """Return the parameters a notebook takes, with their defaults; ValueError if it takes none."""
    import papermill

    logging.getLogger("papermill").setLevel(logging.WARNING)
    known = papermill.inspect_notebook(notebook)
    if not known:
        raise ValueError(f"{notebook} takes no parameters: it needs a cell tagged 'parameters'")
    return {name: ast.literal_eval(entry["default"]) for name, entry in known.items()}


def check(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` if each is a known parameter of the type of its default.

    ValueError for a parameter that the notebook does not have, TypeError for a value of another
    type. An integer is accepted where the default is a float.
    """
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"unknown parameter {name!r}; the chapter takes {', '.join(known)}")
        wanted = type(known[name])
        accepted = (int, float) if wanted is float else wanted
        if not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool):
            raise TypeError(
                f"parameter {name} needs {wanted.__name__} like its default {known[name]!r}, "
                f"got {type(value).__name__} {value!r}"
            )
    return dict(given)


def assigned(assignment: str) -> tuple[str, str]:
    """Return the name and the value of a text such as ``"seed=3"``; ValueError for any other."""
    name, sign, text = assignment.partition("=")
    if not sign:
        raise ValueError(f"a parameter is given as name=value, got {assignment!r}")
    return name, text


def parse(known: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Return typed parameters from texts such as ``"seed=3"``; the defaults give the types."""
    given: dict[str, Any] = {}
    for name, text in map(assigned, assignments):
        given[name] = text
        if not isinstance(known.get(name, ""), str):
            with suppress(SyntaxError, ValueError):  # `check` names the type that was expected
                given[name] = ast.literal_eval(text)
    return check(known, given)


def execute(
    notebook: Path,
    output: Path,
    given: Mapping[str, Any] | None = None,
    *,
    timeout: float | None = None,
    note: Callable[..., None] | None = None,
) -> None:
    """Execute a chapter and write it to `output`, which may be `notebook` itself.

    Parameters
    ----------
    given
        Parameters that differ from the defaults.
    timeout
        Seconds that a single cell may take; no limit if not given.
    note
        ``note(cell=..., cells=...)`` is called before each cell.

    Raises
    ------
    ValueError, TypeError
        For unknown and mistyped parameters, before anything runs.
    ChapterError
        If a cell fails, exceeds the timeout or loses its kernel. The notebook as far as it came is
        where `unfinished` says.
    """
    import matplotlib.font_manager  # noqa: F401 (its first import says so, here and not in a cell)
    import papermill
    from papermill.exceptions import PapermillExecutionError

    known = parameters(notebook)
    given = check(known, given or {})
    if given.get("out"):
        given["out"] = str(Path(given["out"]).resolve())
    if given.get("data"):
        given["data"] = anchored(given["data"])
    stopped = unfinished(output)
    stopped.parent.mkdir(parents=True, exist_ok=True)
    try:
        executed = papermill.execute_notebook(
            notebook,
            stopped,
            given,
            progress_bar=False,
            execution_timeout=timeout,
            kernel_manager_class=_ThisInterpreter,
            on_cell_start=_announcing(notebook, bool(given), note),
        )
    except (CellControlSignal, PapermillExecutionError, DeadKernelError) as error:
        reason = str(error)
        if isinstance(error, CellControlSignal):  # goes on with the whole cell
            reason = reason.partition("\n")[0]
        raise ChapterError(f"{notebook.stem} stopped, see {stopped}: {reason}") from error
    _publishable(executed, known)
    text = nbformat.writes(executed)  # type: ignore[no-untyped-call]
    write_whole(output, text.rstrip("\n") + "\n")
    stopped.unlink()
    with suppress(OSError):  # another chapter may be under way there
        stopped.parent.rmdir()


def unfinished(output: Path) -> Path:
    """Return where a chapter that is executed to `output` lies until it is finished."""
    return output.parent / "unfinished" / output.name


def _announcing(
    notebook: Path, injected: bool, note: Callable[..., None] | None
) -> Callable[..., None]:
    """Return what says which cell runs: to `note` every time, in the log every other second."""
    cells = len(read_notebook(notebook).cells) + injected
    due = time.monotonic()

    def announce(cell: NotebookNode, cell_index: int) -> None:
        nonlocal due
        if note is not None:
            note(cell=cell_index + 1, cells=cells)
        if time.monotonic() >= due:
            logger.info("%s: cell %d of %d", notebook.stem, cell_index + 1, cells)
            due = time.monotonic() + 2.0

    return announce


def anchored(data: str) -> str:
    """Return a specification of data with absolute paths: a kernel may run anywhere.

    A notebook that is no chapter may mean something else by its data: that stays as it is.
    """
    try:
        return str(Spec.parse(data).anchored())
    except ValueError:
        return data


def _publishable(executed: NotebookNode, known: Mapping[str, Any]) -> None:
    """Take everything that belongs to this machine or this run out of an executed notebook.

    The cell that papermill injects keeps the parameters that matter to a reader: not the folder of
    the results, and of the data only its kind. Where nothing differs from the defaults it goes.
    """
    executed.metadata.pop("papermill", None)
    executed.metadata.get("language_info", {}).pop("version", None)
    for cell in list(executed.cells):
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.source = _injected(cell.source, known)
            if not cell.source:
                executed.cells.remove(cell)
    code = (cell for cell in executed.cells if cell.cell_type == "code")
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count


def _injected(source: str, known: Mapping[str, Any]) -> str:
    """Return the injected assignments that a reader needs, or nothing."""
    lines = []
    for statement in ast.parse(source).body:
        assert isinstance(statement, ast.Assign)  # papermill injects nothing else
        name = ast.unparse(statement.targets[0])
        value = ast.literal_eval(statement.value)
        if name == "data":
            value = source_of(value)
        if name != "out" and value != known[name]:
            lines.append(f"{name} = {value!r}")
    return "\n".join(["# Parameters", *lines]) if lines else ""
