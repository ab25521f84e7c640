"""Which batches are meant: one loader for both models, or one for each, never one silently lost."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

from svcca_lib import capture, cca, compare, gather
from svcca_lib.models.batches import for_two

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(100, 4, generator=GENERATOR)
U = torch.cat(
    [X[:, :2] @ torch.randn(2, 6, generator=GENERATOR), torch.randn(100, 1, generator=GENERATOR)],
    dim=1,
)


def linear(seed, inputs):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh())


A, B = linear(0, 4), linear(1, 7)


def expected():
    with torch.no_grad():
        return cca(A(X), B(U)).similarity


def score(loader, loader_b, **options):
    table = compare(A, B, loader, "1", measure="cca", progress=False, loader_b=loader_b, **options)
    assert table.n == 100
    return table.matrix[0, 0]


def loader(*tensors, size=25, **options):
    data = tensors[0] if len(tensors) == 1 else TensorDataset(*tensors)
    return DataLoader(data, size, **options)


def dicts(data, key="index", ids=range(100), name="input", size=25):
    ids = list(ids)
    return [{name: data[i : i + size], key: ids[i : i + size]} for i in range(0, len(data), size)]


# --- a loader for each model ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (X, U),
        (X.numpy(), U),
        (loader(X), loader(U)),
        (loader(X, size=33), loader(U, torch.arange(100), size=33)),
        (X, loader(U, size=7)),
        (loader(X, size=7), U.numpy()),
        (X.split(30), (part for part in U.split(30))),
        (loader(X), loader(U, num_workers=0)),
    ],
)
def test_each_model_gets_its_own_batches(a, b):
    assert score(a, b) == pytest.approx(expected(), abs=1e-6)


def test_the_same_model_sees_two_versions_of_the_data():
    noisy = X + torch.randn(100, 4)
    table = compare(A, A, X, "1", measure="cca", loader_b=noisy, progress=False)
    with torch.no_grad():
        right = cca(A(X), A(noisy)).similarity
    assert table.matrix[0, 0] == pytest.approx(right, abs=1e-6)
    assert right < 0.99


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=8).filter(lambda s: sum(s) > 12))
def test_a_tensor_is_cut_as_the_other_loader_comes(sizes):
    n = sum(sizes)
    x, u = torch.randn(n, 4), torch.randn(n, 7)
    whole = gather(A, B, x, "1", loader_b=u, progress=False).table("cka").matrix
    for first, second in ((x.split(sizes), u), (x, u.split(sizes))):
        cut = gather(A, B, first, "1", loader_b=second, progress=False)
        assert cut.n == n
        np.testing.assert_allclose(cut.table("cka").matrix, whole, atol=1e-6)


def test_feed_runs_the_batches_of_both():
    pairs = [[{"image": part} for part in data.split(25)] for data in (X, U)]
    found = score(*pairs, feed=lambda model, batch: model(batch["image"]))
    assert found == pytest.approx(expected(), abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (X, U[:90], "loader has 100 rows and loader_b 90"),
        (loader(X), loader(U, size=30), "batch 1 has 25 rows in loader and 30 in loader_b"),
        (loader(X), loader(U[:80]), "batch 4 has 25 rows in loader and 5 in loader_b, after 75"),
        (loader(X), loader(U[:75]), r"loader_b ended after 3 batches \(75 rows\), where loader g"),
        (loader(X[:50]), loader(U), r"loader ended after 2 batches \(50 rows\), where loader_b g"),
        (loader(X), U[:75], r"loader_b ended after 3 batches \(75 rows\), where loader goes on"),
        (X[:75], loader(U), r"loader ended after 3 batches \(75 rows\), where loader_b goes on"),
        ([], [], "loader and loader_b hold no batch"),
        ([], loader(U), "loader ended after 0 batches, where loader_b goes on"),
    ],
)
def test_rows_that_do_not_belong_together(a, b, message):
    with pytest.raises(ValueError, match=message):
        score(a, b)


def test_one_iterator_cannot_be_both():
    both = iter(X.split(10))
    with pytest.raises(ValueError, match="one iterator, which cannot be read twice"):
        compare(A, A, both, loader_b=both, progress=False)

    class Persistent:
        """Gives one iterator whoever asks, as a DataLoader with persistent workers."""

        batches = iter(X.split(10))

        def __iter__(self):
            return self.batches

    loader = Persistent()
    with pytest.raises(ValueError, match="one iterator, which cannot be read twice"):
        compare(A, A, loader, loader_b=loader, progress=False)


def test_what_is_no_loader_is_named():
    pd = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"batches .* got TensorDataset; put it into a DataLoader"):
        capture(A, "0", TensorDataset(X))
    with pytest.raises(TypeError, match=r"batches .* got DataFrame; give its \.to_numpy\(\)"):
        compare(A, B, pd.DataFrame(X.numpy()))
    with pytest.raises(TypeError, match="loader_b must be a tensor or an iterable of batches; got"):
        score(X, {"x": U})


# --- two loaders that would be one ---------------------------------------------------------------


def test_a_tuple_of_two_inputs():
    x, u = torch.randn(100, 4), torch.randn(100, 4)
    for given_as in ((x, u), (x.numpy(), u), x.split(50)):
        with pytest.raises(
            ValueError, match=r"tuple of two arrays of \d+ rows.*loader_b=.* a list"
        ):
            compare(A, A, given_as, progress=False)
    table = compare(A, A, list(x.split(50)), measure="cka", progress=False)
    assert table.n == 100


def test_a_tuple_of_two_loaders():
    with pytest.raises(TypeError, match=r"must be one DataLoader; got a tuple of them .*loader_b="):
        compare(A, B, (loader(X), loader(U)), progress=False)


@pytest.mark.parametrize(
    "zipped",
    [
        lambda: zip(loader(X), loader(X + 1), strict=True),
        lambda: zip(loader(X), loader(U), strict=True),
        lambda: zip(loader(X, torch.arange(100)), loader(U, torch.arange(100)), strict=True),
        lambda: zip(dicts(X), dicts(U), strict=True),
        lambda: list(zip(loader(X), loader(X + 1), strict=True)),
        lambda: loader(X, X + 1),
        lambda: [(X.numpy(), X.numpy() + 1)],
    ],
)
def test_pairs_of_inputs(zipped):
    with pytest.raises(ValueError, match=r"holds two inputs, .*loader_b=, or say by feed=lambda"):
        compare(A, A, zipped(), measure="cka", progress=False)


def test_inputs_and_labels_are_no_two_inputs():
    labels = torch.randint(0, 3, (100,))
    right = compare(A, A, X, measure="cka", progress=False).matrix
    for batches in (
        loader(X, labels),
        zip(loader(X), loader(labels), strict=True),
        loader(X, U),  # a target of another width
        loader(X, X),  # what an autoencoder is trained on
        loader(X, nn.functional.one_hot(labels, 4)),
    ):
        found = compare(A, A, batches, measure="cka", progress=False).matrix
        np.testing.assert_allclose(found, right, atol=1e-6)
    targets = [{"boxes": torch.rand(2, 4)} for _ in range(50)]
    detection = [(list(part), targets) for part in X.split(50)]
    assert len(list(for_two(detection))) == 2
    first = compare(
        A, A, loader(X, X + 1), measure="cka", progress=False,
        feed=lambda model, batch: model(batch[0]),
    )  # fmt: skip
    np.testing.assert_allclose(first.matrix, right, atol=1e-6)


def test_the_parts_of_one_batch_are_no_batches():
    with pytest.raises(ValueError, match="arrays of 1 and 2 dimensions, which are parts of one ba"):
        capture(A, "0", (X, torch.arange(100)))
    assert capture(A, "0", [(X, torch.arange(100))])["0"].shape == (100, 5)


# --- ids -----------------------------------------------------------------------------------------

ORDER = torch.randperm(100, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("key", ["id", "ids", "index", "idx", "sample_id", "uid"])
@pytest.mark.parametrize("kind", [list, torch.tensor, np.array, lambda ids: [str(i) for i in ids]])
def test_ids_of_dicts_are_compared_and_kept_from_the_model(key, kind):
    a, b = ([{**batch, key: kind(batch[key])} for batch in dicts(data, key)] for data in (X, U))
    assert score(a, b) == pytest.approx(expected(), abs=1e-6)
    shuffled = [{**batch, key: kind(batch[key])} for batch in dicts(U[ORDER], key, ORDER.tolist())]
    with pytest.raises(ValueError, match=rf"row 0 of batch 1 is datapoint '?0'? .* '?{ORDER[0]}'?"):
        score(a, shuffled)


def test_ids_that_differ_late_are_found():
    ids = [*range(98), 99, 98]
    with pytest.raises(ValueError, match="row 23 of batch 4 is datapoint 98 in loader and 99 in"):
        score(dicts(X), dicts(U, ids=ids))


def test_unpaired_rows_would_have_been_a_wrong_number():
    wrong = score(dicts(X), dicts(U[ORDER], ids=ORDER.tolist()), ids=None, feed=by_input)
    assert wrong < expected() - 0.15


def by_input(model, batch):
    return model(batch["input"])


def test_ids_by_key_by_place_or_by_a_function():
    ids = torch.arange(100)
    swapped = ids.flip(0)
    for of in (2, lambda batch: batch[2]):
        a = loader(X, torch.zeros(100), ids)
        assert score(a, loader(U, torch.zeros(100), ids), ids=of) == pytest.approx(
            expected(), abs=1e-6
        )
        with pytest.raises(ValueError, match="is datapoint 0 in loader and 99 in loader_b"):
            score(a, loader(U, torch.zeros(100), swapped), ids=of)
    assert score(dicts(X, "name"), dicts(U, "name"), ids="name") == pytest.approx(
        expected(), abs=1e-6
    )
    with pytest.raises(ValueError, match="row 0 of batch 1"):
        score(dicts(X, "name"), dicts(U, "name", range(1, 101)), ids="name")


def test_ids_that_are_not_there():
    with pytest.raises(ValueError, match=r"ids='name': batch 1 of loader_b has none \(KeyError"):
        score(dicts(X, "name"), dicts(U), ids="name")
    with pytest.raises(ValueError, match=r"ids says .* give loader_b as well"):
        compare(A, A, X, ids="name", progress=False)
    with pytest.raises(ValueError, match="batch 1 of loader_b must be one for each of 25 rows"):
        score(loader(X), loader(U), ids=lambda batch: range(25 - (batch.shape[1] == 7)))
    with pytest.raises(ValueError, match=r"must be one for each of 25 rows; got shape \(25, 4\)"):
        score(loader(X), loader(U), ids=lambda batch: batch)
    with pytest.raises(ValueError, match="batch 1 has 4 ids in loader and 7 in loader_b"):
        score(loader(X), loader(U), ids=lambda b: range(b.shape[1]), feed=lambda m, b: m(b))


class TakesIndex(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 5)

    def forward(self, input, index):
        return self.linear(input) * index[:, None]


class TakesAll(TakesIndex):
    def forward(self, **batch):
        return super().forward(**batch)


@pytest.mark.parametrize("kind", [TakesIndex, TakesAll])
def test_a_model_that_takes_ids_gets_them(kind):
    model, ids = kind(), torch.arange(100)
    out = capture(model, "", [{"input": X, "index": ids}])[""]
    torch.testing.assert_close(out, model(input=X, index=ids))


def test_inputs_called_ids_are_no_ids():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(9, 5)

        def forward(self, ids):
            return self.emb(ids).mean(1)

    a, b = Text(), Text()
    words = [torch.randint(0, 9, (100, 6)) for _ in range(2)]
    batches = [[{"ids": part} for part in w.split(20)] for w in words]
    table = compare(a, b, batches[0], "", measure="cca", loader_b=batches[1], progress=False)
    with torch.no_grad():
        right = cca(a(words[0]), b(words[1])).similarity
    assert table.matrix[0, 0] == pytest.approx(right, abs=1e-6)


# --- shuffling -----------------------------------------------------------------------------------


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_loaders_that_shuffle_by_equal_generators_belong_together():
    a = loader(X, shuffle=True, generator=seeded(3))
    b = loader(U, shuffle=True, generator=seeded(3))
    assert score(a, b) == pytest.approx(expected(), abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "which"),
    [
        ({"shuffle": True}, {"shuffle": True}, "loader and loader_b would shuffle"),
        ({"shuffle": True}, {}, "loader would shuffle"),
        ({}, {"sampler": RandomSampler(U)}, "loader_b would shuffle"),
        (
            {"shuffle": True, "generator": seeded(0)},
            {"shuffle": True, "generator": seeded(1)},
            "loader and loader_b would shuffle, .* a generator of the same seed for each",
        ),
    ],
)
def test_loaders_that_shuffle_each_in_its_order(a, b, which):
    with pytest.raises(ValueError, match=which):
        score(loader(X, **a), loader(U, **b))


def test_one_shuffling_loader_for_both_sides_or_one_generator():
    one = loader(X, shuffle=True, generator=seeded(0))
    with pytest.raises(ValueError, match="would shuffle"):
        compare(A, A, one, loader_b=one, progress=False)
    shared = seeded(0)
    with pytest.raises(ValueError, match="would shuffle"):
        score(*(loader(data, shuffle=True, generator=shared) for data in (X, U)))


def test_streams_of_unknown_length():
    class Stream(IterableDataset):
        def __init__(self, data):
            self.data = data

        def __iter__(self):
            yield from self.data

    assert score(loader(Stream(X)), loader(Stream(U))) == pytest.approx(expected(), abs=1e-6)
    with pytest.raises(ValueError, match=re.escape("batch 4 has 25 rows in loader and 15 in")):
        score(loader(Stream(X)), loader(Stream(U[:90])))


def test_the_progress_bar_counts_pairs(capsys):
    compare(A, B, loader(X), "1", measure="cka", loader_b=loader(U))
    assert "4/4" in capsys.readouterr().err
