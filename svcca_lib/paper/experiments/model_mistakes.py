"""Mistakes in reading models of today, each made on purpose beside the way that works.

Small networks with random weights, pairs that differ in their seed alone: what a layer's output
means is decided by its shape and its masks, and no training is needed to read it wrongly. The wrong
numbers are what comes out when axes and padding are taken at face value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from svcca_lib import Moments, cca, cka, compare, mutual_knn
from svcca_lib.paper.experiments.mistakes import Mistake

WORDS, LONGEST, WIDTH = 50, 24, 16


class _LanguageModel(nn.Module):
    """Embeds words and lets them attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.block = nn.TransformerEncoderLayer(
            WIDTH, 2, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states: Tensor = self.block(
            self.embedding(input_ids), src_key_padding_mask=attention_mask == 0
        )
        return states


class _ChannelsLast(nn.Module):
    """A patch embedding and an MLP in the layout of Swin and ConvNeXt: (n, h, w, c)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, images: Tensor) -> Tensor:
        rows: Tensor = self.mlp(self.patches(images).permute(0, 2, 3, 1))
        return rows


def _two(make: Callable[[], nn.Module], seed: int) -> list[nn.Module]:
    """Return two models that differ in their random weights."""
    models = []
    for offset in range(2):
        torch.manual_seed(2 * seed + offset)
        models.append(make().eval())
    return models


def _cell(*args: Any, **options: Any) -> float:
    return float(compare(*args, progress=False, **options).matrix[0, 0])


def padding_read(seed: int = 0) -> Mistake:
    """Take padding for words: two language models, sentences of very different lengths."""
    models = _two(_LanguageModel, seed)
    words = torch.randint(1, WORDS, (300, LONGEST))
    lengths = torch.randint(4, LONGEST + 1, (300,))
    real = (torch.arange(LONGEST) < lengths[:, None]).long()
    batches = [{"input_ids": words * real, "attention_mask": real}]
    wrong, right = (
        _cell(*models, batches, "block", measure="cka", tokens="mean", mask=mask)
        for mask in (None, "auto")
    )
    return Mistake("padding read as words", "the mask of the batch (mask='auto')", wrong, right)


def channels_taken_for_space(seed: int = 0) -> Mistake:
    """Average over the wrong axes of a layer (n, h, w, c)."""
    models = _two(_ChannelsLast, seed)
    images = torch.randn(300, 3, 1, 1) + torch.randn(300, 3, 16, 16)
    wrong, right = (
        _cell(*models, images, "mlp", conv="mean", channels=channels)
        for channels in ("first", "auto")
    )
    return Mistake(
        "channels-last read as channels-first", "channels='auto', or 'last'", wrong, right
    )


def time_taken_for_datapoints(seed: int = 0) -> Mistake:
    """Take the time steps of a recurrent layer (time, n, d) for datapoints."""
    models = _two(lambda: nn.LSTM(WIDTH, WIDTH), seed)
    sequences = torch.randn(9, 200, WIDTH)
    with torch.no_grad():
        wrong = cka(*(model(sequences)[0].mean(1) for model in models)).similarity
    right = _cell(*models, [sequences], "", measure="cka", tokens="mean")
    return Mistake(
        "time steps read as datapoints", "batch_first is read (compare does)", wrong, right
    )


def rounding_taken_for_directions(seed: int = 0) -> Mistake:
    """Copy float32 responses to float64 first, so that their rounding looks like signal."""
    torch.manual_seed(seed)
    inputs = torch.randn(2000, 32)
    layers = [inputs @ torch.randn(32, 64) for _ in range(2)]
    return Mistake(
        "float32 copied to float64 before CCA",
        "give the responses as they are",
        cca(*(layer.double() for layer in layers)).similarity,
        cca(*layers).similarity,
        truth=1.0,
    )


def biased_on_few_inputs(seed: int = 0) -> Mistake:
    """Read the CKA of layers that share nothing on few inputs at face value."""
    torch.manual_seed(seed)
    x, y = torch.randn(2, 100, 64).double()
    moments = Moments()
    for a, b in zip(torch.split(x, 20), torch.split(y, 20), strict=True):
        moments.update(a, b)
    return Mistake(
        "CKA of few inputs at face value",
        "debiased=True, from a stream as well",
        cka(moments).similarity,
        cka(moments, debiased=True).similarity,
        truth=0.0,
    )


def rows_out_of_step(seed: int = 0) -> Mistake:
    """Give two models the same datapoints in two orders, and no ids to tell."""
    torch.manual_seed(seed)
    ids, x = torch.arange(500), torch.randn(500, 6)
    y = torch.cat([x, x.square()], 1)  # what the second model takes
    models = nn.Sequential(nn.Linear(6, 4)), nn.Sequential(nn.Linear(12, 4))

    def batches(data: Tensor, order: Tensor) -> list[dict[str, Tensor]]:
        return [{"input": data[i], "index": ids[i]} for i in torch.split(order, 100)]

    def score(order: Tensor) -> float:
        one, other = batches(x, ids), batches(y, order)
        options: dict[str, Any] = {"ids": None, "feed": lambda model, batch: model(batch["input"])}
        return _cell(*models, one, "0", loader_b=other, measure="cca", **options)

    return Mistake(
        "two loaders in different orders",
        "batches with ids (loader_b= compares them)",
        score(torch.randperm(500)),
        score(ids),
    )


def ties_taken_in_order(seed: int = 0) -> Mistake:
    """Call two unrelated labellings neighbours, by the order in which ties happen to come.

    The numbers are shares of common neighbours above what each takes for chance.
    """
    rng, k = np.random.default_rng(seed), 10
    one, other = (np.eye(5)[rng.integers(0, 5, 300)] for _ in range(2))
    near = [
        np.argsort(-(z @ z.T) + 9 * np.eye(300), axis=1, kind="stable")[:, :k] for z in (one, other)
    ]
    common = np.mean([len({*a} & {*b}) / k for a, b in zip(*near, strict=True)])
    found = mutual_knn(one, other, k=k)
    assert found.chance is not None
    return Mistake(
        "neighbours of equal distance taken in order",
        "shared places, and their chance (mutual_knn)",
        float(common - k / 299),
        found.similarity - found.chance,
        truth=0.0,
    )


def wide_layers_at_face_value(seed: int = 0) -> Mistake:
    """Call layers alike because they are wide; the score that is calibrated by permuted inputs."""
    a, b = _two(lambda: nn.Sequential(nn.Linear(20, 64), nn.ReLU()), seed)
    x = torch.randn(160, 40)
    parts = _Part(a, 0), _Part(b, 20)
    table = compare(*parts, x, "model", null=50, seed=seed, progress=False)
    assert table.calibrated is not None
    return Mistake(
        "width taken for similarity",
        "calibrate: compare(..., null=100)",
        float(table.matrix[0, 0]),
        float(table.calibrated[0, 0]),
        truth=0.0,
    )


class _Part(nn.Module):
    """Shows a model a part of the inputs: two models that see different ones share nothing."""

    def __init__(self, model: nn.Module, start: int) -> None:
        super().__init__()
        self.model, self.start = model, start

    def forward(self, x: Tensor) -> Any:
        return self.model(x[:, self.start : self.start + 20])


def eight(seed: int = 0) -> list[Mistake]:
    """Make each mistake once; the seed is that of weights and inputs."""
    with torch.random.fork_rng(devices=[]):
        return [
            padding_read(seed),
            channels_taken_for_space(seed),
            time_taken_for_datapoints(seed),
            rows_out_of_step(seed),
            rounding_taken_for_directions(seed),
            biased_on_few_inputs(seed),
            wide_layers_at_face_value(seed),
            ties_taken_in_order(seed),
        ]
