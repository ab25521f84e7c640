"""The provenance of a chapter's results: the networks behind each figure, data, environment.

Each figure's caption names the artefact it was drawn from: a short hash of the keys of the networks
behind it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svcca_lib.paper.training.trained import TrainedNetwork

# Every figure of the paper, in its order and words.
PAPER_FIGURES = (
    *("Figure 1", "Figure 2a", "Figure 2b", "Figure 3", "Figure 4"),
    *("Figure 5", "Figure 6", "Figure 7"),
    *(f"Appendix Figure {number}" for number in range(1, 7)),
)
ELSEWHERE = "elsewhere"  # where a network was trained whose weights only were brought
SHORT = 12  # hexadecimal digits of a hash that are shown
_OF_THE_PAPER = re.compile(r"(appendix-)?figure-(\d+[ab]?)(-.*)?")


@dataclass(frozen=True)
class UsedNetwork:
    """A network that a chapter used."""

    training: str  # such as "convnet"
    seed: int
    key: str  # of the artefact in the store
    data: str  # the fingerprint of what it was trained on
    seconds: float  # how long that took
    device: str  # what it ran on
    commit: str | None  # of the code; None outside git

    @classmethod
    def of(cls, training: str, network: TrainedNetwork) -> UsedNetwork:
        """Return what is kept of a network."""
        from svcca_lib.paper.store.identity import key_of

        made = network.provenance
        return cls(
            training=training,
            seed=network.config.seed,
            key=key_of(made),
            data=network.config.data,
            seconds=made["wall_seconds"],
            device=made["device"],
            commit=made["commit"],
        )

    @classmethod
    def elsewhere(cls, training: str, key: str, data: str) -> UsedNetwork:
        """Return what is known of a network whose weights came from elsewhere.

        `key` is a hash of its weights, `data` the fingerprint of what it is shown.
        """
        return cls(training, 0, key, data, seconds=0.0, device=ELSEWHERE, commit=None)


@dataclass(frozen=True)
class ShownFigure:
    """A figure that a chapter showed."""

    name: str  # such as "figure-2a": its target in the book and the name of its files
    networks: tuple[str, ...] = ()  # keys of those that the chapter had loaded when it drew it

    @property
    def artefact(self) -> str:
        """Short hash of the networks behind the figure; empty where there are none."""
        return artefact(self.networks)

    @property
    def of_the_paper(self) -> str | None:
        """The figure of the paper that this one rebuilds, or adds to.

        >>> ShownFigure("appendix-figure-3-convnet").of_the_paper
        'Appendix Figure 3'
        >>> ShownFigure("figure-perplexity").of_the_paper is None
        True
        """
        if not (match := _OF_THE_PAPER.fullmatch(self.name)):
            return None
        appendix, number, _ = match.groups()
        return f"{'Appendix ' if appendix else ''}Figure {number}"


def artefact(keys: Sequence[str]) -> str:
    """Return one short hash for several keys; their order does not matter."""
    if not keys:
        return ""
    return hashlib.sha256("\n".join(sorted(set(keys))).encode()).hexdigest()[:SHORT]


def short_commit(commit: str | None) -> str:
    """Return what names a commit, with a mark if the code had been edited since.

    >>> short_commit("28cfd4d0123456789"), short_commit("28cfd4d0123456789-dirty"), short_commit("")
    ('28cfd4d', '28cfd4d+', '')
    """
    digits, _, edited = (commit or "").partition("-")
    return digits[:7] + ("+" if edited else "")


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    >>> duration(7.31), duration(75), duration(7500)
    ('7.3 s', '1 min 15 s', '2 h 05 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass(frozen=True)
class Making:
    """How a chapter came about."""

    # from its first cell to its claims, with the trainings that were not in the store
    seconds: float
    # as of `environment.environment`: versions, device, threads and commit
    environment: Mapping[str, Any]
    datasets: Mapping[str, str]  # label -> fingerprint
    networks: tuple[UsedNetwork, ...]  # in the order of use, as the figures
    figures: tuple[ShownFigure, ...]

    @property
    def commit(self) -> str:
        """The commit of the code that ran."""
        return short_commit(self.environment["commit"])

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Making:
        """Return what `dataclasses.asdict` gave, from JSON."""
        networks = tuple(UsedNetwork(**network) for network in values["networks"])
        figures = tuple(ShownFigure(f["name"], tuple(f["networks"])) for f in values["figures"])
        return cls(**dict(values) | {"networks": networks, "figures": figures})
