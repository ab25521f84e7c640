"""The measures by name: those of this library, those registered, and those of plugins."""

from __future__ import annotations

import difflib
import threading
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from svcca_lib.measures.alignment import CKA, Procrustes
from svcca_lib.measures.canonical import CCA, PWCCA, SVCCA, LinearRegression
from svcca_lib.measures.dft_cca import DFTCCA
from svcca_lib.measures.measure import Measure, with_options
from svcca_lib.measures.neighbours import CKNNA, Jaccard, MutualKNN
from svcca_lib.measures.rsa import RSA
from svcca_lib.measures.soft_matching import SoftMatching

M = TypeVar("M", bound=type[Measure[Any]])

GROUP = "svcca_lib.measures"


class Registry(Mapping[str, type[Measure[Any]]]):
    """Measures by name; those of plugins are loaded when one is asked for, or all are.

    A plugin is a package with an entry point of the group ``svcca_lib.measures``: the name of a
    measure, and where its class is. One that cannot be loaded is left out with a warning; the
    others, and the library's own, do not feel it.
    """

    def __init__(self, *own: type[Measure[Any]]) -> None:
        self._measures = {measure.name: measure for measure in own}
        self._own = frozenset(self._measures)
        self._lock = threading.RLock()
        self._plugins: list[EntryPoint] | None = None  # those not loaded yet; None: not looked for

    def __getitem__(self, name: str) -> type[Measure[Any]]:
        if name not in self._measures:
            self._load(name)
        return self._measures[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(tuple(self._measures))

    def __len__(self) -> int:
        self._load()
        return len(self._measures)

    def add(self, measure: type[Measure[Any]]) -> None:
        """Take a measure up under its name.

        Raises
        ------
        TypeError
            If it is not a finished subclass of `Measure`.
        ValueError
            If its name is that of another one.
        """
        check_kind(measure)
        known = self._measures.get(measure.name)
        redefined = known is not None and _place(known) == _place(measure)
        if measure.name in self._own or (known is not None and not redefined):
            raise ValueError(f"there is a measure named {measure.name!r} already: {known}")
        self._measures[measure.name] = measure

    def remove(self, name: str) -> None:
        """Forget a measure that was taken up.

        Raises
        ------
        KeyError
            If there is none of this name, or it is the library's own.
        """
        if name in self._own:
            raise KeyError(f"{name!r} is a measure of the library itself")
        del self._measures[name]

    def _load(self, name: str | None = None) -> None:
        """Load the plugins of this name, or all."""
        with self._lock:
            if self._plugins is None:
                self._plugins = list(entry_points(group=GROUP))
            chosen = [plugin for plugin in self._plugins if name in (None, plugin.name)]
            self._plugins = [plugin for plugin in self._plugins if plugin not in chosen]
            for plugin in chosen:
                try:
                    measure = plugin.load()
                    self.add(measure)
                    if measure.name != plugin.name:
                        raise ValueError(f"its measure is named {measure.name!r}")
                except Exception as error:  # whatever another's code may raise
                    warnings.warn(
                        f"the measure {plugin.name!r} of {plugin.value} is left out: "
                        f"{type(error).__name__}: {error}",
                        stacklevel=2,
                    )


def _place(measure: type) -> tuple[str, str]:
    return measure.__module__, measure.__qualname__


def check_kind(measure: Any) -> None:
    """Raise unless this is a class of measures that can be used.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not (isinstance(measure, type) and issubclass(measure, Measure)):
        raise TypeError(f"a measure is a subclass of svcca_lib.Measure; got {measure!r}")
    missing = sorted(measure.__abstractmethods__)
    missing += [
        part for part in ("name", "symmetric", "invariant_to") if not hasattr(measure, part)
    ]
    if missing:
        raise TypeError(f"{measure.__name__} lacks {', '.join(missing)}")


MEASURES = Registry(
    *(SVCCA, CCA, PWCCA, LinearRegression, CKA, Procrustes, DFTCCA),
    *(MutualKNN, Jaccard, CKNNA, RSA, SoftMatching),
)


def register(measure: M) -> M:
    """Take a measure up under its name, so that `pairwise` and the others know it.

    A package does better with an entry point of the group ``svcca_lib.measures``, which needs no
    import before the measure is asked for.

    Parameters
    ----------
    measure : type
        A subclass of `Measure`: a frozen dataclass whose fields are its options.

    Returns
    -------
    type
        The same, so that this can be a decorator.

    Raises
    ------
    TypeError
        If it is not a finished subclass of `Measure`.
    ValueError
        If another measure has its name.

    Notes
    -----
    Nothing checks that the measure keeps what it declares: `svcca_lib.testing.check_measure` does.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from svcca_lib import MEASURES, Similarity, pairwise, register
    >>> @register
    ... @dataclass(frozen=True, kw_only=True)
    ... class Squared(MEASURES["cca"]):
    ...     name = "squared_cca"
    ...     def compare(self, a, b, cross=None):
    ...         r = super().compare(a, b, cross)
    ...         return Similarity(self.name, float((r.correlations**2).mean()), r.n)
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> pairwise([x], measure="squared_cca").round(6).tolist()
    [[1.0]]
    >>> MEASURES.remove("squared_cca")
    """
    MEASURES.add(measure)
    return measure


def measure_named(name: object, options: Mapping[str, Any]) -> Measure[Any]:
    """Look a measure up and give it its options.

    Raises
    ------
    ValueError
        If the measure is unknown or an option outside its range.
    TypeError
        If it has no such option, or the name is not one.
    """
    if not isinstance(name, str):
        given = getattr(name, "name", None) or getattr(name, "__name__", None)
        hint = f", such as {given!r}" if given in MEASURES else ""
        raise TypeError(f"measure must be the name of a measure{hint}; got {type(name).__name__}")
    if name not in MEASURES:
        known = ", ".join(map(repr, MEASURES))
        raise ValueError(f"measure must be one of {known}; got {name!r}{_meant(name)}")
    return with_options(MEASURES[name], options)


# What others call them.
_ALIASES = {
    "debiased_cka": "'cka' with debiased=True",
    "knn": "'mutual_knn'",
    "linear_cka": "'cka'",
    "mean_cca": "'cca'",
    "r2": "'linear_regression'",
    "rbf_cka": "'cka' with kernel='rbf'",
    "rdm": "'rsa'",
}


def _meant(name: str) -> str:
    plain = name.lower().strip().replace("-", "_").replace(" ", "_")
    near = [repr(known) for known in difflib.get_close_matches(plain, MEASURES, n=1)]
    meant = _ALIASES.get(plain) or next(iter(near), None)
    return f"; did you mean {meant}?" if meant else ""
