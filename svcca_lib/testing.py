"""Does a measure keep what it declares: checks that any measure can be run through.

For the tests of packages that bring a measure of their own; the library's own go through the same.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle
import typing
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch

from svcca_lib.measures.measure import Measure, with_options
from svcca_lib.measures.registry import check_kind
from svcca_lib.measures.similarity import Similarity

_EXACT = 1e-9  # of numbers in [-1, 1] that two routes of float64 give

_IMPLIED = {"orthogonal": {"permutation", "reflection"}, "invertible": {"orthogonal"}}


def check_measure(
    measure: Measure[Any] | type[Measure[Any]],
    layers: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]] | None = None,
) -> None:
    """Check that a measure keeps what it declares, and works wherever measures are used.

    Parameters
    ----------
    measure : Measure, or subclass of it
        With its options, or a class to be taken with its defaults.
    layers : callable, optional
        Gives two related layers of the shape that the measure takes, datapoints first, from a
        random generator; by default (120, 8) and (120, 6).

    Raises
    ------
    AssertionError
        If a check fails; the sentence says which, and what came out.
    TypeError
        If it is not a measure at all.

    Notes
    -----
    A layer against itself scores 1; the similarity stays between ``lowest`` and 1, is symmetric and
    invariant where it is declared to be, the same for NumPy and torch and for prepared layers, and
    follows a shuffle of the datapoints by ``reordered``; ``chance`` is about what shuffled
    datapoints score; options are checked, wrong layers refused with the errors of the library;
    measure, prepared layers and result pickle. What it cannot check is whether the number means
    anything: test that against a known answer.

    Examples
    --------
    >>> from svcca_lib import MEASURES
    >>> from svcca_lib.testing import check_measure
    >>> check_measure(MEASURES["cka"](debiased=True))
    """
    check_kind(measure if isinstance(measure, type) else type(measure))
    chosen = measure() if isinstance(measure, type) else measure
    for check in CHECKS:
        check(_Case(chosen, layers or _matrices))


def _matrices(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(120, 8)) * np.linspace(2.0, 0.7, 8) + 0.3
    y = x[:, :6] @ (np.eye(6) + 0.2 * rng.normal(size=(6, 6))) + rng.normal(size=(120, 6))
    return x, y


class _Case:
    """A measure with two layers it is tried on."""

    def __init__(self, measure: Measure[Any], layers: Callable[..., Any]) -> None:
        self.measure = measure
        self.random = np.random.default_rng(0)
        self.x, self.y = layers(self.random)

    def number(self, x: Any, y: Any) -> float:
        a, b = self.measure.prepare(x, "x"), self.measure.prepare(y, "y")
        return float(self.measure.compare(a, b).similarity)

    def near(self, found: float, expected: float, what: str, within: float = _EXACT) -> None:
        self.holds(abs(found - expected) <= within, f"{what}: expected {expected}, got {found}")

    def holds(self, condition: bool, what: str) -> None:
        if not condition:
            raise AssertionError(f"{self.measure.name}: {what}")

    def refuses(self, call: Callable[[], Any], what: str, *allowed: type[Exception]) -> None:
        try:
            call()
        except allowed:
            return
        except Exception as error:
            names = " or ".join(kind.__name__ for kind in allowed)
            raise AssertionError(
                f"{self.measure.name}: {what} must raise {names}; got {type(error).__name__}"
            ) from error
        raise AssertionError(f"{self.measure.name}: {what} must be refused")


def _declares(case: _Case) -> None:
    measure = case.measure
    known = {"orthogonal", "permutation", "reflection", "isotropic", "invertible", "translation"}
    case.holds(measure.invariant_to <= known, f"invariant_to knows {sorted(known)} only")
    case.holds(dataclasses.is_dataclass(measure), "must be a dataclass, its fields its options")
    case.holds(
        type(measure).__dataclass_params__.frozen,  # type: ignore[attr-defined]
        "must be a frozen dataclass",
    )
    case.holds(-1 <= measure.lowest <= 0, f"lowest must be from -1 to 0; got {measure.lowest}")


def _has_a_result(case: _Case) -> None:
    r = case.measure.between(case.x, case.y)
    case.holds(isinstance(r, Similarity), f"must give a Similarity; got {type(r).__name__}")
    case.holds(r.measure == case.measure.name, f"the result is named {r.measure!r}")
    case.holds(type(r.similarity) is float, f"similarity is a {type(r.similarity).__name__}")
    case.holds(r.n == len(case.x), f"n must be {len(case.x)} datapoints; got {r.n}")


def _is_one_on_itself(case: _Case) -> None:
    for layer in (case.x, case.y):
        case.near(case.number(layer, layer), 1.0, "a layer against itself")


def _is_in_range(case: _Case) -> None:
    shuffled = [case.y[case.random.permutation(len(case.y))] for _ in range(10)]
    for other in (case.y, -case.y, *shuffled):
        found = case.number(case.x, other)
        # An unbiased estimate may fall below its range, and not by more than its own scatter.
        least = case.measure.lowest - (0.2 if getattr(case.measure, "debiased", False) else _EXACT)
        case.holds(least <= found <= 1, f"must be from {case.measure.lowest} to 1; got {found}")


def _is_symmetric_where_declared(case: _Case) -> None:
    if case.measure.symmetric:
        forth, back = case.number(case.x, case.y), case.number(case.y, case.x)
        case.near(back, forth, "is declared symmetric")


def _is_invariant_as_declared(case: _Case) -> None:
    declared = set(case.measure.invariant_to)
    for name in ("invertible", "orthogonal"):
        declared |= _IMPLIED[name] if name in declared else set()
    expected = case.number(case.x, case.y)
    for name in sorted(declared):
        moved = [_moved(name, layer, case.random) for layer in (case.x, case.y)]
        for x, y in ((moved[0], case.y), (case.x, moved[1])):
            found = case.number(x, y)
            case.near(found, expected, f"is declared invariant to {name} maps", 1e-7)


def _moved(name: str, layer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move a layer, whose neurons or channels are the second dimension."""
    p = layer.shape[1]
    matrix = rng.normal(size=(p, p))
    if name == "isotropic":
        return 37.0 * layer
    if name == "translation":
        return layer + rng.normal(size=layer.shape[1:])
    maps = {
        "invertible": matrix + p * np.eye(p),
        "orthogonal": np.linalg.qr(matrix)[0],
        "permutation": np.eye(p)[rng.permutation(p)],
        "reflection": np.diag(rng.choice([-1.0, 1.0], size=p)),
    }
    return np.moveaxis(np.moveaxis(layer, 1, -1) @ maps[name], -1, 1)


def _follows_the_datapoints(case: _Case) -> None:
    expected = case.number(case.x, case.y)
    order = case.random.permutation(len(case.x))
    case.near(case.number(case.x[order], case.y[order]), expected, "in any order of datapoints")
    shuffled = case.number(case.x, case.y[order])
    a, b = case.measure.prepare(case.x, "x"), case.measure.prepare(case.y, "y")
    moved = b.reordered(torch.from_numpy(order))
    case.near(float(case.measure.compare(a, moved).similarity), shuffled, "reordered(order)")
    ready = case.measure.compare(a.primed(), b.primed())
    case.near(float(ready.similarity), expected, "primed layers")
    once, again = (float(case.measure.compare(a, b).similarity) for _ in range(2))
    case.holds(once == again, f"must not change by being computed: {once}, {again}")


def _prepares_once(case: _Case) -> None:
    a = case.measure.prepare(case.x, "x")
    case.holds(a.n == len(case.x), f"prepared layers must hold {len(case.x)} datapoints: {a.n}")
    case.holds(isinstance(a.sample, torch.Tensor), "sample of a prepared layer must be a tensor")


def _knows_its_chance(case: _Case) -> None:
    r = case.measure.between(case.x, case.y)
    if r.chance is None:
        return
    a, b = case.measure.prepare(case.x, "x"), case.measure.prepare(case.y, "y")
    scores = [
        float(case.measure.compare(a, b.reordered(torch.from_numpy(order))).similarity)
        for order in (case.random.permutation(len(case.x)) for _ in range(40))
    ]
    within = 0.03 + 4 * float(np.std(scores)) / len(scores) ** 0.5
    case.near(float(np.mean(scores)), r.chance, "chance, against shuffled datapoints", within)


def _takes_numpy_and_torch(case: _Case) -> None:
    before = case.x.copy(), case.y.copy()
    expected = case.number(case.x, case.y)
    on_torch = case.number(torch.from_numpy(case.x), torch.from_numpy(case.y))
    case.near(on_torch, expected, "torch and NumPy")
    moving = torch.from_numpy(case.x.copy()).requires_grad_()
    case.near(case.number(moving, torch.from_numpy(case.y)), expected, "with a gradient")
    same = all(np.array_equal(*z) for z in zip(before, (case.x, case.y), strict=True))
    case.holds(same, "must leave the layers as they are")


def _is_a_value(case: _Case) -> None:
    r = case.measure.between(case.x, case.y)
    a = case.measure.prepare(case.x, "x")
    for what, thing in (("the measure", case.measure), ("its results", r), ("its layers", a)):
        try:
            pickle.loads(pickle.dumps(thing))
            copy.deepcopy(thing)
        except Exception as error:
            raise AssertionError(
                f"{case.measure.name}: {what} must pickle and copy; {error}"
            ) from error
    again = pickle.loads(pickle.dumps(r))
    case.holds(
        (again.similarity, again.chance) == (r.similarity, r.chance), "results must pickle as equal"
    )
    case.holds(pickle.loads(pickle.dumps(case.measure)) == case.measure, "must pickle as equal")


def _checks_its_options(case: _Case) -> None:
    kind = type(case.measure)
    case.refuses(lambda: with_options(kind, {"no_such": 1}), "an unknown option", TypeError)
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if typing.get_origin(hints[field.name]) is Literal:
            wrong = {field.name: "no such"}
            what = f"{field.name}='no such'"
            case.refuses(functools.partial(with_options, kind, wrong), what, ValueError)


def _refuses_wrong_layers(case: _Case) -> None:
    x, y = case.x, case.y
    holed = x.copy()
    holed.flat[3] = np.nan
    cases: dict[str, Any] = {
        "a layer with a NaN": (holed, ValueError),
        "a layer of constants": (np.ones_like(x), ValueError),
        "one datapoint": (x[:1], ValueError),
        "a list": (x.tolist(), TypeError),
        "complex numbers": (x * 1j, TypeError),
    }
    for what, (layer, error) in cases.items():
        case.refuses(functools.partial(case.measure.between, layer, y), what, error)
    case.refuses(lambda: case.measure.between(x, y[:-1]), "layers of unequal rows", ValueError)
    case.refuses(lambda: case.measure.between(x), "a missing layer", TypeError)


CHECKS: tuple[Callable[[_Case], None], ...] = (
    _declares,
    _prepares_once,
    _has_a_result,
    _is_one_on_itself,
    _is_in_range,
    _is_symmetric_where_declared,
    _is_invariant_as_declared,
    _follows_the_datapoints,
    _knows_its_chance,
    _takes_numpy_and_torch,
    _is_a_value,
    _checks_its_options,
    _refuses_wrong_layers,
)
