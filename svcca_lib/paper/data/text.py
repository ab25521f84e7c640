"""Texts as tokens: the help topics of Python by character, or two files by word."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from svcca_lib.paper.data.fingerprint import fingerprint

END_OF_LINE, UNKNOWN = "<eos>", "<unk>"


@dataclass(frozen=True, eq=False)
class TextData:
    """A text as int64 tokens (n,), split into train and test, and its vocabulary."""

    kind: ClassVar[Literal["text"]] = "text"
    name: str
    label: str
    train_tokens: Tensor
    test_tokens: Tensor
    vocabulary: tuple[str, ...]
    fingerprint: str

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of what a network takes."""
        return (len(self.vocabulary),)

    @property
    def outputs(self) -> int:
        """How many logits a network gives: one for each of the vocabulary."""
        return len(self.vocabulary)


def pydoc() -> TextData:
    """Take prose of Python's help topics, by character, lower case; it lies beside this module.

    Python words its topics anew from version to version, and the numbers are those of one wording.
    """
    written = resources.files(__package__).joinpath("pydoc.txt").read_text(encoding="utf-8")
    vocabulary = tuple(sorted(set(written)))
    index = {character: i for i, character in enumerate(vocabulary)}
    tokens = torch.tensor([index[character] for character in written])
    found = fingerprint([tokens], vocabulary)
    cut = len(tokens) * 9 // 10
    return TextData("pydoc", "pydoc topics", tokens[:cut], tokens[cut:], vocabulary, found)


def words(train: Path, test: Path) -> TextData:
    """Read two files word by word, with the vocabulary of the first.

    Each line ends in <eos>, and a word of the second that the first lacks is <unk>.
    """
    parts = []
    for file in (train, test):
        if not file.is_file():
            raise FileNotFoundError(f"there is no file {file}")
        lines = map(str.split, file.read_text(encoding="utf-8").splitlines())
        parts.append([word for line in lines if line for word in (*line, END_OF_LINE)])
        if not parts[-1]:
            raise ValueError(f"{file} has no words")
    # most frequent first, ties in alphabetical order
    counts = Counter(parts[0])
    counts.setdefault(UNKNOWN, 0)
    vocabulary = tuple(sorted(counts, key=lambda word: (-counts[word], word)))
    index = {word: i for i, word in enumerate(vocabulary)}
    tokens = [torch.tensor([index.get(word, index[UNKNOWN]) for word in part]) for part in parts]
    found = fingerprint(tokens, vocabulary)
    return TextData(train.stem, train.stem, tokens[0], tokens[1], vocabulary, found)
