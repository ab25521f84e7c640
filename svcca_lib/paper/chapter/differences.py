"""In what a run differs from the paper's, for a figure: in data, in networks, in length."""

from __future__ import annotations

from svcca_lib.paper.chapter.gathered import Row
from svcca_lib.paper.profiles import CONSTANT, FREEZE, PROFILES

_PAPER = PROFILES["paper"]
# What the paper's figures were measured on, where it was not CIFAR-10.
DATA = {
    "Figure 1": "toy regression",
    "Figure 3": "toy regression",
    "Appendix Figure 1": "toy regression",
    "Figure 6": "ImageNet",
    "Appendix Figure 6": "Penn Treebank",
}
# The paper took a network that has no counterpart here, or does not give its sizes.
OTHER_NETWORK = {"Figure 6": "ImageNet's", "Appendix Figure 6": "sizes not given"}


def differences(row: Row) -> dict[str, str]:
    """Return in what a figure differs from the paper's, and how: "data", "network", "length".

    Of several chapters that show it, the one that the figure's claim is from has the data.

    What the paper does not state (how long its toy networks and its LSTM trained) counts as no
    difference.
    """
    found: dict[str, str] = {}
    ledger = row.origin
    if ledger is None:
        return found
    scale = PROFILES[ledger.profile]
    if not ledger.data.startswith(theirs := DATA.get(row.figure, "CIFAR-10")):
        found["data"] = f"{ledger.data} for {theirs}"
    bases = (n.training.removesuffix(FREEZE).removesuffix(CONSTANT) for n in row.networks)
    # A network that was trained elsewhere has no recipe of ours; its chapter says what it is.
    names = [name for name in dict.fromkeys(bases) if name in scale.recipes]
    if row.figure in OTHER_NETWORK:
        found["network"] = OTHER_NETWORK[row.figure]
    elif any(scale.recipes[name].sizes != _PAPER.recipes[name].sizes for name in names):
        found["network"] = "narrower"
    steps = {name: scale.recipes[name].settings["steps"] for name in names}
    stated = {
        name: _PAPER.recipes[name].settings["steps"]
        for name in names
        if _PAPER.recipes[name].kind == "images"
    }
    if shorter := sorted({steps[name] for name in stated if steps[name] < stated[name]}):
        longest = max(stated.values())
        found["length"] = f"{' and '.join(f'{n:,}' for n in shorter)} of {longest:,} steps"
    return found


def worded(row: Row) -> str:
    """Return the differences in one line."""
    return "; ".join(f"{what}: {how}" for what, how in differences(row).items())
