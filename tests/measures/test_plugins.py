"""Measures of others: the conformance test, seen to fail where it must, and plugins."""

import math
import re
import warnings
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from typing import Literal

import numpy as np
import pytest

from svcca_lib import MEASURES, Measure, Similarity, cka, pairwise, permutation_test, register
from svcca_lib.inputs import rows_of
from svcca_lib.layer import centre
from svcca_lib.measures import registry
from svcca_lib.measures.measure import CentredRows
from svcca_lib.measures.registry import GROUP, Registry
from svcca_lib.measures.similarity import Expected
from svcca_lib.testing import check_measure

OPTIONS = [
    {"cka": {"debiased": True}},
    {"cka": {"kernel": "rbf"}},
    {"svcca": {"mean_over": "weighted", "energy": "singular_values"}},
    {"pwcca": {"side": "y"}},
    {"mutual_knn": {"k": 3, "metric": "euclidean"}},
    {"cknna": {"metric": "euclidean"}},
    {"rsa": {"distance": "euclidean", "by": "pearson"}},
]
EVERY = [{name: {}} for name in sorted(MEASURES)] + OPTIONS


def maps(rng):
    x = rng.normal(size=(120, 3, 4, 4))
    return x, x[:, :2] + rng.normal(size=(120, 2, 4, 4))


@pytest.mark.parametrize("options", EVERY, ids=str)
def test_every_measure_conforms(options):
    ((name, chosen),) = options.items()
    check_measure(MEASURES[name](**chosen), maps if name == "dft_cca" else None)


# --- a sound measure, and one for each way to be wrong -----------------------------------------


@dataclass(frozen=True, kw_only=True)
class MeanNeuron(Measure[Similarity]):
    """Absolute correlation of the mean neurons."""

    scale: float = 1.0

    name = "mean_neuron"
    symmetric = True
    invariant_to = frozenset({"permutation", "isotropic", "translation"})

    def prepare(self, x, name):
        if isinstance(x, CentredRows):
            return x
        mean = centre(rows_of(x, name).values.detach())[0].mean(1, keepdim=True)
        if not mean.abs().max() > 0:
            raise ValueError(f"{name} has a mean neuron that is constant")
        return CentredRows(mean / mean.norm())

    def compare(self, a, b, cross=None):
        value = abs(float((a.rows * b.rows).sum()))
        chance = Expected(math.sqrt(2 / math.pi / a.n))
        return Similarity(self.name, min(1.0, value), a.n, independent=chance)


def wrong(**changes):
    """The sound measure with some attributes of its class exchanged."""
    plain = type("Wrong", (MeanNeuron,), {"__module__": __name__, **changes})
    return dataclass(frozen=True, kw_only=True)(plain)


class Pinned(CentredRows):
    def reordered(self, order):
        return self


class Anonymous(CentredRows):
    sample = None


def shifted(by):
    def compare(self, a, b, cross=None):
        r = MeanNeuron.compare(self, a, b)
        return replace(r, similarity=by(r.similarity, a, b))

    return compare


def prepared_as(kind):
    def prepare(self, x, name):
        return kind(MeanNeuron.prepare(self, x, name).rows)

    return prepare


def careless(self, x, name):
    known = np.nan_to_num(x) if isinstance(x, np.ndarray) else x
    return MeanNeuron.prepare(self, known, name)


def greedy(self, x, name):
    if isinstance(x, np.ndarray):
        x += 1.0
    return MeanNeuron.prepare(self, x, name)


def unpicklable(self, a, b, cross=None):
    r = MeanNeuron.compare(self, a, b)
    return replace(r, independent=lambda: r.chance)


def elsewhere(self, a, b, cross=None):
    return replace(MeanNeuron.compare(self, a, b), measure="cka")


DEFECTS = [
    ({"invariant_to": frozenset({"scaling"})}, "invariant_to knows"),
    ({"lowest": 0.5}, "lowest must be from -1 to 0; got 0.5"),
    ({"compare": elsewhere}, "the result is named 'cka'"),
    ({"compare": lambda self, a, b, cross=None: 1.0}, "must give a Similarity; got float"),
    ({"compare": shifted(lambda s, a, b: 0.9 * s)}, "a layer against itself: expected 1.0"),
    ({"compare": shifted(lambda s, a, b: 1.5 * s - 0.5)}, "must be from 0.0 to 1; got -"),
    (
        {"compare": shifted(lambda s, a, b: s ** (1 + float(a.rows[0, 0] < b.rows[0, 0])))},
        "declared symmetric",
    ),
    ({"invariant_to": frozenset({"orthogonal"})}, "declared invariant to orthogonal maps"),
    ({"invariant_to": frozenset({"reflection"})}, "declared invariant to reflection maps"),
    ({"prepare": prepared_as(Pinned)}, "reordered(order): expected"),
    ({"prepare": prepared_as(Anonymous)}, "sample of a prepared layer must be a tensor"),
    (
        {
            "compare": lambda self, a, b, cross=None: replace(
                MeanNeuron.compare(self, a, b), independent=Expected(0.5)
            )
        },
        "chance, against shuffled datapoints: expected 0.5",
    ),
    ({"prepare": greedy}, "must leave the layers as they are"),
    ({"compare": unpicklable}, "its results must pickle and copy"),
    (
        {
            "__post_init__": lambda self: None,
            "mode": "a",
            "__annotations__": {"mode": Literal["a"]},
        },
        "mode='no such' must be refused",
    ),
    ({"prepare": careless}, "a layer with a NaN must be refused"),
]


def test_a_sound_measure_conforms_with_options_too():
    check_measure(MeanNeuron)
    check_measure(MeanNeuron(scale=2.0))


@pytest.mark.parametrize(("changes", "message"), DEFECTS, ids=[m for _, m in DEFECTS])
def test_the_conformance_test_sees_each_defect(changes, message):
    kind = wrong(**changes)
    globals()["Wrong"] = kind  # where pickle looks for it
    with pytest.raises(AssertionError, match=re.escape(message)) as caught:
        check_measure(kind)
    assert str(caught.value).startswith("mean_neuron: ")


@pytest.mark.parametrize("thing", [cka, "cka", Similarity, Measure, type("Half", (Measure,), {})])
def test_what_is_no_measure_is_refused(thing):
    with pytest.raises(TypeError):
        check_measure(thing)
    with pytest.raises(TypeError):
        register(thing)


# --- registered, and of plugins ----------------------------------------------------------------


@pytest.fixture
def registered():
    yield register(MeanNeuron)
    MEASURES.remove("mean_neuron")


def test_a_registered_measure_works_wherever_measures_do(registered):
    x, y = np.random.default_rng(0).normal(size=(2, 60, 4))
    assert MEASURES["mean_neuron"] is registered
    matrix = pairwise([x, y], measure="mean_neuron", scale=3.0)
    assert matrix[0, 0] == pytest.approx(1)
    assert matrix[0, 1] == registered().between(x, y).similarity
    assert permutation_test(x, y, "mean_neuron", n_permutations=19).p_value > 0.01
    assert register(registered) is registered, (
        "once more, as when a cell of a notebook is run again"
    )
    with pytest.raises(TypeError, match="mean_neuron takes the options scale; got 'k'"):
        pairwise([x], measure="mean_neuron", k=1)


def test_no_measure_takes_the_name_of_another(registered):
    with pytest.raises(ValueError, match="there is a measure named 'cka' already"):
        register(wrong(name="cka"))
    with pytest.raises(ValueError, match="there is a measure named 'mean_neuron' already"):
        register(wrong())
    with pytest.raises(KeyError, match="measure of the library itself"):
        MEASURES.remove("cka")


def plugins(monkeypatch, *found):
    loaded = []

    class Plugin(EntryPoint):
        def load(self):
            loaded.append(self.name)
            return super().load()

    entries = [Plugin(name, f"{__name__}:{value}", GROUP) for name, value in found]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    return Registry(MEASURES["cca"], MEASURES["cka"]), loaded


def test_plugins_are_loaded_when_asked_for(monkeypatch):
    measures, loaded = plugins(monkeypatch, ("mean_neuron", "MeanNeuron"))
    assert measures["cka"] is MEASURES["cka"]
    assert loaded == []
    assert measures["mean_neuron"] is MeanNeuron
    assert measures["mean_neuron"] is MeanNeuron
    assert loaded == ["mean_neuron"]
    assert list(measures) == ["cca", "cka", "mean_neuron"]
    assert "nothing" not in measures


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("broken", "Nothing", "AttributeError: .*has no attribute 'Nothing'"),
        ("number", "GROUP", "TypeError: a measure is a subclass of svcca_lib.Measure"),
        ("other", "MeanNeuron", "ValueError: its measure is named 'mean_neuron'"),
        ("cka", "OwnCKA", "ValueError: there is a measure named 'cka' already"),
    ],
)
def test_a_broken_plugin_gives_one_sentence_and_hurts_no_other(monkeypatch, name, value, message):
    monkeypatch.setitem(globals(), "OwnCKA", wrong(name="cka"))
    measures, _ = plugins(monkeypatch, (name, value), ("mean_neuron", "MeanNeuron"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measures["cca"] is MEASURES["cca"]
        assert measures["mean_neuron"] is MeanNeuron
    with pytest.warns(
        UserWarning, match=f"^the measure '{name}' of .* is left out: {message}"
    ) as w:
        assert list(measures) == ["cca", "cka", "mean_neuron"]
    assert len(w) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(measures) == 3
        assert measures["cka"] is MEASURES["cka"]
