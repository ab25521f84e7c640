"""Claims and ledgers as chapters make them."""

from svcca_lib.paper.chapter.claims import Claim, Rule, intervals
from svcca_lib.paper.chapter.gathered import Book
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.chapter.provenance import Making, ShownFigure, UsedNetwork

ENVIRONMENT = {
    "python": "3.11.1",
    "platform": "an <old> system",
    "libraries": {"torch": "2.6"},
    "device": "a processor",
    "threads": 2,
    "commit": "0123456789abcdef",
}


def claim(values=(0.86, 0.87, 0.892), null=0.1, **rest):
    """A claim over seeds; its null is one number, or one a value."""
    nulls = null if null is None or isinstance(null, tuple) else (null,)
    ends, margin = intervals(values, nulls, interval=rest.pop("interval", None))
    defaults = {
        "id": "25-directions-suffice",
        "kind": "paper",
        "figure": "Figure 2a",
        "statement": "25 directions give nearly the accuracy of all 512",
        "rule": Rule(low=0.8),
        "values": values,
        "over": "seeds",
        "interval": ends,
        "null_name": "" if null is None else "independent data",
        "null": None if null is None else sum(nulls) / len(nulls),
        "margin": margin,
        "paper": 0.9,
    }
    return Claim(**defaults | rest)


def single(value=0.5, **rest):
    """A claim of one value."""
    return claim((value,), None, **rest)


def over_images(id="a", value=0.9, **rest):
    """A claim of one value whose interval is known."""
    about = {"statement": "few | suffice", "rule": Rule(low=0.5), "over": "images", "paper": None}
    interval = (value - 0.01, value + 0.01)
    return claim(rest.pop("values", (value,)), None, id=id, interval=interval, **about | rest)


def ledger(*claims, **rest):
    """A ledger of claims alone."""
    return Ledger("02-distributed", "quick", 0, "digits", claims, **rest)


def network(number):
    return UsedNetwork("convnet", number, f"{number}" * 64, "f" * 64, 30.0, "a processor", None)


def chapter(name, claims, figures, networks=(), profile="quick", **environment):
    """A ledger with how it came about."""
    making = Making(75.0, ENVIRONMENT | environment, {"digits": "ab" * 32}, networks, figures)
    return Ledger(name, profile, 0, "digits", tuple(claims), making)


def two_chapters():
    """A book; the second chapter adds to the first one's figure and shows one of its own."""
    first = chapter(
        "02-first",
        [
            over_images(),
            over_images("b", 0.2, paper=0.7),
            over_images("c", figure="Theorem 1", kind="check"),
        ],
        (ShownFigure("figure-2a", ("1" * 64, "2" * 64)),),
        (network(1), network(2)),
    )
    second = chapter(
        "04-second",
        [over_images("d", figure="Figure 4, Appendix Figure 3")],
        (
            ShownFigure("figure-4-convnet", ("2" * 64,)),
            ShownFigure("appendix-figure-3", ("2" * 64, "3" * 64)),
            ShownFigure("figure-of-ours"),
        ),
        (network(2), network(3)),
        device="a GPU",
    )
    return Book({ledger.chapter: ledger for ledger in (first, second)})
