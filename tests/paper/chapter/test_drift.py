import pytest
from ledgers import claim, single
from scipy import stats

from svcca_lib.paper.chapter.claims import Rule
from svcca_lib.paper.chapter.drift import band, drift


@pytest.mark.parametrize(
    ("stored", "anew", "word"),
    [
        (claim(), claim((0.85, 0.88, 0.9)), None),
        (claim(), claim((0.4, 0.41, 0.42)), "holds at 0.874 and fails"),
        # settled before, not settled now, or the other way round: no contradiction
        (claim(rule=Rule(low=0.87)), claim((0.88, 0.9, 0.9), rule=Rule(low=0.87)), None),
        (claim(), claim((0.5, 0.87, 0.95)), None),
        # both hold, but the number is not the same within what seeds explain
        (claim((0.9, 0.901, 0.902)), claim((0.95, 0.951, 0.952)), "seeds and machines explain"),
        (claim(), claim(rule=Rule(low=0.1)), "rule"),
        (claim(), claim(null=None), "null_name"),
        (single(0.9, kind="check"), single(0.9 + 1e-8, kind="check"), None),
        (single(0.9, kind="check"), single(0.91, kind="check"), None),
        (single(0.9, kind="check"), single(0.7, kind="check"), "holds at 0.9 and fails"),
        (single(0.9), single(0.91), "seeds and machines explain"),
    ],
)
def test_drift_names_what_disagrees(stored, anew, word):
    found = drift(stored, anew)
    assert found is None if word is None else word in found


def test_band_comes_from_seeds_and_machines():
    one, other = claim((0.86, 0.87, 0.892)), claim((0.85, 0.88, 0.9))
    pooled = (stats.tvar(one.values) + stats.tvar(other.values)) / 2
    factor = stats.t.ppf(0.9995, 4)
    assert band(one, other) == pytest.approx(factor * (2 * pooled / 3) ** 0.5, rel=1e-9)
    machines = (one.measured - 0.3, one.measured + 0.5)
    assert band(one, other, machines) == pytest.approx(1.5 * 0.8, rel=1e-9)
