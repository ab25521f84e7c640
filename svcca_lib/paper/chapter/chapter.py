"""What a chapter notebook talks to: its profile, data and trained networks, its figures and claims.

A chapter declares which trainings it uses in `profiles.CHAPTERS`, so that the workflow can train
them beforehand and share them between chapters; a chapter that runs alone trains what is missing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from svcca_lib import names
from svcca_lib.paper.chapter import tables
from svcca_lib.paper.chapter.claims import Claim, intervals
from svcca_lib.paper.chapter.drawings import SHOWN, Drawing
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.chapter.outputs import (
    CAPTION_METADATA,
    FIGURE_METADATA,
    LEDGER_METADATA,
    heading,
    noted,
    packed,
    plain,
)
from svcca_lib.paper.chapter.provenance import Making, ShownFigure, UsedNetwork
from svcca_lib.paper.chapter.register import Register, registered
from svcca_lib.paper.chapter.trainings import default_store, train
from svcca_lib.paper.experiments.statistics import Interval

if TYPE_CHECKING:
    from svcca_lib.paper.data.images import ImageData
    from svcca_lib.paper.data.sources import Data
    from svcca_lib.paper.figures.style import Drawn
    from svcca_lib.paper.profiles import Profile
    from svcca_lib.paper.store.store import Store
    from svcca_lib.paper.training.trained import TrainedNetwork

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _display(data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    from IPython.display import publish_display_data

    publish_display_data(data, metadata)  # type: ignore[no-untyped-call]


class Chapter:
    """One chapter of the book as it runs.

    Parameters
    ----------
    name, profile, data
        The notebook's name without its ending, the scale, and a data set in the words of
        `sources.load`; the profile's own if empty.
    seed
        Counted onto the seed of every training and draw.
    out
        A folder for the figures (SVG), their data (CSV) and the claims (JSON); empty to write none.
    width
        Channels of the ConvNet in place of the profile's, the ResNet in proportion; 0 for its own.
    store, register
        Where trained networks are kept and claims registered; by default the book's own.
    """

    def __init__(
        self,
        name: str,
        *,
        profile: str = "quick",
        seed: int = 0,
        data: str = "",
        out: str = "",
        width: int = 0,
        store: Store | None = None,
        register: Register | None = None,
    ) -> None:
        from svcca_lib.paper import profiles

        self.name = name
        self.profile: Profile = profiles.profile(profile)
        self._declared = self.profile.trainings(name)
        self.seed = seed
        self.width = width
        self.out = Path(out) if out else None
        self._spec = data
        self._store = store
        self._started = time.perf_counter()
        self._registered = (register or registered()).chapter(name)
        self._claims: dict[str, Claim] = {}
        self._omitted: dict[str, str] = {}  # id -> why
        self._figures: dict[str, ShownFigure] = {}
        self._networks: dict[str, UsedNetwork] = {}  # by their keys
        self._datasets: dict[str, str] = {}  # label -> fingerprint, in the order of use
        self._foreign: set[str] = set()  # names that come from data: labels and classes

    @cached_property
    def store(self) -> Store:
        """Where trained networks and measured arrays are kept."""
        return self._store or default_store()

    @cached_property
    def data(self) -> ImageData:
        """The images, loaded at first use."""
        images = cast("ImageData", self.profile.dataset("convnet", self._spec))
        self._datasets[images.label] = images.fingerprint
        self._foreign |= {images.label, *images.classes}
        return images

    def seeds(self, training: str) -> tuple[int, ...]:
        """Offsets of the seeds that `run` may be asked for, of one training at this scale."""
        return tuple(offset for name, offset in self._declared if name == training)

    def run(self, training: str, seed: int = 0, *, data: str = "") -> TrainedNetwork:
        """Return a trained network with its checkpoints, from the store or trained now.

        `seed` is counted onto the chapter's. `data` is a specification of data that one chapter
        alone is given, which no workflow knows. Raises ValueError for any other training that
        `profiles.CHAPTERS` does not declare for the chapter.
        """
        if not data and (training, seed) not in self._declared:
            declared = ", ".join(f"{name}+{offset}" for name, offset in self._declared)
            raise ValueError(
                f"chapter {self.name!r} asks for training {training}+{seed}, but at profile "
                f"{self.profile.name} it declares {declared or 'none'}; see profiles.CHAPTERS"
            )
        bound = self.profile.bind(training, self.seed + seed, data or self._spec, self.width)
        if bound.recipe.kind == "images" and not data:
            loaded: Data = self.data
        else:
            loaded = bound.load()
            self._datasets[loaded.label] = loaded.fingerprint
        trained = train(bound, loaded, store=self.store)
        used = UsedNetwork.of(training, trained)
        self._networks[used.key] = used
        return trained

    def use(self, network: str, weights: str, data: str, fingerprint: str) -> None:
        """Record a network that was trained elsewhere, and data that the chapter loaded itself.

        Both by what a reader is told of them, and by a hash. The figures that follow name them.
        """
        self._datasets[data] = fingerprint
        self._networks[weights] = UsedNetwork.elsewhere(network, weights, data=fingerprint)

    def show(
        self,
        figure: Drawn,
        name: str,
        *,
        alt: str,
        caption: str = "",
    ) -> None:
        """Display a figure and its caption, and with `out` write it as SVG and its numbers as CSV.

        The notebook keeps both as well, compressed, so that a page built from it can offer them.
        The numbers are all that is drawn, see `svcca_lib.paper.figures.tidy`.

        Parameters
        ----------
        figure
            The drawings, as the functions of `svcca_lib.paper.figures` return them.
        name
            Such as ``"figure-2a"``: the target of references in the book (``{numref}`figure-2a```)
            and the name of the files.
        alt
            What a reader who cannot see the figure has to know: what it shows, and the result.
        caption
            MyST Markdown, understandable alone. With one, the figure is numbered.

        Raises
        ------
        ValueError
            For a name that is none or is taken, without an alt text, and where something is drawn
            that has no name in the table of numbers.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"name needs lower-case words joined by hyphens, got {name!r}")
        if name in self._figures:
            raise ValueError(f"chapter {self.name!r} shows {name!r} twice: give each its own name")
        if not alt.strip():
            raise ValueError(f"{name!r} needs an alt text: say what the figure shows")
        drawing = Drawing.of(figure, name, heading(caption) or name)
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            for kind, text in drawing.files.items():
                (self.out / f"{name}.{kind}").write_text(text, encoding="utf-8", newline="\n")
        shown = self._figures[name] = ShownFigure(name, tuple(self._networks))
        _display(
            {
                "image/png": drawing.png,
                "text/plain": f"{name}: {alt}",
            },
            {
                "image/png": {"width": SHOWN, "alt": alt},
                FIGURE_METADATA: {
                    "name": name,
                    "alt": alt,
                    "caption": self._as_text(caption),
                    "chapter": self.name,
                    "artefact": shown.artefact,
                    "files": {kind: packed(text) for kind, text in drawing.files.items()},
                },
            },
        )
        if caption:
            # For JupyterLab and nbconvert; a page of the book has it in the figure.
            said = plain(caption)
            _display(
                {"text/markdown": self._as_text(said), "text/plain": said},
                {CAPTION_METADATA: name},
            )

    def note(self, **numbers: float) -> None:
        """Record numbers for the prose, which names them: {glue:text}`few-directions:.2f`.

        An underscore in a name is a hyphen to the prose. Numbers are recorded to the last digit:
        the prose chooses how many it shows.
        """
        for name, value in numbers.items():
            _display(*noted(name, value))

    def say(self, text: str) -> None:
        """Display a sentence (Markdown) of the prose whose numbers come from the run."""
        _display({"text/markdown": self._as_text(text), "text/plain": text})

    def _as_text(self, markdown: str) -> str:
        """Return Markdown in which names that come from data are text, and no markup."""
        for name in sorted(self._foreign, key=len, reverse=True):
            markdown = markdown.replace(name, names.markdown(name))
        return markdown

    def claim(
        self,
        id: str,
        measured: float | Sequence[float] | np.ndarray,
        *,
        over: str = "seeds",
        interval: Interval | tuple[float, float] | None = None,
        null: float | Sequence[float] | np.ndarray | None = None,
        paper: float | None = None,
        resolution: float = 0.0,
        **words: object,
    ) -> Claim:
        """Bring the numbers to a registered claim; its words and its rule are in the register.

        Parameters
        ----------
        id
            Of the register.
        measured
            One number a seed, draw or pair, whose interval (Student's, 95 %) decides; or one in
            all, which settles nothing but a check, unless an `interval` says how far it is known.
        over
            What the values, or the interval, are over.
        interval
            At 95 %, in place of Student's.
        null
            What the registered null gives. With as many values as were measured, value by value.
        paper
            The number the paper states.
        resolution
            The step in which the values come, such as one test image; see `statistics.student`.
        **words
            What the statement has places for.

        Raises
        ------
        ValueError
            If no such claim is registered for the chapter, it is made twice, or its numbers are
            not those that the register asks for.
        """
        if id not in self._registered:
            raise ValueError(
                f"chapter {self.name!r} has no registered claim {id!r}: put its statement and rule "
                "into book/register.toml before its number is seen"
            )
        if id in self._claims:
            raise ValueError(f"chapter {self.name!r} makes claim {id!r} twice")
        array = np.atleast_1d(np.asarray(measured, dtype=np.float64))
        if array.ndim != 1 or array.size == 0:
            raise ValueError(f"claim {id!r} needs one number or one per seed, got {array.shape}")
        entry, values = self._registered[id], tuple(array.tolist())
        nulls = None if null is None else np.atleast_1d(np.asarray(null, np.float64)).tolist()
        ends, margin = intervals(values, nulls, interval=interval, resolution=resolution)
        self._claims[id] = Claim(
            id=id,
            kind=entry.kind,
            figure=entry.figure,
            statement=entry.worded(words),
            rule=entry.rule,
            values=values,
            over=over if ends is not None else "",
            interval=ends,
            null_name=entry.null,
            null=None if nulls is None else float(np.mean(nulls)),
            margin=margin,
            paper=None if paper is None else float(paper),
            changed=bool(entry.changes),
        )
        return self._claims[id]

    def omit(self, id: str, why: str) -> None:
        """Say that a registered claim is not decided in this run, and why; the ledger shows it."""
        if id not in self._registered or id in self._claims:
            raise ValueError(f"{id!r} is no registered claim of {self.name!r} left to be omitted")
        self._omitted[id] = why

    def omit_rest(self, why: str) -> None:
        """Omit every registered claim that is neither made nor omitted yet; see `omit`."""
        for id in self._registered:
            if id not in {*self._claims, *self._omitted}:
                self.omit(id, why)

    def ledger(self) -> None:
        """Display the claims, note their numbers, and with `out` write them into it.

        The prose finds the number measured under the claim's id, the ends of its interval under
        ``ID-low`` and ``ID-high``, its null under ``ID-null``. Raises ValueError if the chapter
        neither makes a claim nor omits one, or leaves a registered one out.
        """
        from svcca_lib.paper.store.environment import environment

        if not (self._claims or self._omitted):
            raise ValueError(f"chapter {self.name!r} makes no claims: call ch.claim(...) first")
        decided = {*self._claims, *self._omitted}
        if left_out := [id for id in self._registered if id not in decided]:
            raise ValueError(
                f"chapter {self.name!r} leaves out {', '.join(left_out)}: a registered claim is "
                "made, omitted with a reason, or withdrawn in the register"
            )
        label = ", ".join(self._datasets) or "none"
        claims = tuple(self._claims.values())
        for claim in claims:
            low, high = claim.interval or (None, None)
            parts = {"": claim.measured, "-low": low, "-high": high, "-null": claim.null}
            self.note(**{claim.id + part: v for part, v in parts.items() if v is not None})
        making = Making(
            seconds=round(time.perf_counter() - self._started, 1),
            environment=environment(),
            datasets=self._datasets,
            networks=tuple(self._networks.values()),
            figures=tuple(self._figures.values()),
        )
        omitted = tuple(self._omitted.items())
        ledger = Ledger(self.name, self.profile.name, self.seed, label, claims, making, omitted)
        if self.out is not None:
            ledger.write(self.out)
        _display(
            {"text/plain": tables.as_text(ledger), "text/html": tables.as_html(ledger)},
            {LEDGER_METADATA: ledger.to_dict()},
        )
