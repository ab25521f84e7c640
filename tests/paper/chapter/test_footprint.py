"""What a run of the book took: from what was recorded, by what is assumed."""

from dataclasses import replace

import pytest
from ledgers import two_chapters

from svcca_lib.paper.chapter import footprint
from svcca_lib.paper.chapter.footprint import Footprint


@pytest.fixture
def book():
    """Three networks of 30 s, and chapters of 75 s, the second on a GPU; two threads each."""
    return two_chapters()


def test_an_hour_of_a_core_is_energy_gas_and_money():
    hour = Footprint(1.0)
    assert hour.kilowatt_hours == pytest.approx(0.012 * 1.6)
    assert hour.grams == pytest.approx(0.012 * 1.6 * 450)
    assert hour.dollars == pytest.approx(0.05)


def test_networks_count_once_and_threads_count(book):
    assert footprint.trainings(book).core_hours == pytest.approx(3 * 30 * 2 / 3600)


def test_what_ran_on_a_gpu_is_left_out_and_named(book):
    assert footprint.chapters(book).core_hours == pytest.approx(75 * 2 / 3600)
    assert footprint.left_out(book) == ["a GPU"]
    assert footprint.footprint(book).rows[-1][0] == "Both, without a GPU"


def test_the_table_adds_up(book):
    [trained, ran, both] = footprint.footprint(book).rows
    assert [row[0] for row in (trained, ran)] == ["Trainings", "Chapters"]
    assert float(both[1]) == pytest.approx(float(trained[1]) + float(ran[1]), rel=0.1)


def test_a_book_on_processors_leaves_nothing_out(book):
    made = {
        name: replace(
            of,
            making=replace(
                of.provenance, environment=of.provenance.environment | {"device": "AMD EPYC"}
            ),
        )
        for name, of in book.chapters.items()
    }
    assert footprint.left_out(replace(book, chapters=made)) == []


@pytest.mark.parametrize("name", ["NVIDIA H200", "Tesla T4", "AMD Instinct MI300X", "a GPU"])
def test_names_of_gpus_are_known(name):
    assert footprint._GPU.search(name)


def test_assumptions_are_said_with_their_numbers():
    said = footprint.assumptions()
    for number in (footprint.WATTS, footprint.OVERHEAD, footprint.GRAMS, footprint.DOLLARS):
        assert f"{number:g} " in said
