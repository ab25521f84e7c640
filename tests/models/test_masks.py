"""Padding is no data: only real tokens are read, whichever way they are padded and named."""

from collections import UserDict, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from svcca_lib import capture, cka, compare, gather, svcca

READINGS = {
    "datapoints": torch.cat,
    "mean": lambda hs: torch.stack([h.mean(0) for h in hs]),
    "first": lambda hs: torch.stack([h[0] for h in hs]),
    "last": lambda hs: torch.stack([h[-1] for h in hs]),
}


class LanguageModel(nn.Module):
    """Attends to real tokens alone; its states at the padding are large, as those of others are."""

    def __init__(self, seed, width=12):
        super().__init__()
        torch.manual_seed(seed)
        self.emb = nn.Embedding(50, width, padding_idx=0)
        nn.init.constant_(self.emb.weight[0], 5.0)
        self.attn = nn.MultiheadAttention(width, 2, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.pooled = nn.Linear(width, 7)

    def forward(self, input_ids, attention_mask=None, padding_mask=None):
        x = self.emb(input_ids)
        real = attention_mask if attention_mask is not None else padding_mask
        padded = None if real is None else real == 0
        x = self.norm(x + self.attn(x, x, x, key_padding_mask=padded, need_weights=False)[0])
        return {"last_hidden_state": x, "pooler_output": self.pooled(x[:, 0])}


def sentences(n=240, seed=0):
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 15, (n,), generator=rng)
    return [torch.randint(1, 50, (int(k),), generator=rng) for k in lengths]


def batches(texts, side="right", size=60, key="attention_mask", of=dict, values=torch.long):
    """Padded batches, each to its own longest."""
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        longest = max(map(len, part)) + (start == 0)  # of different lengths
        ids = torch.zeros(len(part), longest, dtype=torch.long)
        mask = torch.zeros(len(part), longest, dtype=values)
        for row, real, text in zip(ids, mask, part, strict=True):
            here = slice(None, len(text)) if side == "right" else slice(longest - len(text), None)
            row[here], real[here] = text, 1
        yield of(**{"input_ids": ids, key: mask})


def states(model, texts, layer="norm"):
    """What a layer gives for one sentence after another, with no padding anywhere."""
    found = []
    with torch.no_grad():
        for text in texts:
            if layer == "emb":
                found.append(model.emb(text).double())
            else:
                out = model.eval()(text[None])["last_hidden_state"]
                found.append(out[0].double())
    return found


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("tokens", list(READINGS))
@pytest.mark.parametrize("measure", [svcca, cka])
def test_only_real_tokens_count(side, tokens, measure):
    a, b, texts = LanguageModel(0), LanguageModel(1), sentences()
    padded = list(batches(texts, side))
    share = 1 - sum(int(p["attention_mask"].sum()) for p in padded) / sum(
        p["attention_mask"].numel() for p in padded
    )
    assert share > 0.39
    expected = measure(*(READINGS[tokens](states(m, texts)) for m in (a, b))).similarity
    options = {"measure": measure.__name__, "tokens": tokens, "progress": False}
    table = compare(a, b, padded, "norm", **options)
    assert table.matrix[0, 0] == pytest.approx(expected, abs=1e-5)
    assert table.n == (sum(map(len, texts)) if tokens == "datapoints" else len(texts))
    assert "real ones only" in table.readings["norm"]


def test_models_that_share_nothing_look_alike_by_their_padding():
    """What each model makes of a token is drawn anew for it; how much is padded is the same."""
    texts = sentences(400)
    a, b = (LanguageModel(seed, 6) for seed in (0, 1))
    same = {"measure": "cka", "tokens": "mean", "progress": False}
    padded = list(batches(texts, size=400))
    right = compare(a, b, padded, "emb", **same).matrix[0, 0]
    wrong = compare(a, b, padded, "emb", mask=None, **same).matrix[0, 0]
    expected = cka(*(READINGS["mean"](states(m, texts, "emb")) for m in (a, b))).similarity
    assert right == pytest.approx(expected, abs=1e-5)
    assert right < 0.2 < 0.8 < wrong


@pytest.mark.parametrize("tokens", list(READINGS))
def test_capture_reads_batches_of_different_lengths(tokens):
    model, texts = LanguageModel(0), sentences(90)
    out = capture(model, ["norm", "pooled"], batches(texts, "left", 20), tokens=tokens)
    expected = READINGS[tokens](states(model, texts))
    torch.testing.assert_close(out["norm"].double(), expected, atol=1e-5, rtol=1e-4)
    assert out["norm"].dtype == torch.float32
    assert out["pooled"].shape == (90, 7)


def test_capture_of_whole_outputs_names_the_remedy():
    texts = sentences(90)
    with pytest.raises(ValueError, match=r"changes shape .* pad the data, or read tokens"):
        capture(LanguageModel(0), "norm", batches(texts, size=20))
    with pytest.raises(ValueError, match="mask needs a reading of tokens"):
        capture(LanguageModel(0), "norm", batches(texts), mask="attention_mask")


Batch = namedtuple("Batch", "input_ids attention_mask")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ({}, {}),
        ({"of": UserDict}, {}),
        ({"values": torch.bool}, {}),
        ({"values": torch.float32}, {"mask": "attention_mask"}),
        ({"key": "padding_mask"}, {"mask": "padding_mask"}),
        ({"key": "padding_mask"}, {"mask": lambda batch: batch["input_ids"].numpy() != 0}),
        ({"of": Batch}, {"feed": lambda model, batch: model(*batch)}),
    ],
)
def test_masks_by_whatever_name(kind, options):
    model, texts = LanguageModel(0), sentences(60)
    out = capture(model, "norm", batches(texts, **kind), tokens="datapoints", **options)["norm"]
    expected = torch.cat(states(model, texts))
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=1e-4)


def test_torchs_own_masks_are_read_the_other_way_round():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()  # makes nested tensors of padded batches
    lengths = torch.tensor([3, 5, 2, 5] * 8)
    src = torch.randn(32, 5, 8)
    padded = torch.arange(5) >= lengths[:, None]
    batch = {"src": src, "src_key_padding_mask": padded}
    with torch.no_grad():
        alone = [model.layers[0](s[None, :n])[0] for s, n in zip(src, lengths, strict=True)]
        whole = [model(s[None, :n])[0] for s, n in zip(src, lengths, strict=True)]
    out = capture(model, ["layers.0", "layers.1"], [batch], tokens="datapoints")
    torch.testing.assert_close(out["layers.0"], torch.cat(alone), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out["layers.1"], torch.cat(whole), atol=1e-5, rtol=1e-4)
    assert torch.backends.mha.get_fastpath_enabled()
    named = capture(
        model, "layers.0", [batch], tokens="mean", mask=lambda b: ~b["src_key_padding_mask"]
    )["layers.0"]
    torch.testing.assert_close(named, READINGS["mean"](alone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype stage")
def test_nested_tensors_know_their_lengths(layout):
    class Nests(nn.Module):
        def forward(self, x, lengths):
            parts = [row[:n] for row, n in zip(x, lengths.tolist(), strict=True)]
            return torch.nested.nested_tensor(parts, layout=layout)

    x, lengths = torch.randn(6, 4, 3), torch.tensor([4, 1, 3, 2, 4, 1])
    model = nn.ModuleDict({"nests": Nests()})
    feed = lambda model, batch: model["nests"](*batch)  # noqa: E731
    parts = [row[:n] for row, n in zip(x, lengths.tolist(), strict=True)]
    for tokens, read in READINGS.items():
        out = capture(model, "nests", [(x, lengths)], tokens=tokens, feed=feed)["nests"]
        torch.testing.assert_close(out, read(parts))
    whole = capture(model, "nests", [(x, lengths)], feed=feed)["nests"]
    assert whole.shape == (6, 4, 3)
    assert not whole[1, 1:].any()


def test_what_is_at_the_padding_does_not_matter():
    class Broken(nn.Module):
        def __init__(self, fill):
            super().__init__()
            self.inner, self.fill = nn.Identity(), fill

        def forward(self, x, attention_mask):
            return self.inner(x.masked_fill(attention_mask[..., None] == 0, self.fill))

    x, mask = torch.randn(30, 5, 3), torch.arange(5) < torch.randint(1, 6, (30, 1))
    batch = [{"x": x, "attention_mask": mask}]
    for tokens in READINGS:
        good, bad = (
            compare(
                Broken(0.0), Broken(fill), batch, "inner", tokens=tokens, progress=False
            ).matrix[0, 0]
            for fill in (0.0, float("nan"))
        )  # fmt: skip
        assert bad == good == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6).filter(any), min_size=3, max_size=9),
    st.sampled_from(sorted(READINGS)),
)
def test_any_mask_gives_what_the_real_tokens_alone_give(real, tokens):
    mask = torch.tensor(real)
    x = torch.randn(*mask.shape, 3, generator=torch.Generator().manual_seed(0))
    out = capture(
        nn.Sequential(nn.Identity()), "0", [x], tokens=tokens, mask=lambda batch: mask
    )["0"]  # fmt: skip
    torch.testing.assert_close(out, READINGS[tokens]([r[m] for r, m in zip(x, mask, strict=True)]))


def test_layers_without_tokens_are_not_concerned():
    model, texts = LanguageModel(0), sentences(60)
    table = compare(model, model, batches(texts), "pooled", measure="cka", progress=False)
    assert table.matrix[0, 0] == pytest.approx(1)
    assert table.readings["pooled"] == "(n, d): as it is"


class Merging(nn.Module):
    """Halves the number of tokens."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x, attention_mask):
        return self.linear(x.unflatten(1, (-1, 2)).flatten(2))


def test_a_mask_that_does_not_fit_is_an_error_where_tokens_are_padded():
    x, mask = torch.randn(9, 8, 3), torch.ones(9, 8, dtype=torch.long)
    model, options = Merging(), {"tokens": "mean", "measure": "cka", "progress": False}
    assert compare(model, model, [{"x": x, "attention_mask": mask}], **options).n == 9
    mask[2, 5:] = 0
    batch = [{"x": x, "attention_mask": mask}]
    with pytest.raises(ValueError, match=r"'linear' has 4 tokens .* mask of the batch 8 .* 3 of"):
        compare(model, model, batch, **options)
    assert compare(model, model, batch, mask=None, **options).n == 9

    def merged(batch):
        return batch["attention_mask"].unflatten(1, (-1, 2)).any(2)

    assert compare(model, model, batch, mask=merged, **options).n == 9


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ("tokens", ValueError, "mask='tokens' is no key of the batch; it holds 'x', 'attention"),
        (3, TypeError, "mask must be 'auto', a key of the batch, a function or None; got 3"),
        (lambda b: [1], TypeError, r"mask\(batch\) must be a tensor of tokens; got list"),
        (lambda b: torch.ones(9), ValueError, r"\(n, tokens\); got shape \(9,\)"),
        (lambda b: torch.full((9, 8), -1e4), ValueError, "ones for real tokens and zeros for"),
        (lambda b: torch.arange(8) < torch.arange(9)[:, None], ValueError, "datapoint 0 .* no rea"),
        (lambda b: torch.eye(8), ValueError, "has 8 tokens of 9 datapoints, the mask .* 8 of 8"),
    ],
)
def test_what_is_no_mask(mask, error, message):
    batch = {"x": torch.randn(9, 8, 3), "attention_mask": torch.ones(9, 8)}
    model = nn.ModuleDict({"linear": nn.Linear(3, 4)})
    with pytest.raises(error, match=message):
        capture(
            model, "linear", [batch], tokens="mean", mask=mask,
            feed=lambda m, b: m["linear"](b["x"]),
        )  # fmt: skip


@pytest.mark.parametrize("conv", ["mean", "channels", "pixels"])
def test_one_dimensional_convolutions_of_padded_sequences(conv):
    class Convolution(nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.conv = nn.Conv1d(3, 4, 1)

        def forward(self, x, attention_mask):
            return self.conv(x.mT)

    a, b, lengths = Convolution(0), Convolution(1), torch.randint(1, 7, (80,))
    x = torch.randn(80, 6, 3)
    batch = [{"x": x, "attention_mask": torch.arange(6) < lengths[:, None]}]
    if conv == "pixels":
        with pytest.raises(ValueError, match="padded, which conv='pixels' would take for data"):
            compare(a, b, batch, "conv", conv=conv, progress=False)
        return
    real = [row[:n] for row, n in zip(x, lengths.tolist(), strict=True)]
    read = READINGS["mean" if conv == "mean" else "datapoints"]
    with torch.no_grad():
        rows = [read([m.conv(s.mT).mT.double() for s in real]) for m in (a, b)]
    table = compare(a, b, batch, "conv", conv=conv, progress=False)
    assert table.matrix[0, 0] == pytest.approx(svcca(*rows).similarity, abs=1e-6)


def test_gather_takes_the_mask_too():
    model, texts = LanguageModel(0), sentences(60)
    moments = gather(model, model, batches(texts), "norm", tokens="datapoints", progress=False)
    assert moments.n == sum(map(len, texts))
    assert np.isfinite(moments.table("cka").matrix).all()
    assert "real ones only" in moments.table("cka").readings["norm"]


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 4), nn.ModuleDict({"inner": nn.Linear(3, 4)})

    def forward(self, x, tgt):
        return self.encoder(x), self.decoder["inner"](tgt)


def test_a_decoder_has_tokens_of_its_own():
    model, x, tgt = Translator(), torch.randn(8, 5, 3), torch.randn(8, 5, 3)
    first, second = (torch.arange(5) < torch.randint(1, 6, (8, 1)) for _ in range(2))
    batch = {"x": x, "tgt": tgt, "attention_mask": first}  # a model need not take its masks
    layers = ["encoder", "decoder.inner"]
    out = capture(model, layers, [batch], tokens="datapoints")
    assert [len(rows) for rows in out.values()] == [int(first.sum()), 40]
    batch["decoder_attention_mask"] = second
    out = capture(model, layers, [batch], tokens="datapoints")
    assert [len(rows) for rows in out.values()] == [int(first.sum()), int(second.sum())]
    torch.testing.assert_close(out["decoder.inner"], model.decoder["inner"](tgt)[second])


def test_tokens_that_hide_in_a_map_are_not_read_with_their_padding():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(3)

        def forward(self, x):
            return self.norm(x.unflatten(2, (2, 3)))  # (n, tokens, heads, 3)

    x, real = torch.randn(8, 5, 6), torch.arange(5) < torch.randint(1, 5, (8, 1))
    batch = [{"x": x, "attention_mask": real}]
    with pytest.raises(ValueError, match=r"as many places as the batch has tokens, \d+ of them"):
        compare(Heads(), Heads(), batch, "norm", conv="mean", progress=False)
    table = compare(Heads(), Heads(), [batch[0]], "norm", conv="mean", mask=None, progress=False)
    assert table.n == 8
