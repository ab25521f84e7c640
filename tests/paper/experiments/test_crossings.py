import numpy as np
import pytest

from svcca_lib.paper.experiments.crossings import Needed, enough, settling_times, times_as_many


def test_settling_time_is_the_last_crossing():
    fractions = (0.0, 0.2, 0.4, 1.0)
    own = np.array([[0.9, 0.6, 0.0], [0.9, 0.9, 0.9], [0.9, 0.7, 1.0], [1.0, 1.0, 1.0]])
    # never below; below again at 0.4, then a third of the way from 0.7 to 1; 8/9 from 0 to 0.9
    expected = [0.0, 0.4 + 0.6 / 3, 0.2 * 8 / 9]
    np.testing.assert_allclose(settling_times(fractions, own, 0.8), expected)


def test_a_layer_that_never_settles_is_an_error():
    with pytest.raises(ValueError, match=r"end at 0\.8 or above"):
        settling_times((0.0, 1.0), np.array([[0.1], [0.7]]))


def test_enough_is_where_the_curve_first_reaches_or_its_end():
    counts = np.array([1, 5, 9])
    assert enough(counts, [0.2, 0.9, 0.8], 0.9) == Needed(5)
    assert enough(counts, [0.2, 1.0, 0.1], 0.6).count == pytest.approx(3)
    assert enough(counts, [0.9, 0.1, 1.0], 0.8) == Needed(1)


def test_what_is_never_reached_is_said_and_bounds_the_ratio_from_below():
    never = enough(np.array([1, 5, 9]), [0.2, 0.3, 0.4], 0.8)
    assert never == Needed(9, reached=False)
    assert str(never) == "not reached by 9"
    assert str(Needed(2.345)) == "2.3"
    three = Needed(3)
    assert times_as_many(never, three, 20) == 3
    assert times_as_many(three, three, 20) == 1
    # Too few directions are not taken for few: all 20 neurons are as good as 20 directions.
    assert times_as_many(never, never, 20) == 9 / 20
