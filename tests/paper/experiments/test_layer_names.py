from itertools import pairwise

import numpy as np
import pytest
import torch

from svcca_lib import capture, dft_cca
from svcca_lib.paper.experiments.layer_names import (
    batch_norm_pairs,
    blocks,
    collapse,
    named_layers,
    stripe_contrast,
)
from svcca_lib.paper.experiments.published import figure_4
from svcca_lib.paper.training.networks import NetworkConfig, build


@pytest.mark.parametrize(("arch", "repeats"), [("convnet", 4), ("resnet", 2)])
def test_layers_of_one_block_are_one_layer_and_those_of_two_are_not(arch, repeats, digits):
    """Another route to the blocks: what DFT-CCA says of all neighbours, nothing cut."""
    network = build(NetworkConfig(arch, (1, 8, 8), 10, width=4, fc=(16, 8), depth=2), 0).eval()
    images = digits.normalised(digits.train_images[:300])
    with torch.no_grad():
        outputs = list(capture(network, network.layers, images).values())
    together = {pair for block in blocks(network.labels) for pair in pairwise(block)}
    assert len(together) == repeats
    for i, label in enumerate(network.labels[1:]):
        # What follows linearly lies inside the layer below, which is 1 as well: no layer twice.
        if label == "logits" or (i == 0 and arch == "resnet"):
            continue
        same = dft_cca(outputs[i], outputs[i + 1]).similarity > 1 - 1e-6
        assert same == ((i, i + 1) in together), network.labels[i : i + 2]


def test_collapsed_cells_are_means_over_blocks():
    matrix = np.arange(12.0).reshape(3, 4)
    expected = [[0.5, 2, 3], [(4 + 5 + 8 + 9) / 4, 8, 9]]
    collapsed = collapse(matrix, [(0,), (1, 2)], [(0, 1), (2,), (3,)])
    np.testing.assert_array_equal(collapsed, expected)


def test_layers_are_found_by_their_labels():
    conv, _ = figure_4("conv", 100)
    pairs = [(conv[i], conv[j]) for i, j in batch_norm_pairs(conv)]
    assert pairs == [("bn1", "c2"), ("bn2", "c5"), ("bn3", "fc1"), ("bn4", "fc2")]
    assert list(named_layers(conv).values()) == list(conv)
    res, _ = figure_4("res", 100)
    pairs = [(res[i], res[j]) for i, j in batch_norm_pairs(res)]
    assert pairs == [("err", "conv"), ("bn", "res")]
    assert (len(blocks(conv)), len(blocks(res))) == (12, 49)
    assert list(named_layers(res).values()) == [
        *("in", "unit 1", "unit 5", "unit 10", "unit 15", "out")
    ]


def test_stripe_contrast_is_sum_to_sum_less_sum_to_branch():
    labels = ("in", "bn_cv", "bn_cv", "res", "bn_cv", "bn_cv", "res")
    matrix = np.zeros((7, 7))
    matrix[6, 3], matrix[6, 4] = 0.8, 0.3
    assert stripe_contrast(labels, matrix) == pytest.approx(0.5)
