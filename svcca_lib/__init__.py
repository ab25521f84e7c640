"""SVCCA and its relatives: compare what two layers of neural networks represent.

The measures live here and need NumPy, SciPy and torch. `svcca_lib.paper`, the reproduction of
Raghu et al. 2017 built on them, is imported only by those who use it.
"""

from svcca_lib.chance import chance_correlation
from svcca_lib.errors import SampleSizeWarning
from svcca_lib.fourier.convolutions import (
    channels_as_neurons,
    image_of_row,
    phases_as_channels,
    pixels_as_neurons,
    positions_as_neurons,
)
from svcca_lib.fourier.moments import FourierMoments
from svcca_lib.fourier.subspace import FourierSubspace
from svcca_lib.inference import (
    Difference,
    HeldOut,
    Interval,
    PermutationTest,
    bootstrap_interval,
    difference_test,
    held_out_cca,
    paired_difference,
    permutation_test,
)
from svcca_lib.measures.alignment import cka, procrustes
from svcca_lib.measures.canonical import cca, linear_regression, pwcca, svcca
from svcca_lib.measures.dft_cca import FourierSimilarity, dft_cca
from svcca_lib.measures.measure import Measure
from svcca_lib.measures.neighbours import cknna, jaccard, mutual_knn
from svcca_lib.measures.pairwise import pairwise
from svcca_lib.measures.registry import MEASURES, register
from svcca_lib.measures.reservoir import Reservoir
from svcca_lib.measures.rsa import rsa
from svcca_lib.measures.similarity import Similarity
from svcca_lib.measures.soft_matching import soft_matching
from svcca_lib.models.callbacks import PastSimilarity
from svcca_lib.models.capture import capture
from svcca_lib.models.compare import compare, gather
from svcca_lib.models.compress import compress
from svcca_lib.models.moments import NetworkMoments
from svcca_lib.models.series import LayerSeries, compare_series
from svcca_lib.models.table import LayerTable
from svcca_lib.moments import Moments
from svcca_lib.projection import project, projection_matrix
from svcca_lib.subspace import Subspace

__version__ = "0.1.0"

__all__ = [
    "MEASURES",
    "Difference",
    "FourierMoments",
    "FourierSimilarity",
    "FourierSubspace",
    "HeldOut",
    "Interval",
    "LayerSeries",
    "LayerTable",
    "Measure",
    "Moments",
    "NetworkMoments",
    "PastSimilarity",
    "PermutationTest",
    "Reservoir",
    "SampleSizeWarning",
    "Similarity",
    "Subspace",
    "bootstrap_interval",
    "capture",
    "cca",
    "chance_correlation",
    "channels_as_neurons",
    "cka",
    "cknna",
    "compare",
    "compare_series",
    "compress",
    "dft_cca",
    "difference_test",
    "gather",
    "held_out_cca",
    "image_of_row",
    "jaccard",
    "linear_regression",
    "mutual_knn",
    "paired_difference",
    "pairwise",
    "permutation_test",
    "phases_as_channels",
    "pixels_as_neurons",
    "positions_as_neurons",
    "procrustes",
    "project",
    "projection_matrix",
    "pwcca",
    "register",
    "rsa",
    "soft_matching",
    "svcca",
]
