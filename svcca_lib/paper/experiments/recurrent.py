"""Language models over the course of training: when each layer reaches its final state.

A datapoint is a token in its context: one position of one sequence. The response of a layer to N
sequences of T tokens is thus an (N T, width) matrix, and SVCCA compares two such matrices as it
does two layers of an image network. The datapoints of a sequence are not independent, though: the
level that similarity has without any relation is found by pairing whole sequences at random.

References
----------
Raghu et al. 2017, Appendix Figure 6. Morcos, Raghu and Bengio 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from svcca_lib import Subspace, capture, permutation_test, svcca
from svcca_lib.paper.data.text import TextData
from svcca_lib.paper.training.trained import TrainedNetwork

BATCH = 50  # sequences; bounds the memory that the logits of a large vocabulary take


@dataclass(frozen=True, eq=False)
class Convergence:
    """SVCCA of each layer to its own final state; arrays are (times, layers)."""

    fractions: np.ndarray  # (times,), of the way to that state, ascending, from 0 to 1
    layers: tuple[str, ...]  # the embedding and the stacked layers, from the input upward
    similarity: np.ndarray  # to the same layer at the end: 1 in the last row
    floor: np.ndarray  # the same, with final states of other sequences, paired at random
    chance: np.ndarray  # expected of independent rows; below `floor`, as rows are not
    kept: np.ndarray  # directions that hold the share asked for of the layer's variance


def sequences(tokens: Tensor, context: int, most: int | None = None) -> Tensor:
    """Cut a text (n,) into sequences that do not overlap, (sequences, context).

    At most `most` of them, evenly spaced. ValueError if the text has fewer than two.
    """
    windows = tokens.unfold(0, context, context)
    if len(windows) < 2:
        raise ValueError(
            f"tokens must hold at least two sequences of {context}; got {len(tokens)} tokens"
        )
    if most is None or most >= len(windows):
        return windows
    return windows[torch.linspace(0, len(windows) - 1, most).round().long()]


def convergence(
    run: TrainedNetwork,
    inputs: Tensor,
    *,
    end: float = 1.0,
    keep: float = 0.99,
    draws: int = 20,
    seed: int = 0,
) -> Convergence:
    """Compare each layer of a language model, at each time kept, with the same layer at the end.

    The run is of an lstm that keeps its networks at 0 and at `end`, a fraction of its training;
    what comes after is left out. Inputs are tokens, (sequences, time). Behind the floor are `draws`
    random pairings of sequences.

    Notes
    -----
    A pairing moves whole sequences and leaves each position where it is. What two layers share
    because both depend on the position (a state that starts at zero and fills up) or because both
    vary slowly along a sequence is therefore part of the floor.

    The logits are left out: they are a linear map of the top layer, and where the vocabulary is no
    smaller than the layer they span the same subspace.
    """
    layers = run.network().layers[:-1]
    fractions = [fraction for fraction in run.fractions if fraction <= end]
    ends = _decomposed(run, end, layers, inputs, keep)
    shape = len(fractions), len(layers)
    similarity, floor, chance, kept = (np.empty(shape) for _ in range(4))
    sequence = torch.arange(len(inputs)).repeat_interleave(inputs.shape[1])  # of each row
    for i, fraction in enumerate(fractions):
        now = _decomposed(run, fraction, layers, inputs, keep)
        for j, (x, y) in enumerate(zip(now, ends, strict=True)):
            result = svcca(x, y)
            similarity[i, j], chance[i, j], kept[i, j] = result.similarity, result.chance, x.kept
            test = permutation_test(x, y, n_permutations=draws, groups=sequence, seed=seed)
            floor[i, j] = test.chance
    return Convergence(np.array(fractions) / end, layers, similarity, floor, chance, kept)


def best_fraction(runs: Sequence[TrainedNetwork]) -> float:
    """Return when, of the times kept after the start, the mean loss on the test text was least.

    The runs differ in their seed alone. By what was tested in training, between two tests by
    straight line.
    """
    later = np.array([fraction for fraction in runs[0].fractions if fraction > 0])
    steps = later * runs[0].config.steps
    losses = [np.interp(steps, run.history["step"], run.history["test_loss"]) for run in runs]
    return float(later[np.mean(losses, axis=0).argmin()])


def _decomposed(
    run: TrainedNetwork, fraction: float, layers: tuple[str, ...], inputs: Tensor, keep: float
) -> list[Subspace]:
    responses = capture(run.network(fraction), layers, torch.split(inputs, BATCH))
    # (sequences, time, width) -> (sequences * time, width)
    return [Subspace.fit(responses[name].flatten(0, 1), keep=keep) for name in layers]


def progress(similarity: np.ndarray) -> np.ndarray:
    """Share of the way from its initial to its final state that a layer has covered.

    From similarities to the final state, (times, layers), the untrained network in the first row.
    NaN for a layer that is where it ends from the start.
    """
    start = similarity[0]
    way = np.where(1 - start > 1e-9, 1 - start, np.nan)
    covered: np.ndarray = (similarity - start) / way
    return covered


def time_average(fractions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average curves, (times, layers), over training: higher where a layer settles earlier.

    By the trapezoid rule.
    """
    area: np.ndarray = np.trapezoid(values, fractions, axis=0) / (fractions[-1] - fractions[0])
    return area


def perplexity(network: nn.Module, tokens: Tensor, context: int) -> float:
    r"""Perplexity of a language model in evaluation mode on tokens (n,), in float32.

    :math:`\exp(-\frac1n \sum_t \log p(w_t \mid w_{<t}))`: the number of equally likely tokens that
    would be as hard to guess. Tokens are read in stretches of `context`, each with no memory of the
    one before.
    """
    windows = tokens.unfold(0, context + 1, context)  # (stretches, context + 1)
    total = 0.0
    with torch.no_grad():
        for part in torch.split(windows, BATCH):
            logits = network(part[:, :-1]).flatten(0, 1)
            total += float(functional.cross_entropy(logits, part[:, 1:].flatten(), reduction="sum"))
    return math.exp(total / windows[:, 1:].numel())


def unigram_perplexity(data: TextData) -> float:
    """Perplexity on the test text of knowing nothing but how frequent each token is in training.

    Counts are smoothed by adding one, so that a token that training never shows has a probability.
    """
    counts = torch.bincount(data.train_tokens, minlength=len(data.vocabulary)).double() + 1
    return math.exp(-float((counts / counts.sum()).log()[data.test_tokens].mean()))
