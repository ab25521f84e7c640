"""The measures that experiments hold beside each other, by the names that figures give them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import svcca_lib

# Equation (1) divides by the neurons; this book's default divides by the directions kept.
OVER_NEURONS = "CCA, over neurons"
OF_SUMS = "SVCCA, 99 % of singular values"
# Name -> a measure of `svcca_lib` and its options, as `svcca_lib.pairwise` takes them
NAMED: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "CCA": ("cca", {}),
        "mean CCA": ("cca", {}),
        OVER_NEURONS: ("svcca", {"keep": 1.0, "mean_over": "smaller_layer"}),
        "SVCCA": ("svcca", {}),
        "SVCCA, 99 % of variance": ("svcca", {}),
        OF_SUMS: ("svcca", {"energy": "singular_values"}),
        "PWCCA": ("pwcca", {}),
        "linear regression": ("linear_regression", {}),
        "Procrustes": ("procrustes", {}),
        "CKA": ("cka", {}),
        "CKA, debiased": ("cka", {"debiased": True}),
    }
)


def similarity(name: str, x: Any, y: Any) -> float:
    """Similarity of two layers, (n, p) and (n, q), by a measure of `NAMED`."""
    measure, options = NAMED[name]
    return float(getattr(svcca_lib, measure)(x, y, **options).similarity)
