"""SVCCA and its relatives: compare what two layers of neural networks represent.

The measures live here and need NumPy, SciPy and torch. `svcca_lib.paper`, the reproduction of
Raghu et al. 2017 built on them, is imported only by those who use it.
"""

from svcca_lib._arrays import SampleSizeWarning
from svcca_lib.activations import capture
from svcca_lib.comparison import LayerTable, NetworkMoments, compare, gather
from svcca_lib.fourier import (
    FourierMoments,
    FourierSimilarity,
    FourierSubspace,
    channels_as_neurons,
    dft_cca,
    image_of_row,
    phases_as_channels,
    pixels_as_neurons,
)
from svcca_lib.inference import (
    HeldOut,
    Interval,
    PermutationTest,
    bootstrap_interval,
    held_out_cca,
    permutation_test,
)
from svcca_lib.moments import Moments
from svcca_lib.projection import compress, project, projection_matrix
from svcca_lib.similarity import (
    MEASURES,
    Similarity,
    cca,
    chance_correlation,
    cka,
    linear_regression,
    pairwise,
    procrustes,
    pwcca,
    svcca,
)
from svcca_lib.subspace import Subspace

__version__ = "0.1.0"

__all__ = [
    "MEASURES",
    "FourierMoments",
    "FourierSimilarity",
    "FourierSubspace",
    "HeldOut",
    "Interval",
    "LayerTable",
    "Moments",
    "NetworkMoments",
    "PermutationTest",
    "SampleSizeWarning",
    "Similarity",
    "Subspace",
    "bootstrap_interval",
    "capture",
    "cca",
    "chance_correlation",
    "channels_as_neurons",
    "cka",
    "compare",
    "compress",
    "dft_cca",
    "gather",
    "held_out_cca",
    "image_of_row",
    "linear_regression",
    "pairwise",
    "permutation_test",
    "phases_as_channels",
    "pixels_as_neurons",
    "procrustes",
    "project",
    "projection_matrix",
    "pwcca",
    "svcca",
]
