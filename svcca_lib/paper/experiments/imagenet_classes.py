"""Which classes of ImageNet stand for what in Figure 6, by the names torchvision has for them."""

from __future__ import annotations

import itertools

import numpy as np

from svcca_lib.paper.data.wordnet import ANIMAL, ARTEFACT, DOG, Hierarchy

UNTRAINED = (0, 1)  # seeds of the random weights that are the null

# The paper's labels "s_terrier" and "w_terrier" do not say which: these begin with the letter.
S_TERRIERS = (
    "soft-coated wheaten terrier",
    "silky terrier",
    "Scotch terrier",
    "Sealyham terrier",
    "Staffordshire bullterrier",
)
W_TERRIERS = ("West Highland white terrier", "wire-haired fox terrier")
# Two pairs of dogs, and the class apart: the paper's fire truck.
FIVE = (S_TERRIERS[0], W_TERRIERS[0], "Siberian husky", "Eskimo dog", "fire engine")


def terriers() -> list[tuple[str, str]]:
    """Return every pair of terriers that the paper's labels may mean."""
    return list(itertools.product(S_TERRIERS, W_TERRIERS))


def kinds(tree: Hierarchy) -> dict[str, np.ndarray]:
    """Return kinds of classes by name: whether each class is one, (classes,), bool."""
    dogs = tree.below(DOG)
    return {
        "man-made things": tree.below(ARTEFACT),
        "dogs": dogs,
        "other animals": tree.below(ANIMAL) & ~dogs,
    }
