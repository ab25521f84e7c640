"""What a chapter notebook talks to: its profile, data and trained networks, its figures and claims.

A chapter declares which trainings it uses in `profiles.CHAPTERS`, so that the workflow can train
them beforehand and share them between chapters; a chapter that runs alone trains what is missing.
"""

from __future__ import annotations

import base64
import gzip
import io
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from svcca_lib.paper.chapter.claims import METADATA, Claim, Ledger, intervals, number
from svcca_lib.paper.chapter.provenance import Making, Shown, Trained
from svcca_lib.paper.chapter.register import Register, registered
from svcca_lib.paper.experiments.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from svcca_lib.paper.data.images import ImageData
    from svcca_lib.paper.data.sources import Data
    from svcca_lib.paper.profiles import Profile
    from svcca_lib.paper.store.store import Store
    from svcca_lib.paper.training.journal import Report
    from svcca_lib.paper.training.trained import TrainedNetwork

# The key under which a displayed figure keeps, for the built page, its caption and description,
# what it was made from, and its drawing and numbers in the forms that a reader can download.
FIGURE_METADATA = "svcca_figure"
RECORD = "application/papermill.record/"  # where myst-nb looks for the numbers of the prose
SCALE = 2  # pixels per CSS pixel: sharp on high-density screens
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Chapter:
    """One chapter of the book as it runs.

    Parameters
    ----------
    name : str
        The notebook's name without its ending, such as ``"02-distributed-representations"``.
    profile : str
        The scale: ``"quick"``, ``"cifar10"`` or ``"paper"``.
    seed : int
        Counted onto the seed of every training and draw.
    data : str
        A data set in the words of `sources.load`; empty for the profile's own.
    out : str
        A folder for the figures (SVG), their data (CSV) and the claims (JSON); empty to write none.
    width : int
        Channels of the ConvNet in place of the profile's, the ResNet in proportion; 0 for its own.
    store : Store, optional
        Where trained networks are kept; the default store if not given.
    register : Register, optional
        Where claims are registered; the book's own if not given.
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
        self._figures: dict[str, Shown] = {}
        self._networks: dict[str, Trained] = {}  # by their keys
        self._datasets: dict[str, str] = {}  # label -> fingerprint, in the order of use

    @cached_property
    def store(self) -> Store:
        """Where trained networks and measured arrays are kept."""
        return self._store or _store()

    @cached_property
    def data(self) -> ImageData:
        """The images, loaded at first use."""
        images = self.profile.dataset("convnet", self._spec)
        self._datasets[images.label] = images.fingerprint
        return images

    def seeds(self, training: str) -> tuple[int, ...]:
        """Offsets of the seeds that `run` may be asked for, of one training at this scale."""
        return tuple(offset for name, offset in self._declared if name == training)

    def run(self, training: str, seed: int = 0) -> TrainedNetwork:
        """Return a trained network with its checkpoints, from the store or trained now.

        Parameters
        ----------
        training : str
            A training of the profile, such as ``"convnet"``.
        seed : int
            Counted onto the chapter's seed.

        Raises
        ------
        ValueError
            If `profiles.CHAPTERS` does not declare this training for the chapter.
        """
        if (training, seed) not in self._declared:
            declared = ", ".join(f"{name}+{offset}" for name, offset in self._declared)
            raise ValueError(
                f"chapter {self.name!r} asks for training {training}+{seed}, but at profile "
                f"{self.profile.name} it declares {declared or 'none'}; see profiles.CHAPTERS"
            )
        if training.startswith(("convnet", "resnet")):
            data = self.data
        else:
            data = self.profile.dataset(training, self._spec)
            self._datasets[data.label] = data.fingerprint
        run = _train(self.profile, training, self.seed + seed, data, self.width, self.store)
        used = Trained.of(training, run)
        self._networks[used.key] = used
        return run

    def show(
        self,
        figure: Figure,
        name: str,
        *,
        alt: str,
        caption: str = "",
        data: Mapping[str, ArrayLike | pd.DataFrame] | None = None,
    ) -> None:
        """Display a figure, and with `out` write it as SVG and its data as CSV.

        The notebook keeps both as well, compressed, so that a page built from it can offer them.

        Parameters
        ----------
        figure : Figure
            The drawing; it is closed.
        name : str
            Such as ``"figure-2a"``: the target of references in the book (``{numref}`figure-2a```)
            and the name of the files.
        alt : str
            What a reader who cannot see the figure has to know.
        caption : str
            The caption (MyST Markdown), understandable alone. With one, the figure is numbered.
        data : mapping of str to array or DataFrame, optional
            The numbers drawn, each at most 2-D. Their summary is the text form of the figure, which
            the notebook tests compare.
        """
        from IPython.display import publish_display_data

        if not _NAME.fullmatch(name):
            raise ValueError(f"name needs lower-case words joined by hyphens, got {name!r}")
        if name in self._figures:
            raise ValueError(f"chapter {self.name!r} shows {name!r} twice: give each its own name")
        if not alt.strip():
            raise ValueError(f"{name!r} needs an alt text: say what the figure shows")
        tables = {key: _table(key, values) for key, values in (data or {}).items()}
        png = _png(figure)
        files = {"svg": _svg(figure, name)}
        if tables:
            files["csv"] = _join(tables).to_csv(index=False, float_format="%.7g")
        _close(figure)
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            for kind, text in files.items():
                (self.out / f"{name}.{kind}").write_text(text, encoding="utf-8", newline="\n")
        shown = self._figures[name] = Shown(name, tuple(self._networks))
        summary = [f"{name}: {alt}"] + [_summary(key, table) for key, table in tables.items()]
        publish_display_data(
            {"image/png": png, "text/plain": "\n".join(summary)},
            {
                "image/png": {"width": _width(png)},
                FIGURE_METADATA: {
                    "name": name,
                    "alt": alt,
                    "caption": caption,
                    "chapter": self.name,
                    "artefact": shown.artefact,
                    "files": {kind: packed(text) for kind, text in files.items()},
                },
            },
        )

    def note(self, **numbers: float) -> None:
        """Record numbers for the prose, which names them: {glue:text}`few-directions:.2f`.

        Parameters
        ----------
        **numbers : float
            By name; an underscore is a hyphen to the prose. Recorded to the last digit: the prose
            chooses how many it shows.
        """
        from IPython.display import publish_display_data

        for name, value in numbers.items():
            if not math.isfinite(value):
                raise ValueError(f"the number {name!r} must be finite to be noted; got {value}")
            # an integer stays one, and NumPy's numbers read like Python's
            plain = int(value) if isinstance(value, (int, np.integer)) else float(value)
            publish_display_data(
                {f"{RECORD}text/plain": repr(plain)},
                {"scrapbook": {"name": name.replace("_", "-"), "mime_prefix": RECORD}},
            )

    def say(self, text: str) -> None:
        """Display a sentence of the prose that depends on what was measured.

        Parameters
        ----------
        text : str
            Markdown; its numbers come from the run.
        """
        from IPython.display import publish_display_data

        publish_display_data({"text/markdown": text, "text/plain": text})

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
        id : str
            Of the register.
        measured : float or sequence of float
            One number a seed, draw or pair, whose interval (Student's, 95 %) decides; or one in
            all, which settles nothing but a check, unless an `interval` says how far it is known.
        over : str
            What the values, or the interval, are over.
        interval : Interval or (float, float), optional
            At 95 %, in place of Student's.
        null : float or sequence of float, optional
            What the registered null gives. With as many values as were measured, value by value.
        paper : float, optional
            The number the paper states.
        resolution : float
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
        values = np.atleast_1d(np.asarray(measured, dtype=np.float64))
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"claim {id!r} needs one number or one per seed, got {values.shape}")
        entry = self._registered[id]
        nulls = None if null is None else np.atleast_1d(np.asarray(null, np.float64)).tolist()
        ends, margin = intervals(values.tolist(), nulls, interval=interval, resolution=resolution)
        self._claims[id] = Claim(
            id=id,
            kind=entry.kind,
            figure=entry.figure,
            statement=entry.worded(words),
            rule=entry.rule,
            values=tuple(values.tolist()),
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
        """Say that a registered claim is not decided in this run, and why; the ledger shows it.

        Parameters
        ----------
        id : str
            Of the register.
        why : str
            Such as ``"not trained at the profile cifar10"``.
        """
        if id not in self._registered or id in self._claims:
            raise ValueError(f"{id!r} is no registered claim of {self.name!r} left to be omitted")
        self._omitted[id] = why

    def ledger(self) -> None:
        """Display the claims, note their numbers, and with `out` write them to ``claims.json``.

        The prose finds the number measured under the claim's id, the ends of its interval under
        ``ID-low`` and ``ID-high``, its null under ``ID-null``.

        Raises
        ------
        ValueError
            If the chapter makes no claim, or leaves a registered one out.
        """
        from IPython.display import publish_display_data

        from svcca_lib.paper.store.environment import environment

        if not self._claims:
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
        ledger = Ledger(
            self.name,
            self.profile.name,
            self.seed,
            label,
            claims,
            making,
            tuple(self._omitted.items()),
        )
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            ledger.write(self.out / "claims.json")
        publish_display_data(
            {"text/plain": repr(ledger), "text/html": ledger._repr_html_()},
            {METADATA: ledger.to_dict()},
        )


def train(
    profile: str,
    training: str,
    seed: int,
    data: str = "",
    *,
    width: int = 0,
    store: Store | None = None,
    progress: bool | None = None,
    report: Report | None = None,
) -> TrainedNetwork:
    """Return one training of a profile, from the store or trained now.

    Parameters
    ----------
    profile, training : str
        Such as ``"quick"`` and ``"convnet"``.
    seed : int
        The seed of the weights and of the order of the data.
    data : str
        A data set in the words of `sources.load`; empty for the profile's own.
    width : int
        As of a `Chapter`.
    store : Store, optional
        The default store if not given.
    progress : bool, optional
        A bar on stderr; by default where that is a terminal.
    report : callable, optional
        As of `trained.train`.
    """
    from svcca_lib.paper import profiles

    scale = profiles.profile(profile)
    images = scale.dataset(training, data)
    return _train(scale, training, seed, images, width, store or _store(), progress, report)


def _train(
    scale: Profile,
    name: str,
    seed: int,
    data: Data,
    width: int,
    store: Store,
    progress: bool | None = None,
    report: Report | None = None,
) -> TrainedNetwork:
    from svcca_lib.paper.training import trained

    config = scale.training(name, seed, data, width)
    return trained.train(config, data, store, progress=progress, report=report)


def _store() -> Store:
    """Return the default store; where ``$SVCCA_TRAIN`` is "never", one that trains nothing."""
    from svcca_lib.paper.store.store import Artefact, Store

    class LoadingOnly(Store):
        def fetch(self, kind: str, config: Any, make: Any, **rest: Any) -> Artefact:
            def refuse(workspace: Path) -> NoReturn:
                raise LookupError(
                    f"the network {rest.get('name', '')!r} is not in {self.reference or self.root} "
                    "in the form that the present code would train, and SVCCA_TRAIN=never forbids "
                    "to train it: run `make reference`"
                )

            return super().fetch(kind, config, refuse if kind == "network" else make, **rest)

    return LoadingOnly() if os.environ.get("SVCCA_TRAIN") == "never" else Store()


def _png(figure: Figure) -> bytes:
    """Return the drawing as PNG bytes that hold no time and no version."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format="png",
        dpi=SCALE * figure.dpi,
        bbox_inches="tight",
        metadata={"Software": None},
    )
    return buffer.getvalue()


def _width(png: bytes) -> int:
    """Return the width at which a page shows a PNG, in CSS pixels, from its header."""
    return int.from_bytes(png[16:20], "big") // SCALE


def _svg(figure: Figure, name: str) -> str:
    """Return the drawing as SVG, the same text each time; `name` seeds the ids in it."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return buffer.getvalue()


def packed(text: str) -> str:
    """Return `text` compressed, in characters that JSON takes as they are."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def unpacked(text: str) -> str:
    """Return what was `packed`.

    Examples
    --------
    >>> unpacked(packed("k,accuracy"))
    'k,accuracy'
    """
    return gzip.decompress(base64.b64decode(text)).decode()


def _close(figure: Figure) -> None:
    """Forget the figure, or the notebook would display it a second time."""
    import matplotlib.pyplot as plt

    plt.close(figure)


def _table(key: str, values: ArrayLike | pd.DataFrame) -> pd.DataFrame:
    """Return `values` as a table whose columns start with `key`; a named index is a column."""
    import pandas as pd

    if isinstance(values, pd.DataFrame):
        plain = isinstance(values.index, pd.RangeIndex)
        frame = values.reset_index(drop=plain)
    else:
        array = np.asarray(values)
        if array.ndim not in (1, 2):
            raise ValueError(f"data[{key!r}] needs 1 or 2 dimensions, got {array.ndim}")
        if array.ndim == 1:
            return pd.DataFrame({key: array})
        frame = pd.DataFrame(array)
    return frame.rename(columns=lambda column: f"{key}.{column}")


def _join(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put tables side by side; where lengths differ, the shorter end in empty cells."""
    import pandas as pd

    return pd.concat(list(tables.values()), axis="columns")


def _summary(key: str, table: pd.DataFrame) -> str:
    """Return one line that changes when the drawn numbers do."""
    values = table.select_dtypes("number").to_numpy(np.float64)
    if not values.size or np.isnan(values).all():
        return f"  {key}: {len(table)} rows"
    ends = np.array([np.nanmin(values), np.nanmean(values), np.nanmax(values)])
    # What is left of a mean of opposites, or of a zero, is rounding: three digits of the largest
    # value count, which is itself rounded first: 0.9999999 has as many decimals as 1.
    if largest := float(f"{np.abs(ends).max():.3g}"):
        ends = ends.round(2 - int(np.floor(np.log10(largest))))
    low, mean, high = ends.tolist()
    shape = " x ".join(map(str, values.shape))
    return f"  {key}: {shape}, from {number(low)} to {number(high)}, mean {number(mean)}"
