import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from svcca_lib.paper.data.text import TextData
from svcca_lib.paper.experiments.recurrent import (
    best_fraction,
    convergence,
    perplexity,
    progress,
    sequences,
    time_average,
    unigram_perplexity,
)
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.networks import NetworkConfig
from svcca_lib.paper.training.trained import train


def text(train_tokens, test_tokens, vocabulary):
    return TextData(
        "t",
        "t",
        torch.tensor(train_tokens),
        torch.tensor(test_tokens),
        tuple("abcdefgh"[:vocabulary]),
        "f",
    )


class TestSequences:
    def test_they_tile_the_text_and_leave_the_rest(self):
        assert sequences(torch.arange(11), 3).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]

    def test_fewer_are_spread_over_the_whole_text(self):
        assert sequences(torch.arange(100), 2, most=3)[:, 0].tolist() == [0, 48, 98]

    def test_a_text_too_short_is_an_error_that_says_so(self):
        with pytest.raises(ValueError, match="at least two sequences of 8; got 15 tokens"):
            sequences(torch.arange(15), 8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(6, (900,), generator=generator)
    tokens[1::2] = (tokens[::2] + 1) % 6  # every second token follows from the one before
    data = TextData("t", "t", tokens[:600], tokens[600:], tuple("abcdef"), "f")
    network = NetworkConfig("lstm", (6,), 6, width=8, depth=2)
    config = TrainConfig(
        network,
        "f",
        steps=60,
        batch_size=16,
        optimizer="adam",
        lr=0.02,
        context=10,
        checkpoints=(0.0, 0.5, 1.0),
        evaluations=1,
    )
    return train(config, data, Store(tmp_path_factory.mktemp("store"))), data


@pytest.fixture(scope="module")
def measured(run):
    return convergence(run[0], sequences(run[1].test_tokens, 10))


class TestConvergence:
    def test_layers_are_the_embedding_and_the_stack(self, measured):
        assert measured.layers == ("emb", "lstm1", "lstm2")
        assert measured.similarity.shape == measured.floor.shape == measured.chance.shape == (3, 3)

    def test_a_layer_equals_itself_at_the_end_and_not_before(self, measured):
        np.testing.assert_allclose(measured.similarity[-1], 1, atol=1e-12)
        assert (measured.similarity[0, 1:] < 0.95).all()

    def test_an_embedding_wider_than_the_vocabulary_spans_the_same_from_the_start(self, run):
        all_directions = convergence(run[0], sequences(run[1].test_tokens, 10), keep=1.0)
        np.testing.assert_allclose(all_directions.similarity[:, 0], 1, atol=1e-9)

    def test_it_is_svcca_of_the_hidden_states(self, run, measured):
        inputs = sequences(run[1].test_tokens, 10)
        bases = []
        for fraction in (0.5, 1.0):
            network = run[0].network(fraction)
            with torch.no_grad():
                states = network.lstm1(network.emb(inputs)).reshape(-1, 8).double().numpy()
            u, s, _ = np.linalg.svd(states - states.mean(0), full_matrices=False)
            kept = int((np.cumsum(s**2) < 0.99 * (s**2).sum()).sum()) + 1
            bases.append(u[:, :kept])
        expected = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).mean()
        assert measured.similarity[1, 1] == pytest.approx(expected, abs=1e-9)
        assert measured.kept[1:, 1].tolist() == [basis.shape[1] for basis in bases]

    def test_sequences_that_are_all_the_same_leave_nothing_to_permute(self, run):
        same = sequences(run[1].test_tokens, 10)[:1].repeat(20, 1)
        alike = convergence(run[0], same, draws=2)
        np.testing.assert_allclose(alike.floor, alike.similarity, atol=1e-9)

    def test_the_floor_is_far_below_what_sequences_share_with_themselves(self, measured):
        assert (measured.floor[-1] < 0.5).all()
        assert (measured.floor[:, 1:] > measured.chance[:, 1:]).mean() > 0.5


class TestCurves:
    def test_progress_runs_from_0_to_1_wherever_a_layer_starts(self):
        curve = progress(np.array([[0.2, 0.8], [0.6, 0.9], [1.0, 1.0]]))
        np.testing.assert_allclose(curve, [[0, 0], [0.5, 0.5], [1, 1]])

    def test_progress_of_a_layer_that_starts_at_its_end_is_not_a_number(self):
        assert np.isnan(progress(np.array([[1.0], [1.0]]))).all()

    def test_the_time_average_is_exact_for_straight_lines(self):
        fractions = np.array([0.0, 0.1, 0.5, 1.0])
        lines = np.stack([fractions, 1 - 0.5 * fractions], axis=1)
        np.testing.assert_allclose(time_average(fractions, lines), [0.5, 0.75])


class _Constant(nn.Module):
    """Says the same of every next token."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, tokens):
        return self.logits.expand(*tokens.shape, -1)


class TestPerplexity:
    def test_of_knowing_nothing_is_the_size_of_the_vocabulary(self):
        tokens = torch.arange(100) ** 2 % 7
        assert perplexity(_Constant([0.0] * 7), tokens, 9) == pytest.approx(7)

    def test_of_knowing_everything_is_1(self):
        class Next(nn.Module):
            def forward(self, tokens):
                return 100.0 * nn.functional.one_hot((tokens + 1) % 5, 5)

        assert perplexity(Next(), torch.arange(200) % 5, 7) == pytest.approx(1)

    def test_every_token_but_the_first_is_predicted_once(self):
        tokens = torch.tensor([2, 0, 0, 0, 1, 0, 0])
        p = torch.tensor([0.5, 0.25, 0.25])
        expected = math.exp(-(5 * math.log(0.5) + math.log(0.25)) / 6)
        assert perplexity(_Constant(p.log().tolist()), tokens, 3) == pytest.approx(expected)

    def test_unigram_counts_are_of_the_training_text_plus_one(self):
        data = text([0, 0, 0, 1], [0, 1, 2], 3)  # probabilities 4/7, 2/7, 1/7
        expected = (7 / 4 * 7 / 2 * 7) ** (1 / 3)
        assert unigram_perplexity(data) == pytest.approx(expected)

    def test_a_trained_model_beats_the_unigram(self, run):
        trained, data = run
        assert perplexity(trained.network(), data.test_tokens, 10) < unigram_perplexity(data)
        untrained = perplexity(trained.network(0.0), data.test_tokens, 10)
        assert untrained > unigram_perplexity(data)


def test_an_earlier_end_leaves_out_what_comes_after(run):
    inputs = sequences(run[1].test_tokens, 10)
    whole, begun = convergence(run[0], inputs), convergence(run[0], inputs, end=0.5)
    assert begun.fractions[-1] == 1
    assert len(begun.fractions) < len(whole.fractions)
    np.testing.assert_allclose(begun.similarity[-1], 1)
    assert (begun.similarity[0] != whole.similarity[0]).any()  # it is nearer to another end


def test_the_best_state_is_that_of_least_loss_over_the_seeds(run):
    trained, _ = run

    def having(losses):
        history = {"step": [0, 30, 60], "test_loss": losses}
        return replace(trained, history=history)

    assert best_fraction([having([3.0, 1.0, 2.0])]) == 0.5
    assert best_fraction([having([0.0, 3.0, 2.0])]) == 1.0  # the start is no state to compare with
    assert best_fraction([having([3.0, 1.0, 2.0]), having([3.0, 4.0, 2.0])]) == 1.0
