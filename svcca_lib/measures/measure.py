"""What every measure of similarity is: declared once, and used in every way from there.

A measure is a frozen dataclass. Its fields are its options; `prepare` sums a layer up, once for
many comparisons; `compare` turns two prepared layers into a number. From it follow the public
function (`function`), the row of the registry, and the checks of its options.
"""

from __future__ import annotations

import functools
import inspect
import typing
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, Literal, ParamSpec, Protocol, Self, TypeVar

import torch
from torch import Tensor

from svcca_lib._ambient import undisturbed
from svcca_lib.errors import SampleSizeWarning, one_of, same_kind, same_rows
from svcca_lib.fourier.subspace import FourierSubspace
from svcca_lib.measures.reservoir import Reservoir
from svcca_lib.measures.similarity import Similarity
from svcca_lib.moments import Moments
from svcca_lib.pair_moments import PairMoments
from svcca_lib.subspace import Subspace

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=Similarity)
S = TypeVar("S", Subspace, FourierSubspace)
R_co = TypeVar("R_co", bound=Similarity, covariant=True)


class Prepared(Protocol):
    """A layer that is ready for many comparisons."""

    @property
    def n(self) -> int:
        """Datapoints."""

    @property
    def sample(self) -> Tensor:
        """A tensor of the layer's precision and device."""

    def primed(self) -> Self:
        """The same layer, with what every comparison needs computed and the rest let go."""

    def reordered(self, order: Tensor) -> Self:
        """The same layer with its datapoints in another order."""


@dataclass(frozen=True, eq=False)
class CentredRows:
    """A layer prepared as its rows; measures may scale them."""

    rows: Tensor  # (n, p)

    @property
    def n(self) -> int:
        """Datapoints."""
        return len(self.rows)

    @property
    def sample(self) -> Tensor:
        """A tensor of the layer's precision and device."""
        return self.rows

    def primed(self) -> Self:
        """The layer itself: comparisons need its rows."""
        return self

    def reordered(self, order: Tensor) -> Self:
        """The same layer with its datapoints in another order."""
        return replace(self, rows=self.rows[order])


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Directions in which a measure sees a layer: what two layers share is their product there.

    Attributes
    ----------
    weights : Tensor, shape (p, k), or (F, c, k) of a layer with space
        From centred responses to the coordinates.
    counts : sequence of int
        How many columns are in use: one number, or one a frequency.
    """

    weights: Tensor
    counts: Sequence[int]


@dataclass(frozen=True)
class Measure(ABC, Generic[R]):
    """A measure of similarity, with its options.

    Attributes
    ----------
    name : str
        Of its public function.
    symmetric : bool
        Whether exchanging the layers leaves the similarity as it is.
    invariant_to : frozenset of str
        The maps of either layer that leave the similarity, by default, unchanged: of
        ``"orthogonal"``, ``"permutation"`` and ``"reflection"`` of the neurons (an orthogonal map
        may be either), ``"isotropic"`` (one positive scale for the whole layer), ``"invertible"``
        (any invertible linear map of the neurons) and ``"translation"``.
    lowest : float
        The least similarity that can come out.

    Notes
    -----
    A measure of one's own is a frozen dataclass with these and two methods, `prepare` and
    `compare`. What `prepare` gives has the attributes and methods of `Prepared`.
    `svcca_lib.testing.check_measure` tries whether it keeps what it declares;
    `svcca_lib.register`, or an entry point of the group ``svcca_lib.measures``, makes it known by
    its name.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from svcca_lib import Measure, Similarity
    >>> from svcca_lib.inputs import rows_of
    >>> from svcca_lib.measures.measure import CentredRows
    >>> from svcca_lib.layer import centre
    >>> @dataclass(frozen=True, kw_only=True)
    ... class FirstNeuron(Measure[Similarity]):
    ...     name = "first_neuron"
    ...     symmetric = True
    ...     invariant_to = frozenset({"isotropic", "translation"})
    ...     lowest = -1.0
    ...     def prepare(self, x, name):
    ...         return CentredRows(centre(rows_of(x, name).values[:, :1])[0])
    ...     def compare(self, a, b, cross=None):
    ...         value = (a.rows * b.rows).sum() / (a.rows.norm() * b.rows.norm())
    ...         return Similarity(self.name, float(value), a.n)
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> FirstNeuron().between(x, 1 - 2 * x)
    Similarity(first_neuron -1.0000, n=50)
    """

    name: ClassVar[str]
    symmetric: ClassVar[bool]
    invariant_to: ClassVar[frozenset[str]]
    lowest: ClassVar[float] = 0.0
    moments: ClassVar[type[PairMoments]] = Moments
    datapoints: ClassVar[tuple[str, str]] = ("datapoints", "neurons")
    remedy: ClassVar[str] = "more datapoints than neurons, or a held-out or debiased measure"
    # What the docstring of every function of this kind says of the layers.
    layers: ClassVar[str] = """\
x, y : array_like, shape (n, p) and (n, q), or Subspace
    Two layers on the same datapoints, or `Moments` of both as the only argument. A `Subspace`
    keeps the cut it was made with."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("prepare", "pair", "compare"):  # every way to a number leads through these
            if name in cls.__dict__:
                setattr(cls, name, _undisturbed(cls.__dict__[name]))

    def __post_init__(self) -> None:
        for option, allowed in _choices(type(self)).items():
            one_of(getattr(self, option), allowed, option)

    @abstractmethod
    def prepare(self, x: Any, name: str) -> Any:
        """Prepare a layer: an array, moments of it alone, or one that is prepared already.

        Raises
        ------
        TypeError, ValueError
            As the measure's function; messages call the layer `name`.
        """

    @abstractmethod
    def compare(self, a: Any, b: Any, cross: Tensor | None = None) -> R:
        """Compare two prepared layers.

        Parameters
        ----------
        a, b
            As `prepare` gives them.
        cross : Tensor, optional
            The product of their `coordinates`, where they came as moments.
        """

    def coordinates(self, layer: Any) -> Coordinates | None:
        """Say what of a layer meets another one; by default None, every neuron.

        A stream is then read twice: once for the moments of each layer, once for the products of
        these coordinates alone.
        """
        return None

    def condensed(self, a: Any, b: Any, products: Tensor) -> Tensor:
        """Return the product of the coordinates of two layers, from that of their neurons."""
        return products

    @property
    def of_rows(self) -> bool:
        """Whether it needs the rows of a layer: arrays, or a `Reservoir`, and no moments."""
        return False

    @property
    def lifted(self) -> bool:
        """Whether layers that came as moments meet with one neuron more: their rows' lengths.

        Their cross-scatter then has one row and column more, the products with the squared lengths
        of the centred rows.
        """
        return False

    def width(self, layer: Any) -> int:
        """Neurons that the number of datapoints is held against; 0 where there is no such limit."""
        return 0

    def caution(self, result: R, a: Any, b: Any) -> str | None:
        """Say what is wrong with the number of datapoints, if anything."""
        wide = max(self.width(a), self.width(b))
        if a.n > wide + 1:
            return None
        points, neurons = self.datapoints
        return (
            f"{a.n} {points} for a layer of {wide} {neurons}: independent layers of these sizes "
            f"would score {result.chance:.3f} by {self.name}; use {self.remedy}"
        )

    def pair(self, x: Any, y: Any) -> tuple[Any, Any, Tensor | None]:
        """Prepare two layers, however they came; for moments their cross-scatter too."""
        if isinstance(x, Reservoir) and y is None:
            x, y = x.both()
        if isinstance(x, self.moments):
            first, second = x.halves() if y is None else _too_many(x)
            if x.n < 2:
                raise ValueError(f"x must hold at least 2 datapoints; got {x.n}")
            a = self.prepare(first, "the first layer of x")
            b = self.prepare(second, "the second layer of x")
            assert x.xy is not None
            return a, b, self.condensed(a, b, x.xy)
        if y is None:
            kind = self.moments.__name__
            raise TypeError(
                f"y is missing: give two layers, or {kind} of both as the only argument"
            )
        rows_only(y, "y")
        a, b = self.prepare(x, "x"), self.prepare(y, "y")
        comparable(a, b)
        return a, b, None

    def needs_rows(self, x: Any, name: str) -> None:
        """Raise where a layer came as moments and its rows are needed.

        Raises
        ------
        TypeError
            If it did.
        """
        if isinstance(x, PairMoments):
            raise TypeError(
                f"{self.name} needs the rows of {name}, which {type(x).__name__} do not hold: give "
                f"arrays, or a Reservoir of the stream"
            )

    def between(self, x: Any, y: Any = None, *, stacklevel: int = 2) -> R:
        """Compare two layers, however they came, with a warning where datapoints are too few."""
        return self.cautioned(*self.pair(x, y), stacklevel=stacklevel + 1)

    def cautioned(self, a: Any, b: Any, cross: Tensor | None = None, *, stacklevel: int = 2) -> R:
        """Compare two prepared layers, with the same warning."""
        result = self.compare(a, b, cross)
        if warning := self.caution(result, a, b):
            warnings.warn(warning, SampleSizeWarning, stacklevel=stacklevel + 1)
        return result


def _undisturbed(method: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(method)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        with undisturbed():
            return method(*args, **kwargs)

    return alone


def _too_many(x: PairMoments) -> Any:
    kind = type(x).__name__
    raise TypeError(f"{kind} hold both layers already: give them as the only argument")


def rows_only(layer: Any, name: str) -> None:
    """Raise for moments where single layers are compared with each other.

    Raises
    ------
    TypeError
        If the layer is given as moments.
    """
    if isinstance(layer, PairMoments):
        kind = type(layer).__name__
        raise TypeError(
            f"{name} must be an array, or a layer that is prepared already; got {kind}, which "
            f"lack the products with any other layer: feed {kind} with both, update(x, y), or "
            f"NetworkMoments with many layers"
        )


def comparable(a: Prepared, b: Prepared, names: tuple[str, str] = ("x", "y")) -> None:
    """Raise unless two prepared layers share their datapoints, precision and device.

    Raises
    ------
    ValueError
        If they do not.
    """
    same_rows(a.n, b.n, names=names)
    same_kind(*((s.dtype, s.device) for s in (a.sample, b.sample)), names=names)


def in_one_precision(a: S, b: S) -> tuple[S, S]:
    """Two subspaces in the wider precision of the two; see `svcca_lib.Subspace.dtype`."""
    dtypes = a.tensors.values.dtype, b.tensors.values.dtype
    if dtypes[0] == dtypes[1]:
        return a, b
    dtype = torch.promote_types(*dtypes)
    first, second = (replace(s, tensors=s.tensors.to(dtype)) for s in (a, b))
    return first, second


@functools.cache
def _choices(measure: type[Measure[Any]]) -> dict[str, tuple[str, ...]]:
    """Return the options that are one of a few words, and the words."""
    hints = typing.get_type_hints(measure)
    return {
        field.name: typing.get_args(hints[field.name])
        for field in fields(measure)
        if typing.get_origin(hints[field.name]) is Literal
    }


def with_options(measure: type[Measure[R]], options: Mapping[str, Any]) -> Measure[R]:
    """Give a measure its options.

    Raises
    ------
    TypeError
        If it has no such option.
    ValueError
        If an option is outside its range.
    """
    known = [field.name for field in fields(measure)]
    for option in options:
        if option not in known:
            raise TypeError(f"{measure.name} takes the options {', '.join(known)}; got {option!r}")
    return measure(**options)


class Function(Protocol[P, R_co]):
    """The public function of a measure: two layers, then its options by name."""

    __name__: str

    def __call__(self, x: Any, y: Any = None, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Compare two layers."""


def function(measure: Callable[P, Measure[R]]) -> Function[P, R]:
    """Make the public function of a measure, with its signature and docstring."""
    chosen = typing.cast("type[Measure[R]]", measure)

    def public(x: Any, y: Any = None, **options: Any) -> R:
        return with_options(chosen, options).between(x, y, stacklevel=2)

    layers = [
        inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Any),
        inspect.Parameter("y", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None),
    ]
    options = inspect.signature(chosen).parameters.values()
    result = typing.get_type_hints(chosen.compare)["return"]
    public.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*layers, *options], return_annotation=result
    )
    public.__name__ = public.__qualname__ = chosen.name
    public.__module__ = chosen.__module__
    public.__doc__ = _docstring(chosen, result)
    return typing.cast("Function[P, R]", public)


_RESULT = """\
Returns
-------
{result}

Raises
------
TypeError, ValueError
    If a layer is not a finite real array of such a shape with some variance, the two differ in
    rows, or an option is outside its range.

"""
_WARNS = """\
Warns
-----
SampleSizeWarning
    If there are no more {datapoints} than {neurons} + 1 in either layer.

"""


def _docstring(measure: type[Measure[Any]], result: type[Similarity]) -> str:
    """The measure's own docstring, with what all functions of measures share put in its places."""
    own = inspect.cleandoc(measure.__doc__ or "")
    own = own.replace("Parameters\n----------\n", f"Parameters\n----------\n{measure.layers}\n", 1)
    shared = _RESULT.format(result=result.__name__)
    if measure.width is not Measure.width:
        shared += _WARNS.format(datapoints=measure.datapoints[0], neurons=measure.datapoints[1])
    return own.replace("\nNotes\n", f"\n{shared}Notes\n", 1)
