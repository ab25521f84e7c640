"""Which files of this package a chapter or a module runs: it is out of date when one changes."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import grimp

from svcca_lib.paper.chapter.outputs import read_notebook
from svcca_lib.paper.store.paths import PACKAGE


def chapter_files(notebook: Path) -> list[Path]:
    """Return the files of this package that a notebook's imports reach, sorted."""
    cells = read_notebook(notebook).cells
    lines = [line for c in cells if c.cell_type == "code" for line in c.source.splitlines()]
    code = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
    return module_files(_imported(ast.parse(code)))


def module_files(modules: Iterable[str]) -> list[Path]:
    """Return the files of the named modules of this package and of all they import, sorted.

    Imports count wherever they stand, at the top or in a function; names that are no module of
    this package are passed over. A script or a page that a module has beside it counts with it.
    """
    graph = _graph()
    known, found, waiting = graph.modules, set[str](), set(modules)
    while waiting:
        module = waiting.pop()
        if module in known and module not in found:
            found.add(module)
            waiting |= graph.find_modules_directly_imported_by(module)
            waiting.add(module.rpartition(".")[0])  # importing a.b.c runs a and a.b as well
    return sorted(path for module in found for path in _files(module))


@functools.cache
def _graph() -> grimp.ImportGraph:
    """Return who imports whom; of all the package at once, as a book asks for every chapter."""
    return grimp.build_graph(PACKAGE.name, cache_dir=None)


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that code may import: in ``from a import b``, ``a.b`` may be one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(module: str) -> list[Path]:
    """Return the file of a module, and those beside it that have its name, such as its script."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return [path / "__init__.py"] if path.is_dir() else list(path.parent.glob(f"{path.name}.*"))
