from ledgers import claim, single
from scipy import stats

from svcca_lib.paper.chapter.claims import Verdict
from svcca_lib.paper.chapter.scores import score, stand_together


def test_many_claims_at_once_stand_by_their_false_discovery_rate():
    clear = [claim((0.9, 0.901, 0.902), None) for _ in range(3)]
    barely = [claim((0.86, 0.87, 0.90), None) for _ in range(3)]
    checks = [single(0.9, kind="check") for _ in range(5)]
    assert {c.verdict for c in (*clear, *barely)} == {Verdict.HOLDS}
    openly = [single() for _ in range(4)]
    standing = stand_together([*clear, *barely, *checks, *openly])
    expected = stats.false_discovery_control([c.p for c in (*clear, *barely)]) <= 0.05
    assert len(standing) == expected.sum()
    assert not any(c.kind == "check" for c in standing)


def test_kinds_are_scored_apart():
    claims = [claim(kind=kind) for kind in ("ours", "later", "paper")]
    assert score(claims) == (
        "1 statement of the paper: 1 holds; 1 statement of later papers: 1 holds; "
        "1 statement of our own: 1 holds"
    )
