"""The measures by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from svcca_lib.errors import one_of
from svcca_lib.measures.alignment import CKA, Procrustes
from svcca_lib.measures.canonical import CCA, PWCCA, SVCCA, LinearRegression
from svcca_lib.measures.dft_cca import DFTCCA
from svcca_lib.measures.measure import Measure, with_options

MEASURES: Mapping[str, type[Measure[Any]]] = MappingProxyType(
    {m.name: m for m in (SVCCA, CCA, PWCCA, LinearRegression, CKA, Procrustes, DFTCCA)}
)


def measure_named(name: str, options: Mapping[str, Any]) -> Measure[Any]:
    """Look a measure up and give it its options.

    Raises
    ------
    ValueError
        If the measure is unknown or an option outside its range.
    TypeError
        If it has no such option.
    """
    return with_options(MEASURES[one_of(name, tuple(MEASURES), "measure")], options)
