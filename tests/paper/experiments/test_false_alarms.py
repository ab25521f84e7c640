"""How often tests alarm: the questions have no for an answer, and the table is that of the code."""

import scipy.stats

from svcca_lib.paper.experiments.false_alarms import LEVEL, QUESTIONS, rates, stored

# What is often done in place of a test, and alarms far too often.
MISTAKES = {"pixels shuffled", "each cell by itself"}


def test_tests_keep_their_level_and_what_is_done_in_their_place_does_not():
    for rate in stored():
        often = scipy.stats.binom.sf(rate.alarms * rate.draws - 1, rate.draws, LEVEL)
        assert (often < 1e-9) == (rate.way in MISTAKES), rate


def test_the_table_is_of_all_questions_and_ways():
    few = rates(1)
    assert [(r.question, r.way) for r in stored()] == [(r.question, r.way) for r in few]
    assert {r.question for r in few} == set(QUESTIONS)
    assert {r.draws for r in stored()} == {400}
