import numpy as np
import pytest

from svcca_lib.paper.experiments.architectures import (
    best_matches,
    same_size_means,
    size_blocks,
    spatial_sizes,
)
from svcca_lib.paper.training.networks import NetworkConfig, build


def test_sizes_are_those_of_the_layers_and_1_for_vectors():
    network = build(NetworkConfig("convnet", (1, 8, 8), 3, width=2, fc=(4, 3)), 0)
    sizes = dict(zip(network.layers, spatial_sizes(network, (1, 8, 8)), strict=True))
    assert (sizes["in"], sizes["bn1"], sizes["p1"], sizes["p2"], sizes["fc1"]) == (8, 8, 4, 2, 1)
    assert len(sizes) == 16


def test_means_are_over_cells_of_one_size_without_inputs_and_vectors():
    rows, columns = (8, 8, 8, 4, 1), (8, 8, 4, 4, 1)
    matrix = np.arange(25.0).reshape(5, 5)
    # size 8: rows 1, 2 with column 1; size 4: row 3 with columns 2, 3
    assert same_size_means(matrix, rows, columns) == {8: (6 + 11) / 2, 4: (17 + 18) / 2}


def test_blocks_are_over_all_pairs_of_sizes_the_largest_first():
    rows, columns = (8, 8, 8, 4, 1), (8, 8, 4, 4, 1)
    matrix = np.arange(25.0).reshape(5, 5)
    # sizes 8 and 4 of the rows are 1, 2 and 3; those of the columns 1 and 2, 3
    expected = [[(6 + 11) / 2, (7 + 8 + 12 + 13) / 4], [16, (17 + 18) / 2]]
    np.testing.assert_array_equal(size_blocks(matrix, rows, columns), expected)


def test_a_size_that_only_one_network_has_is_left_out():
    assert same_size_means(np.ones((3, 3)), (8, 8, 4), (8, 8, 2)) == {8: 1.0}


def test_best_matches_never_are_inputs_or_outputs():
    matrix = np.eye(7)
    matrix[:, 0] = matrix[:, -1] = 2
    assert best_matches(matrix).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [0, 3, 2, 1, 4, 5]])
def test_best_matches_follow_the_order_of_the_layers(order):
    assert best_matches(np.eye(6)[order]).tolist() == order[1:-2]


def test_columns_within_the_margin_are_as_near_and_their_mean_is_taken():
    matrix = np.zeros((4, 7))
    matrix[1] = [9, 0.5, 0.1, 0.506, 0.2, 9, 9]
    assert best_matches(matrix).tolist() == [2.0]  # of columns 1 and 3
    assert best_matches(matrix, margin=0.005).tolist() == [3.0]
