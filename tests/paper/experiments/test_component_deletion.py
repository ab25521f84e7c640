import numpy as np
import pytest

from svcca_lib import cka
from svcca_lib.paper.experiments import component_deletion, linear_probe

RNG = np.random.default_rng(0)


def signal_alone(layer, components):
    """A layer with its leading principal components alone."""
    mean = layer.mean(axis=0)
    _, _, vt = np.linalg.svd(layer - mean, full_matrices=False)
    return (layer - mean) @ vt[:components].T @ vt[:components] + mean


def test_probe_reads_what_is_linear_and_no_more():
    x = RNG.normal(size=(400, 6))
    labels = (x[:, 2] > 0).astype(int)
    assert linear_probe.probe(x[:300], labels[:300], x[300:], labels[300:]) > 0.9
    blind = np.delete(x, 2, axis=1)
    assert linear_probe.probe(blind[:300], labels[:300], blind[300:], labels[300:]) < 0.7


def test_deletions_are_seen_over_neurons_and_never_over_directions_kept():
    scales = np.geomspace(3, 0.3, 8)
    layers = [RNG.normal(size=(300, 8)) * scales for _ in range(3)]
    layers[1] = layers[0] @ np.linalg.qr(RNG.normal(size=(8, 8)))[0]  # another basis: no distance
    labels = (layers[0][:, 0] > 0).astype(int)
    found = component_deletion.delete_components(layers, layers, (labels, labels), steps=4)
    assert found.width == found.kept[0] == 8
    assert found.kept[-1] == 1
    for measure in ("CCA", "SVCCA", "PWCCA"):
        np.testing.assert_allclose(found.distance[measure][0, 0], 0, atol=1e-6)
    np.testing.assert_allclose(
        found.distance["CCA, over neurons"][0, 0], 1 - found.kept / 8, atol=1e-9
    )
    np.testing.assert_allclose(found.distance["Procrustes"][0, 1, 0], 0, atol=1e-9)
    assert (np.diff(found.distance["CKA"][0, 0]) > 0).all()
    for i in (0, 2):
        cut = signal_alone(layers[i], int(found.kept[2]))
        for j in (0, 2):
            away = 1 - cka(layers[j], cut).similarity
            assert found.distance["CKA"][j, i, 2] == pytest.approx(away)


def test_what_is_noticed_is_set_by_the_seeds():
    whole = np.array([[0, 0.3, 0.9], [0.2, 0.5, 0.9]])
    deletion = component_deletion.Deletion(
        kept=np.array([10, 5, 1]),
        width=10,
        accuracy=np.array([[0.9, 0.9, 0.3], [0.9, 0.8, 0.2]]),
        distance={
            "sees": np.array([whole, [[0.4, 0.5, 0.9], [0, 0.3, 0.5]]]),
            "blind": np.zeros((2, 2, 3)),
        },
    )
    np.testing.assert_allclose(deletion.seeds("sees"), [0.2, 0.4])
    # Two thirds of the way to half of the components; half of the way from there to nine tenths
    np.testing.assert_allclose(deletion.noticed("sees"), [1 / 3, 0.7])
    np.testing.assert_allclose(deletion.lost("sees"), [0, 0.9 - 0.5])
    np.testing.assert_allclose(deletion.noticed("blind"), 1)
    np.testing.assert_allclose(deletion.lost("blind"), [0.6, 0.7])
    assert deletion.probe_correlation("sees")[0] > 0.9
    np.testing.assert_array_equal(deletion.probe_correlation("blind"), 0)
    both = component_deletion.Deletion(
        deletion.kept,
        10,
        deletion.accuracy,
        dict.fromkeys(component_deletion.MEASURES, deletion.distance["sees"]),
    )
    scores = both.scores(dict.fromkeys(component_deletion.MEASURES, 0.5))
    np.testing.assert_allclose(scores["sensitivity"], -deletion.noticed("sees").mean())
    np.testing.assert_allclose(scores["probe"], deletion.probe_correlation("sees").mean())
    turned = deletion.only([1, 0])
    np.testing.assert_allclose(turned.noticed("sees"), deletion.noticed("sees")[::-1])


def test_a_winner_falls_short_of_nothing_and_near_scores_share_a_place():
    scores = {"a": np.array([0.9, 0.5, 0.1]), "b": np.array([0.8, 0.3, 0.3])}
    np.testing.assert_allclose(component_deletion.shortfall(scores), [0, 0.5, 0.8])
    np.testing.assert_allclose(component_deletion.mean_ranks(scores, 0.01), [1, 2.25, 2.75])
    near = {"a": np.array([0.900, 0.905])}
    np.testing.assert_allclose(component_deletion.mean_ranks(near, 0.01), [1.75, 1.25])
