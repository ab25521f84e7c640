"""Is a similarity more than chance, how much of it generalises, and how far can it be trusted.

A similarity is the maximum of something, or contains one, so it is never zero and it grows with the
number of directions. Three answers, from cheap to thorough: the closed form `Similarity.chance`; a
`permutation_test`, which needs no assumption but that datapoints (or images) are exchangeable; and
`held_out_cca`, which measures the correlations where they were not fitted. `bootstrap_interval`
says where the number that endless data would give must lie, `difference_test` which of two layers
is nearer to a third.

Pixels of one image are not independent datapoints. Every function takes `groups`, one label a row,
and treats the rows of a group as one: images are shuffled, left out and resampled whole.
"""

from svcca_lib.inference.differences import Difference, difference_test, paired_difference
from svcca_lib.inference.held_out import HeldOut, held_out_cca
from svcca_lib.inference.intervals import Interval, bootstrap_interval
from svcca_lib.inference.permutation import PermutationTest, permutation_test

__all__ = [
    "Difference",
    "HeldOut",
    "Interval",
    "PermutationTest",
    "bootstrap_interval",
    "difference_test",
    "held_out_cca",
    "paired_difference",
    "permutation_test",
]
