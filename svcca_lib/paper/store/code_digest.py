"""What some code does as a short hash, alike on every version of Python. Standard library alone."""

from __future__ import annotations

import ast
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]
SHORT = 16  # hexadecimal digits of a digest


def digest(paths: Iterable[Path]) -> str:
    """Hash what the code of some files does, not how it is written or among which it is divided.

    Comments, formatting, docstrings, the order of functions, the version of Python, and from where
    in this package something is imported leave the hash as it is; any other edit changes it.
    """
    imports: set[str] = set()
    statements: list[str] = []
    for path in paths:
        for node in _Homeless().visit(ast.parse(path.read_text(encoding="utf-8"))).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                imports |= set(_imported(node))
            elif not _only_for_readers(node):
                statements.append(canonical(node))
    text = "\n".join([*sorted(imports), *sorted(statements)])
    return hashlib.sha256(text.encode()).hexdigest()[:SHORT]


class _Homeless(ast.NodeTransformer):
    """Forgets from where in this package something is imported."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.level or (node.module or "").split(".")[0] == PACKAGE:
            node.module, node.level = PACKAGE, 0
        return node


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    module = node.module if isinstance(node, ast.ImportFrom) else ""
    for alias in node.names:
        if module != "__future__":
            yield f"{module}:{alias.name}:{alias.asname or alias.name}"


def _only_for_readers(node: ast.stmt) -> bool:
    """Whether a statement decides no number: bare strings, public names, imports for types."""
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets] == ["__all__"]
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return _is_bare_string(node)


def canonical(node: Any) -> str:
    """Write a syntax tree alike on every version of Python.

    `ast.dump` does not: versions add fields (left out here while they are empty) and cut f-strings
    into constants at different places (joined here).
    """
    if isinstance(node, list):
        statements = [n for n in node if not _is_bare_string(n)]
        return "[" + ",".join(map(canonical, statements)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.JoinedStr):
        node = ast.JoinedStr(_join_constants(node.values))
    fields = {
        name: value
        for name, value in ast.iter_fields(node)
        if value is not None and value != [] and name not in ("kind", "type_comment", "ctx")
    }
    # A constant None is a value, not an absent field.
    if isinstance(node, ast.Constant):
        fields = {"value": node.value}
    inside = ",".join(f"{name}={canonical(value)}" for name, value in sorted(fields.items()))
    return f"{type(node).__name__}({inside})"


def _is_bare_string(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _join_constants(values: list[ast.expr]) -> list[ast.expr]:
    joined: list[ast.expr] = []
    for constant, run in itertools.groupby(values, lambda v: isinstance(v, ast.Constant)):
        if not constant:
            joined.extend(run)
        elif text := "".join(ast.literal_eval(v) for v in run):
            joined.append(ast.Constant(text))
    return joined
