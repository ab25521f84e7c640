"""The theorems' numbers on data whose covariances are known, and what each assumption is for."""

import numpy as np
import pytest
import torch

from svcca_lib.paper.experiments import cost, theorems
from svcca_lib.paper.experiments import translation_invariance as invariance
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.networks import NetworkConfig, build
from svcca_lib.paper.training.trained import TrainedNetwork


def random(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.fixture(scope="module")
def run():
    """An untrained ConvNet in the place of a finished run."""
    network = NetworkConfig("convnet", (1, 8, 8), 3, width=4, fc=(6, 5))
    weights = build(network, 7).state_dict()
    tensors = {f"1/{name}": tensor for name, tensor in weights.items()}
    return TrainedNetwork(
        TrainConfig(network, "f", seed=0, checkpoints=(1.0,)), {}, [], {}, tensors
    )


@pytest.fixture(scope="module")
def images():
    ramp = torch.linspace(0, 2, 8, dtype=torch.float64)
    return random(12, 1, 8, 8) * (1 + ramp) + ramp[:, None]


class TestData:
    def test_translations_are_closed_under_translation_and_no_shift_comes_twice(self):
        shifted = invariance.translations(random(3, 2, 4, 5))
        rows = {tuple(image.flatten().tolist()) for image in shifted}
        moved = {tuple(image.flatten().tolist()) for image in torch.roll(shifted, (1, 3), (2, 3))}
        assert len(shifted) == len(rows) == 3 * 4 * 5
        assert rows == moved

    def test_reach_bounds_the_shifts(self):
        image = torch.zeros(1, 1, 8, 8)
        image[..., 4, 4] = 1
        places = invariance.translations(image, 1).nonzero()[:, 2:]
        assert len(places) == 9
        assert places.min() == 3
        assert places.max() == 5
        assert len(invariance.translations(image, 4)) == 64

    def test_images_are_averaged_down_by_whole_factors_only(self):
        image = torch.arange(16.0).reshape(1, 1, 4, 4)
        assert invariance.reduced(image, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
        assert invariance.reduced(image, 8) is image
        with pytest.raises(ValueError, match="must divide the side of the images, 4; got 3"):
            invariance.reduced(image, 3)


class TestLayers:
    def test_borders_change_and_weights_do_not(self, run, images):
        circular, zeros = (invariance.with_borders(run, kind) for kind in ("circular", "zeros"))
        for a, b in zip(circular.parameters(), run.network().parameters(), strict=True):
            assert torch.equal(a, b.double())
        x = images.float()
        seen = invariance.responses(zeros, {"c2": None}, x.double())["c2"]
        network = run.network()
        expected = network.c2(network.c1(network.get_submodule("in")(x)))
        torch.testing.assert_close(seen.float(), expected)

    def test_a_circular_layer_commutes_with_translation_and_a_zero_padded_one_does_not(
        self, run, images
    ):
        def gap(padding):
            network = invariance.with_borders(run, padding)
            moved = invariance.responses(network, {"bn1": None}, torch.roll(images, (2, 3), (2, 3)))
            still = invariance.responses(network, {"bn1": None}, images)
            return float((moved["bn1"] - torch.roll(still["bn1"], (2, 3), (2, 3))).abs().max())

        assert gap("circular") < 1e-12
        assert gap("zeros") > 1e-3

    def test_channels_are_taken_in_the_order_asked_for(self, run, images):
        network = invariance.with_borders(run, "zeros")
        whole = invariance.responses(network, {"c1": None}, images)["c1"]
        part = invariance.responses(network, {"c1": (3, 1)}, images)["c1"]
        assert torch.equal(part, whole[:, [3, 1]])

    def test_the_liveliest_channels_come_first(self, run, images):
        network = invariance.with_borders(run, "zeros")
        variances = invariance.responses(network, {"c1": None}, images)["c1"].var(0).mean((1, 2))
        first, second = invariance.liveliest(network, "c1", images, 2)
        assert variances[first] == variances.max()
        assert variances[second] == variances.sort(descending=True).values[1]


def layers(run, padding="circular", names=("c1", "c2"), inputs=None):
    found = invariance.responses(
        invariance.with_borders(run, padding), dict.fromkeys(names), inputs
    )
    return tuple(found[name] for name in names)


class TestTheorems:
    def test_all_hold_on_all_translations_through_circular_borders(self, run, images):
        x, y = layers(run, inputs=invariance.translations(images))
        assert theorems.off_circulant(x, y).worst < 1e-20
        assert theorems.between_frequencies(x, y).worst < 1e-20
        assert theorems.against_flat(x[:, :2], y[:, :2]).gap < 1e-8

    @pytest.mark.parametrize("broken", ["translations", "borders"])
    def test_each_assumption_is_needed(self, run, images, broken):
        inputs = images if broken == "translations" else invariance.translations(images)
        x, y = layers(run, "zeros" if broken == "borders" else "circular", inputs=inputs)
        assert theorems.off_circulant(x, y).share > 1e-3
        assert theorems.between_frequencies(x, y).share > 1e-3

    def test_what_is_not_circulant_is_what_lies_between_frequencies(self):
        x, y = random(40, 2, 4, 6), random(40, 3, 4, 6, seed=1)
        circulant, spectral = theorems.off_circulant(x, y), theorems.between_frequencies(x, y)
        torch.testing.assert_close(circulant.outside, spectral.outside)
        torch.testing.assert_close(circulant.total, spectral.total)

    def test_a_planted_covariance_gives_its_own_share(self):
        # Two uncorrelated pixels of variances 1 and 3: the mean of the diagonal, 2, is circulant.
        x = torch.tensor([[1.0, 3**0.5], [1, -(3**0.5)], [-1, 3**0.5], [-1, -(3**0.5)]])
        x = x.reshape(4, 1, 1, 2).double()
        assert theorems.off_circulant(x, x).share == pytest.approx((1 + 1) / (1 + 9))
        assert theorems.between_frequencies(x, x).share == pytest.approx((1 + 1) / (1 + 9))
        assert theorems.off_diagonal(theorems.channel_covariance(x[:, 0], "pixels")) == 0
        dft = theorems.channel_covariance(x[:, 0], "dft")
        torch.testing.assert_close(dft, torch.tensor([[2.0, 1], [1, 2]]).double() * 4 / 3)
        assert theorems.off_diagonal(dft) == pytest.approx(2 / 10)

    def test_the_worst_pair_is_no_better_than_the_whole(self):
        x = random(50, 3, 4, 4)
        energy = theorems.between_frequencies(x, x)
        assert energy.worst >= energy.share > 0

    def test_lemma_2_holds_on_any_data(self):
        assert theorems.undiagonalised(random(30, 4, 6), random(30, 4, 6, seed=1)) < 1e-25

    def test_lemma_3_holds_on_any_data_and_beyond_full_rank(self):
        x, y = random(60, 4, 4), random(60, 4, 4, seed=1)
        assert theorems.moved_by_dft(x, y + x) < 1e-12
        x[:, 0] = 0
        assert theorems.moved_by_dft(x, y) < 1e-12


class TestAcrossAPooling:
    def test_layers_above_it_are_as_good_as_any_and_phases_restore_the_equality(self, run, images):
        from svcca_lib import phases_as_channels

        shifted = invariance.translations(images)
        below, above, higher = layers(run, names=("c2", "p1", "c3"), inputs=shifted)
        assert theorems.against_flat(above, higher).gap < 1e-8
        across = theorems.against_flat(below[:, :2], above[:, :2])
        assert across.off_block > 1e-4
        assert across.gap > 1e-2
        phased = theorems.against_flat(phases_as_channels(below[:, :2], 2), above[:, :2])
        assert phased.off_block < 1e-20
        assert phased.gap < 1e-8

    def test_waves_of_half_a_cycle_on_the_smaller_grid_are_no_common_ones(self):
        mask = theorems._equal_frequencies((4, 4), (2, 4))
        # The two-row grid shares its zero frequency only, the columns all four.
        assert int(mask.sum()) == 4

    def test_four_waves_of_the_larger_layer_meet_one_of_the_smaller_and_no_others(
        self, run, images
    ):
        below, above = layers(run, names=("c2", "c3"), inputs=invariance.translations(images))
        x, y = theorems.spectrum(below), theorems.spectrum(above)
        energy = (x.reshape(len(x), -1).mH @ y.reshape(len(y), -1)).abs() ** 2
        energy = energy.reshape(*x.shape[1:], *y.shape[1:]).sum((0, 3))  # (8, 8, 4, 4)
        alike = torch.arange(8)[:, None] % 4 == torch.arange(4)  # at every second pixel
        meet = alike[:, None, :, None] & alike[None, :, None, :]
        assert (meet.sum((0, 1)) == 4).all()
        assert energy[~meet].sum() < 1e-20 * energy.sum()
        # At most one of the four has its frequency: the others are what lies off the blocks.
        assert theorems.between_frequencies(below, above).share > 1e-3


class TestCost:
    def test_a_power_law_has_its_exponent(self):
        sizes = np.array([2.0, 4, 8])
        assert cost.slope(sizes, 3 * sizes**2.5) == pytest.approx(2.5)

    def test_the_formulas_of_appendix_c(self):
        flat, fourier = cost.predicted(4, 8)
        assert flat == pytest.approx(256**2.5)
        assert fourier == pytest.approx(4 * 8 * np.log(8) + 64 * 32)

    def test_both_routes_are_timed(self):
        measured = cost.cost(40, 2, 4, repeats=1)
        assert measured.flat > 0
        assert measured.fourier > 0

    def test_too_few_images_are_an_error_that_says_so(self):
        with pytest.raises(ValueError, match="32 neurons needs more images; got 33"):
            cost.cost(33, 2, 4)
