"""The relation of ImageNet's classes: the shipped table, and what is made of it."""

from pathlib import Path

import numpy as np
import pytest

from svcca_lib.paper.data import wordnet
from svcca_lib.paper.data.imagenet import imagenet_classes
from svcca_lib.paper.data.wordnet import Hierarchy, Noun

DATABASE = Path("/usr/share/wordnet/data.noun")  # as Debian's package wordnet-base has it


@pytest.fixture(scope="module")
def tree():
    return wordnet.imagenet()


@pytest.fixture(scope="module")
def small():
    """Two dogs below one noun, a cat, a thing that shares the root alone, and a stone."""
    nouns = {
        "entity": Noun("entity", ()),
        "animal": Noun("animal", ("entity",)),
        "dog": Noun("dog", ("animal",)),
        "pet": Noun("pet", ("animal",)),
        "a": Noun("husky", ("dog",)),
        "b": Noun("poodle", ("dog", "pet")),
        "c": Noun("cat", ("pet",)),
        "d": Noun("truck", ("entity",)),
        "e": Noun("stone", ()),
    }
    return Hierarchy(("a", "b", "c", "d", "e"), nouns)


def test_steps_go_up_to_a_common_noun_and_down(small):
    expected = [
        [0, 2, 4, 4, np.inf],
        [2, 0, 2, 4, np.inf],  # by way of the pets
        [4, 2, 0, 4, np.inf],
        [4, 4, 4, 0, np.inf],
        [np.inf] * 4 + [0],
    ]
    np.testing.assert_array_equal(small.distance, expected)


def test_neighbours_are_those_at_the_fewest_steps(small):
    found = {
        name: [small.classes[i] for i in np.flatnonzero(row)]
        for name, row in zip(small.classes, small.neighbours, strict=True)
    }
    assert found == {"a": ["b"], "b": ["a", "c"], "c": ["b"], "d": ["a", "b", "c"], "e": []}


def test_what_is_below_a_noun(small):
    assert small.below("dog").tolist() == [True, True, False, False, False]
    assert small.below("e").tolist() == [False] * 4 + [True]
    with pytest.raises(KeyError, match="no class is a kind of 'bird'"):
        small.below("bird")


def test_a_database_is_read_as_wordnet_writes_it(tmp_path):
    path = tmp_path / "data.noun"
    path.write_text(
        "  1 This software and database is being provided to you\n"
        "00000010 03 n 01 entity 0 001 ~ 00000020 n 0000 | that which is\n"
        "00000020 05 n 0b dog 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 k 0 002 "
        '@ 00000010 n 0000 #m 00000030 n 0000 | a dog; "| it barks"\n'
        "00000030 05 n 02 Eskimo_dog 0 husky 0 002 @ 00000020 n 0000 @i 00000010 n 0000 | a dog\n"
        "00000040 05 n 01 cat 0 000 | no dog\n"
    )
    found = wordnet.hypernyms_in(path, {"n00000030"})
    assert found == {
        "n00000010": Noun("entity", ()),
        "n00000020": Noun("dog", ("n00000010",)),
        "n00000030": Noun("Eskimo dog", ("n00000020", "n00000010")),
    }
    with pytest.raises(KeyError):
        wordnet.hypernyms_in(path, {"n00000050"})


@pytest.mark.skipif(not DATABASE.is_file(), reason="WordNet 3.0 (wordnet-base) is not installed")
def test_the_shipped_table_is_what_wordnet_says(tree, tmp_path):
    nouns = wordnet.hypernyms_in(DATABASE, tree.classes)
    assert nouns == tree.nouns
    wordnet.write(nouns, tree.classes, tmp_path / "imagenet.csv")
    assert (tmp_path / "imagenet.csv").read_bytes() == wordnet.TABLE.read_bytes()


def test_the_classes_are_in_the_order_of_the_logits(tree):
    named = [tree.nouns[wnid].name.lower() for wnid in tree.classes]
    theirs = [name.lower() for name in imagenet_classes()]
    assert len(named) == 1000
    # one differs in its first word, one in its hyphen
    assert sum(a != b for a, b in zip(named, theirs, strict=True)) <= 2


def test_dogs_are_where_they_are_known_to_be(tree):
    assert np.flatnonzero(tree.below(wordnet.DOG)).tolist() == list(range(151, 269))
    assert tree.below(wordnet.ARTEFACT).sum() == 522
    assert not (tree.below(wordnet.ARTEFACT) & tree.below(wordnet.ANIMAL)).any()
    assert np.isfinite(tree.distance).all()
    assert (tree.distance == tree.distance.T).all()


def test_the_licence_lies_beside_the_table():
    text = wordnet.TABLE.with_name("LICENSE").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in text
