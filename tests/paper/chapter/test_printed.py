"""Numbers are told from names, and read as what they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_output

from svcca_lib.paper.chapter.claims import number
from svcca_lib.paper.chapter.outputs import noted
from svcca_lib.paper.chapter.printed import Printed


def stream(text):
    return new_output("stream", name="stdout", text=text)


def addresses(outputs):
    return [found for of in Printed(outputs).numbers.values() for found in of]


def numbers(text):
    return [number.printed for number in addresses([stream(text)])]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("c1, bn_cv3 and p2.", []),
        ("ResNet-32 and figure-4 and figure-2a, 8-bit, 1em, v0.1.2, 0.1.2", []),
        ("ours-0: 16 x 51, from 0.21 to 1, mean 0.5", ["16", "51", "0.21", "1", "0.5"]),
        ("1,348 images of 8 x 8 pixels", ["1,348", "8", "8"]),
        ("4.0e-05 2e-15 <1e-6 < 1e-20", ["4.0e-05", "2e-15", "1e-6", "1e-20"]),
        ("35 % or 35%, (0.08), $R^2$ 0.54.", ["35", "35", "0.08", "2", "0.54"]),
        ("-0.55 (-1 to +0.43) \N{MINUS SIGN}0.2", ["-0.55", "-1", "+0.43", "-0.2"]),
        ("2026-11-27, 3-4, 0.1\N{EN DASH}0.2", ["2026", "11", "27", "3", "4", "0.1", "0.2"]),
        ("[100,200,0.5] [1, 2]", ["100", "200", "0.5", "1", "2"]),
        ("nan, inf, -inf, None", []),
    ],
)
def test_numbers_are_told_from_names(text, found):
    assert numbers(text) == found


@given(st.floats(-1e11, 1e11, allow_nan=False))
def test_what_the_book_prints_is_read_as_that_number(value):
    [found] = addresses([stream(f"measured {number(value)}, needed")])
    if abs(value) >= 1e-6:
        assert found.value == pytest.approx(value, rel=0.005)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_of_full_digits_is_read_exactly(value):
    data, metadata = noted("a", value)
    [found] = addresses([new_output("display_data", data, metadata=metadata)])
    assert found.value == value
    assert found.address == "glue a"
