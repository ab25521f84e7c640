"""Texts as tokens: the help topics of Python by character, or two files by word."""

from __future__ import annotations

import platform
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from svcca_lib.paper.data.fingerprint import fingerprint

# The pydoc topics whose prose is the same in Python 3.11, 3.12 and 3.13.
PYDOC_TOPICS = """
    assert atom-literals bitwise bltin-code-objects bltin-ellipsis-object bltin-null-object
    bltin-type-objects booleans break callable-types comparisons context-managers continue
    conversions customization del dynamic-features else exceptions floating global id-classes if
    imaginary import in integers lambda lists numbers numeric-types pass return sequence-types
    slicings typesfunctions typesmodules unary while with yield
"""
PYDOC_FINGERPRINT = "a26b6a8f6f78d7201e4d52b621632157f7f46550d585fa6b24c5b06525951674"
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
    """Take the prose of the help topics that ship with Python, by character, lower case."""
    from pydoc_data.topics import topics

    written = prose(topics[name] for name in PYDOC_TOPICS.split() if name in topics)
    vocabulary = tuple(sorted(set(written)))
    index = {character: i for i, character in enumerate(vocabulary)}
    tokens = torch.tensor([index[character] for character in written])
    found = fingerprint([tokens], vocabulary)
    label = "pydoc topics"
    if found != PYDOC_FINGERPRINT:
        version = platform.python_version()
        label = f"pydoc topics of Python {version}"
        warnings.warn(
            f"the pydoc topics of Python {version} are worded differently from those of the "
            f"published numbers: expect other numbers where this text is used",
            stacklevel=4,  # of `load`
        )
    cut = len(tokens) * 9 // 10
    return TextData("pydoc", label, tokens[:cut], tokens[cut:], vocabulary, found)


def prose(pages: Iterable[str]) -> str:
    """Keep what Python versions agree on: sentences, without markup, code, tables and headings."""
    paragraphs: dict[str, None] = {}  # a set that keeps the order: some pages repeat others
    for paragraph in "\n\n".join(pages).lower().split("\n\n"):
        if paragraph.startswith(" ") or re.search(r"::=|\*\*\*|===", paragraph):
            continue
        plain = re.sub(r"[^a-z.,]+", " ", re.sub(r"[’'\"*`]", "", paragraph)).strip()
        if plain:
            paragraphs[plain] = None
    return "\n".join(paragraphs) + "\n"


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
