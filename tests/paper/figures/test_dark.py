"""Drawings for dark pages: readable, and saying the same by colour."""

import colorsys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure

from svcca_lib.paper.chapter.drawings import svg
from svcca_lib.paper.figures.dark import GROUND, ON_BRIGHT, ON_DEEP, contrast, darkened, on_dark
from svcca_lib.paper.figures.palette import COLOURS, GREY, INK


def channels(colour):
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def test_contrast_has_the_values_that_wcag_gives():
    assert contrast([0, 0, 0], [1, 1, 1]) == pytest.approx(21)
    assert contrast(channels("#767676"), [1, 1, 1]) == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("colour", [*COLOURS, INK, GREY, "#440154"])
def test_every_colour_of_text_and_lines_can_be_read_on_a_dark_page(colour):
    assert contrast(channels(on_dark(colour.lower())), [GROUND] * 3) >= 4.5


@pytest.mark.parametrize("colour", COLOURS)
def test_a_colour_keeps_its_hue(colour):
    before, after = (colorsys.rgb_to_hsv(*channels(c))[0] for c in (colour, on_dark(colour)))
    assert after == pytest.approx(before, abs=0.01)


def test_colours_stay_different_from_each_other():
    found = [np.array(channels(on_dark(colour.lower()))) for colour in COLOURS]
    apart = [np.abs(a - b).max() for i, a in enumerate(found) for b in found[:i]]
    assert min(apart) > 0.1


def test_greys_are_turned_around():
    greys = [on_dark("#" + 3 * f"{level:02x}") for level in (0, 100, 200, 255)]
    assert greys == sorted(greys, reverse=True)
    assert greys[-1] == "#121212"


def test_what_stands_on_the_cells_of_a_heat_map_stays():
    assert [on_dark(ink) for ink in (ON_BRIGHT, ON_DEEP)] == [ON_BRIGHT, ON_DEEP]


def test_a_drawing_changes_in_its_colours_alone():
    figure = Figure(facecolor="white")
    ax = figure.subplots()
    ax.plot([0, 1], [0, 1], color="black")
    ax.imshow(np.eye(3), cmap="viridis")
    light = svg(figure, "x", "title")
    dark = darkened(light)
    assert "#ffffff" in light
    assert "#ffffff" not in dark
    shapes = [
        [(e.tag, e.get("d"), e.get("href")) for e in ET.fromstring(t).iter()] for t in (light, dark)
    ]
    assert shapes[0] == shapes[1]
