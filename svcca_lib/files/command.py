"""The commands that need no extra: ``svcca compare`` of files, and ``svcca measures``."""

from __future__ import annotations

import argparse
import ast
import csv
import inspect
import json
import math
import re
import sys
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, NoReturn

from svcca_lib.errors import SampleSizeWarning
from svcca_lib.files.layers import SUFFIXES, names_file, open_layers
from svcca_lib.files.paths import file_to_be
from svcca_lib.measures.registry import MEASURES
from svcca_lib.models.table import LayerTable
from svcca_lib.names import cells_of

FAILED, WRONG_USE = 1, 2  # exit statuses
PROGRAM = "python -m svcca_lib" if sys.argv[0].endswith("__main__.py") else "svcca"
# How a network is named, in place of a file: TRAINING+SEED[@FRACTION] or MODULE:NAME.
_NETWORK = re.compile(r"[a-z-]+\+\d+(@[\d.]+)?|[^\W\d][\w.]*:[^\W\d]\w*")

_EXAMPLES = """\
examples:
  svcca compare a.npy b.npy
  svcca compare a.npz:fc1 b.npz:fc1 --measure pwcca --side y
  svcca compare a.safetensors b.safetensors --measure cka --csv table.csv
  svcca compare a.h5 b.zarr --conv mean --json

A file of one layer against another gives a line, of many a table; A alone is compared with itself.
Rows are datapoints, the same in both files. They are read in blocks, so files may be larger than
memory. Beside each number stands what independent layers would score.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(WRONG_USE)


def takes(arguments: Sequence[str]) -> bool:
    """Return whether these are the arguments of a command of this module.

    >>> takes(["compare", "a.npy", "b.npy"]), takes(["compare", "convnet+0", "mine:model"])
    (True, False)
    """
    if not arguments or arguments[0] not in ("compare", "measures"):
        return False
    rest = arguments[1:]
    return any(map(names_file, rest)) or not any(map(_NETWORK.fullmatch, rest))


def main(arguments: Sequence[str] | None = None, others: str = "") -> int:
    """Run a command; return its exit status. `others` tells in the help what else there is."""
    given = parser(others).parse_args(arguments)
    act: Callable[[argparse.Namespace], None] = given.act
    try:
        act(given)
    except (ValueError, TypeError, OSError, RuntimeError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE if isinstance(error, TypeError) else FAILED
    return 0


def parser(others: str = "") -> argparse.ArgumentParser:
    """Return the parser of the commands; `others` tells in its help what else there is."""
    style: dict[str, Any] = {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
    whole = _Parser(
        prog=PROGRAM,
        description="Compare what layers of neural networks represent.",
        epilog=others,
        **style,
    )
    commands = whole.add_subparsers(metavar="COMMAND", required=True, title="commands")
    compare = commands.add_parser(
        "compare",
        help="Compare the layers of two files.",
        description="Compare the layers of two files: " + ", ".join(SUFFIXES) + ".",
        epilog=_EXAMPLES,
        **style,
    )
    measures = commands.add_parser("measures", help="List the measures, with their options.")
    measures.set_defaults(act=_measures)
    compare.set_defaults(act=_compare)
    place = "a file, and after a colon one layer of it, or a pattern: a.npz:fc1"
    compare.add_argument("a", metavar="A", help=place)
    compare.add_argument("b", metavar="B", nargs="?", help="another; A itself if not given")
    compare.add_argument(
        "--measure", default="svcca", choices=tuple(MEASURES), help="svcca if not given"
    )
    compare.add_argument(
        "--conv",
        choices=("mean", "pixels", "channels", "positions", "dft"),
        help="how layers (n, c, h, w) are read: the mean over space, every pixel a neuron, pixels "
        "as datapoints, or one CCA a frequency",
    )
    compare.add_argument(
        "--tokens",
        choices=("mean", "first", "last", "datapoints"),
        help="how layers (n, tokens, d) are read",
    )
    compare.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each pair")
    compare.add_argument("--json", action="store_true", help="print JSON, for machines")
    _add_options(compare.add_argument_group("options of the measures"))
    return whole


def _add_options(group: argparse._ArgumentGroup) -> None:
    """Add an option for every field of every measure; only those that are given are set."""
    for name, owners in _options().items():
        kinds = [_kind(kind) for kind, _ in owners.values()]
        choices = list(dict.fromkeys(c for kind in kinds for c in kind.get("choices", ())))
        defaults = ", ".join(
            f"{measure} ({field.default})" for measure, (_, field) in owners.items()
        )
        flag = f"--{name.replace('_', '-')}"
        if "action" in kinds[0]:
            group.add_argument(
                flag, dest=f"option {name}", help=f"of {defaults}", default=None, **kinds[0]
            )
        else:
            kind = {**kinds[0], **({"choices": choices} if choices else {})}
            if not choices:
                kind["metavar"] = "X"
            group.add_argument(flag, dest=f"option {name}", help=f"of {defaults}", **kind)


def _options() -> dict[str, dict[str, tuple[Any, Field[Any]]]]:
    """Return the options of all measures: by name, of which measures, their types and fields."""
    found: dict[str, dict[str, tuple[Any, Field[Any]]]] = {}
    for measure in MEASURES.values():
        hints = typing.get_type_hints(measure)
        for field in fields(measure):
            found.setdefault(field.name, {})[measure.name] = hints[field.name], field
    return found


def _kind(hint: Any) -> dict[str, Any]:
    """Return how argparse reads a value of a type."""
    members = [m for m in typing.get_args(hint) if m is not type(None)]
    if typing.get_origin(hint) in (typing.Union, types.UnionType) and len(members) == 1:
        return _kind(members[0])
    if typing.get_origin(hint) is typing.Literal:
        return {"choices": list(typing.get_args(hint))}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    return {"type": hint if hint in (int, float, str) else _literal}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _compare(given: argparse.Namespace) -> None:
    from svcca_lib.files.comparison import compare_files

    options = {
        name.removeprefix("option "): value
        for name, value in vars(given).items()
        if name.startswith("option ") and value is not None
    }
    if given.csv is not None:
        file_to_be(given.csv)
    with ExitStack() as opened, warnings.catch_warnings(record=True) as cautions:
        warnings.simplefilter("always", SampleSizeWarning)
        a = opened.enter_context(open_layers(given.a))
        b = None if given.b is None else opened.enter_context(open_layers(given.b))
        for layers in (a, b or ()):
            for left_out in getattr(layers, "left_out", ()):
                print(f"note: left out: {left_out}", file=sys.stderr)
        table = compare_files(a, b, given.measure, conv=given.conv, tokens=given.tokens, **options)
        if len(table.results) == 1 and math.isnan(table.matrix[0, 0]):
            raise ValueError("there is nothing to compare: a layer is constant over the data")
        pairs = list(_pairs(table))
    for caution in cautions:
        print(f"note: {caution.message}", file=sys.stderr)
    if given.csv is not None:
        given.csv.parent.mkdir(parents=True, exist_ok=True)
        with open(given.csv, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(pairs[0]))
            writer.writeheader()
            writer.writerows(map(cells_of, pairs))
    if given.json:
        said = {"measure": given.measure, "options": options, "a": given.a, "b": given.b}
        print(json.dumps({**said, "n": table.n, "pairs": [_known(pair) for pair in pairs]}))
    elif len(pairs) == 1:
        print(_line(pairs[0], given, table.n))
    else:
        print(_text(table))


def _pairs(table: LayerTable) -> Iterator[dict[str, Any]]:
    """Yield a row for each pair of layers."""
    places = ((a, b) for a in table.layers_a for b in table.layers_b)
    for (a, b), result in zip(places, table.results, strict=True):
        yield {
            "a": a,
            "b": b,
            "similarity": result.similarity,
            "chance": result.chance,
            "kept_a": result.x_kept,
            "kept_b": result.y_kept,
            "n": table.n,
        }


def _known(pair: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON has it, which knows no NaN."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in pair.items()
    }


def _line(pair: dict[str, Any], given: argparse.Namespace, n: int) -> str:
    text = f"{pair['similarity']:.4f}  {given.measure} of {given.a} and {given.b or given.a}; "
    if pair["chance"] is not None:
        text += f"independent layers would score {pair['chance']:.4f}; "
    text += f"n = {n:,}"
    if pair["kept_a"] is not None:
        text += f", {pair['kept_a']} and {pair['kept_b']} directions"
    return text


def _text(table: LayerTable) -> str:
    """Return the table in words: in each cell the similarity and, in parentheses, its chance."""
    cells = [
        [_cell(value, chance) for value, chance in zip(*row, strict=True)]
        for row in zip(table.matrix, table.chance, strict=True)
    ]
    lines = [
        ["", *table.layers_b],
        *([a, *row] for a, row in zip(table.layers_a, cells, strict=True)),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head = f"{table.measure}, n = {table.n:,}; in parentheses what independent layers would score"
    body = ("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in lines)
    return "\n".join([head, *body])


def _cell(value: float, chance: float) -> str:
    return f"{value:.3f}" + ("" if math.isnan(chance) else f" ({chance:.3f})")


def _measures(given: argparse.Namespace) -> None:
    for name, measure in MEASURES.items():
        print(f"{name}: {(inspect.getdoc(measure) or '').partition(chr(10))[0]}")
        for field in fields(measure):
            default = "" if field.default is MISSING else f" {field.default}"
            choices = _kind(typing.get_type_hints(measure)[field.name]).get("choices")
            among = f"  ({', '.join(choices)})" if choices else ""
            print(f"    --{field.name.replace('_', '-')}{default}{among}")
