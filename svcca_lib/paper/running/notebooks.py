"""One chapter with given parameters, through papermill.

papermill executes; here are the checks and the clean-up it leaves open: an unknown or mistyped
parameter fails before anything runs, the kernel is the running interpreter whatever else is
installed or active, the executed notebook holds no path, no time and no name of this machine, and
a notebook that stops half-way is never taken for a finished one.
"""

from __future__ import annotations

import ast
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellControlSignal
from nbformat import NotebookNode
from traitlets import default

from svcca_lib.files.paths import file_to_be, folder_to_be
from svcca_lib.paper.chapter.outputs import read_notebook
from svcca_lib.paper.data.sources import Spec, source_of
from svcca_lib.paper.running.brought import absolute, brought, named
from svcca_lib.paper.running.sockets import own_sockets
from svcca_lib.paper.store.files import write_whole

logger = logging.getLogger(__name__)

KERNEL_START = 300  # seconds that a kernel may take: on a busy machine a minute is not enough
_INJECTED = "injected-parameters"  # the tag of the cell that sets what differs from the defaults


class ChapterError(RuntimeError):
    """A chapter did not run to its end."""


class _ThisInterpreter(AsyncKernelManager):
    """Kernels of the running interpreter, whatever kernel specifications are installed."""

    def __init__(self, **traits: Any) -> None:
        super().__init__(**own_sockets() | traits)

    @default("transport_encryption")
    def _encrypt(self) -> str:
        return "auto"  # the default warns on every start that others on this machine may listen

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


def parameters(notebook: Path) -> dict[str, Any]:
    """Return the parameters a notebook takes, with their defaults, as its tagged cell assigns them.

    ValueError if it is no notebook, takes none, or a default is no plain value.
    """
    cell = next((c for c in _read(notebook).cells if _tagged(c, "parameters")), None)
    lines = [] if cell is None else cell.source.splitlines()
    code = "\n".join("" if line.startswith(("%", "!")) else line for line in lines)
    try:
        statements = ast.parse(code).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f"the cell of the parameters of {notebook} is no Python: {error}"
        ) from None
    known: dict[str, Any] = {}
    for statement in statements:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                known[name] = _default(notebook, name, value)
    if not known:
        raise ValueError(f"{notebook} takes no parameters: it needs a cell tagged 'parameters'")
    return known


def _default(notebook: Path, name: str, value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        raise ValueError(
            f"{notebook}: the default of {name} must be a plain value, such as 3 or 'text'; it is "
            f"{ast.unparse(value)}"
        ) from None


def check(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` if each is a known parameter of the type of its default.

    ValueError for a parameter that the notebook does not have, or a value that Python code cannot
    state (an infinite number), TypeError for a value of another type. An integer is accepted where
    the default is a float.
    """
    checked = {}
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
        if wanted in (int, float, str) and type(value) not in (int, float, str):
            value = wanted(value)  # one of NumPy's
        if not _stated(value):
            raise ValueError(f"parameter {name} needs a value that Python can state; got {value!r}")
        checked[name] = value
    return checked


def _stated(value: Any) -> bool:
    """Return whether the code that is injected gives the very value."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False


def assigned(assignment: str) -> tuple[str, str]:
    """Return the name and the value of a text such as ``"seed=3"``; ValueError for any other."""
    name, sign, text = assignment.partition("=")
    if not sign:
        raise ValueError(f"a parameter is given as name=value, got {assignment!r}")
    return name, text


def parse(known: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Return typed parameters from texts such as ``"seed=3"``; the defaults give the types.

    What begins with a quote is a text as Python writes it; any other text stands for itself.

    >>> parse({"name": "", "sizes": (1,)}, ["name=a=b", "sizes=(3,)"])
    {'name': 'a=b', 'sizes': (3,)}
    >>> parse({"name": ""}, ["name='a, b'"])
    {'name': 'a, b'}
    """
    given = {name: _value(known, name, text) for name, text in map(assigned, assignments)}
    return check(known, given)


def _value(known: Mapping[str, Any], name: str, text: str) -> Any:
    literal = not isinstance(known.get(name, ""), str)
    if not literal and text[:1] not in ("'", '"'):
        return text
    # `check` names the type that was expected
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a backslash that begins no escape
        value = ast.literal_eval(text.strip())
        if literal or isinstance(value, str):
            return value
    if literal:
        return text
    raise ValueError(
        f"the value of {name} begins with a quote, so all of it must be one text in quotes, such "
        f'as {name}="it\'s"; got {text}'
    )


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
        Seconds that a single cell may take, rounded up to whole ones; no limit if not given.
    note
        ``note(cell=..., cells=...)`` is called before each cell.

    Raises
    ------
    ValueError, TypeError, OSError
        Before anything runs: for unknown and mistyped parameters, a timeout that is none, and
        where `output`, or the folder that is the parameter ``out``, could not be written.
    ChapterError
        If a cell fails, exceeds the timeout or loses its kernel. The notebook as far as it came is
        where `unfinished` says.
    """
    import matplotlib.font_manager  # noqa: F401 (its first import says so, here and not in a cell)
    import papermill
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.WARNING)
    known = parameters(notebook)
    given, timeout = check(known, given or {}), limit(timeout)
    if given.get("out"):
        given["out"] = str(Path(given["out"]).resolve())
        folder_to_be(Path(given["out"]))
    if given.get("data"):
        given["data"] = anchored(given["data"])
    given |= {name: absolute(name, value) for name, value in brought(given).items()}
    file_to_be(output)
    stopped = unfinished(output)
    stopped.parent.mkdir(parents=True, exist_ok=True)
    chapter = _with_injected(_read(notebook), given)
    try:
        executed = papermill.execute_notebook(
            chapter,
            _verbatim(stopped),
            progress_bar=False,
            start_timeout=KERNEL_START,
            execution_timeout=timeout and math.ceil(timeout),
            kernel_manager_class=_ThisInterpreter,
            on_cell_start=_announcing(notebook, len(chapter.cells), note),
        )
    except (CellControlSignal, PapermillExecutionError, RuntimeError) as error:  # or no kernel
        reason = str(error)
        if isinstance(error, CellControlSignal):  # goes on with the whole cell
            reason = reason.partition("\n")[0]
        raise ChapterError(f"{notebook.stem} stopped, see {stopped}: {reason}") from error
    _publishable(executed, known, given)
    text = nbformat.writes(executed)  # type: ignore[no-untyped-call]
    write_whole(output, text.rstrip("\n") + "\n")
    stopped.unlink()
    with suppress(OSError):  # another chapter may be under way there
        stopped.parent.rmdir()


def limit(timeout: float | None) -> float | None:
    """Return the seconds that a cell may take, None for no limit; ValueError for what is neither.

    Zero is refused: to papermill it means no limit, to whoever gives it none at all.
    """
    if timeout is not None and not 0 < timeout < math.inf:
        raise ValueError(
            "timeout must be a positive number of seconds (leave it out for no limit); got "
            f"{timeout:g}"
        )
    return timeout


def unfinished(output: Path) -> Path:
    """Return where a chapter that is executed to `output` lies until it is finished."""
    return output.parent / "unfinished" / output.name


def _read(notebook: Path) -> NotebookNode:
    """Read a notebook; ValueError, in a sentence, if it is none."""
    try:
        found = read_notebook(notebook)
        _ = [(cell.cell_type, cell.metadata.get("tags", ()), cell.source) for cell in found.cells]
    except (ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError) as error:
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{notebook} is no notebook: {told[:200]}") from None
    return found


def _tagged(cell: NotebookNode, tag: str) -> bool:
    return cell.cell_type == "code" and tag in cell.metadata.get("tags", ())


def _with_injected(notebook: NotebookNode, given: Mapping[str, Any]) -> NotebookNode:
    """Return a notebook with its parameters set, in a cell after that of the defaults.

    papermill would write values of other types than JSON's, such as tuples, as texts.
    """
    cells = [cell for cell in notebook.cells if not _tagged(cell, _INJECTED)]
    if given:
        place = next(i for i, cell in enumerate(cells) if _tagged(cell, "parameters"))
        cell = nbformat.v4.new_code_cell(_assignments(given), metadata={"tags": [_INJECTED]})  # type: ignore[no-untyped-call]
        cells.insert(place + 1, cell)
    notebook.cells = cells
    return notebook


def _assignments(given: Mapping[str, Any]) -> str:
    return "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in given.items())])


def _verbatim(path: Path) -> str:
    """Return a path as papermill takes it: braces are names of parameters to it, ``a:`` a store."""
    return os.fspath(path.absolute()).replace("{", "{{").replace("}", "}}")


def _announcing(
    notebook: Path, cells: int, note: Callable[..., None] | None
) -> Callable[..., None]:
    """Return what says which cell runs: to `note` every time, in the log every other second."""
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


def _publishable(
    executed: NotebookNode, known: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    """Take everything that belongs to this machine or this run out of an executed notebook.

    The injected cell keeps the parameters that matter to a reader: not the folder of the results,
    of the data only its kind, and of what a reader brought only the names. Where nothing differs
    from the defaults it goes.
    """
    executed.metadata.pop("papermill", None)
    executed.metadata.get("language_info", {}).pop("version", None)
    told = {name: value for name, value in given.items() if name != "out" and value != known[name]}
    if "data" in told:
        told["data"] = source_of(told["data"])
    told |= {name: named(name, value) for name, value in brought(told).items()}
    for cell in list(executed.cells):
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if _tagged(cell, _INJECTED):
            cell.source = _assignments(told)
            if not told:
                executed.cells.remove(cell)
    code = (cell for cell in executed.cells if cell.cell_type == "code")
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
