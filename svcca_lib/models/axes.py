"""What the axes of a layer's output are: datapoints, tokens, neurons, channels, space.

`Trace` listens to one forward pass: modules of torch whose axes are fixed or can be read (a
convolution, a linear layer, `batch_first`) tell the axes of what they took and gave. `Trace.axes`
decides from that what the output of any layer is, and refuses where more than one answer fits.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from typing import Any, Literal, NoReturn, TypeAlias

from torch import Tensor, nn

from svcca_lib.errors import one_of
from svcca_lib.models.outputs import Output

Channels: TypeAlias = Literal["auto", "first", "last"]
Shape: TypeAlias = tuple[int, ...]

# One letter an axis: n datapoints; t tokens and d neurons; c channels and l, h, w, z places.
_FIRST = {3: "ncl", 4: "nchw", 5: "nczhw"}
_LAST = {3: "nlc", 4: "nhwc", 5: "nzhwc"}
_CANDIDATES = {3: ("ntd", "tnd", "ncl"), 4: ("nchw", "nhwc"), 5: ("nczhw", "nzhwc")}
_SOMEHOW = "??d"  # neurons last; whether datapoints or tokens come first, the others have to tell

# Modules of torch that have the channels second, and those that leave the axes as they are.
_CHANNELS_SECOND = re.compile(
    r"torch\.nn\.modules\.(conv|batchnorm|instancenorm|pooling|padding|pixelshuffle|upsampling)"
)
_AS_IT_CAME = re.compile(r"torch\.nn\.modules\.(activation|dropout)")
_WIDTHS = ("out_features", "out_channels", "num_features", "normalized_shape")


@dataclass(frozen=True)
class Axes:
    """What each axis of an output is.

    Attributes
    ----------
    letters : str
        One an axis: n datapoints; t tokens and d neurons; c channels and l, h, w, z places; "?" for
        what is not known.
    why : str
        How this is known, or what to do where it is not.
    """

    letters: str
    why: str = ""

    @property
    def kind(self) -> Literal["vectors", "tokens", "maps", "unknown"]:
        """What the output is: (n, d), (n, tokens, d), or channels over space."""
        if "?" in self.letters:
            return "unknown"
        if len(self.letters) == 2:
            return "vectors"
        return "tokens" if "t" in self.letters else "maps"

    def rows(self, output: Tensor) -> int | None:
        """How many datapoints an output has, if it is known along which axis they lie."""
        return output.shape[self.letters.index("n")] if "n" in self.letters else None

    def datapoints_first(self, output: Tensor, name: str) -> Tensor:
        """Return the output with the datapoints first, its other axes in the order they came.

        Raises
        ------
        ValueError
            If it is not known which axis they are.
        """
        if "n" not in self.letters:
            self.refuse(output, name)
        return output.movedim(self.letters.index("n"), 0)

    def refuse(self, output: Tensor, name: str) -> NoReturn:
        """Say that the output of this layer cannot be read, and what to do."""
        raise ValueError(f"layer {name!r} gives shape {tuple(output.shape)}; {self.why}")

    def arranged(self, output: Tensor) -> Tensor:
        """Return the output as (n, d), (n, tokens, d) or (n, c, *space)."""
        order = {"vectors": "ndc", "tokens": "ntd", "maps": "nclzhw"}[self.kind]
        return output.permute(
            sorted(range(output.ndim), key=lambda i: order.index(self.letters[i]))
        )

    def __str__(self) -> str:
        shape = f"({', '.join(self.letters)})"
        if self.kind == "maps":
            shape += f", channels {'first' if self.letters[1] == 'c' else 'last'}"
        return shape + (f", {self.why}" if self.why else "")


@dataclass(frozen=True)
class Asked:
    """What the user says of the axes, as in `svcca_lib.compare`."""

    channels: Channels = "auto"
    axes: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        one_of(self.channels, ("auto", "first", "last"), "channels")
        for pattern, letters in (self.axes or {}).items():
            places = set(letters) - set("ncd")
            fits = len(set(letters)) == len(letters) and "n" in letters
            fits = fits and len(set("cd") & set(letters)) == 1
            if not fits or not (places <= set("lzhw") or (places == {"t"} and "d" in letters)):
                raise ValueError(
                    f"axes[{pattern!r}] must name each axis once: 'n', 't' and 'd', or 'n', 'c' "
                    f"and 'l', 'h', 'w' or 'z' for space, as 'tnd' or 'nhwc'; got {letters!r}"
                )

    def of(self, name: str, ndim: int) -> Axes | None:
        """Axes of a layer, if it was said what they are."""
        for pattern, letters in (self.axes or {}).items():
            if matches(name, pattern):
                if len(letters) != ndim:
                    raise ValueError(
                        f"axes[{pattern!r}] = {letters!r} names {len(letters)} axes; layer "
                        f"{name!r} gives {ndim}"
                    )
                return Axes(letters, "as told")
        if self.channels != "auto" and ndim in (4, 5):
            return Axes((_FIRST if self.channels == "first" else _LAST)[ndim], "as told")
        return None


def matches(name: str, pattern: str) -> bool:
    """Whether a layer is of this name, or the name fits the pattern."""
    return name == pattern or fnmatchcase(name, pattern)


@dataclass(frozen=True)
class _Seen:
    """A tensor whose axes a module told; `where` is the module's name."""

    where: str
    letters: str
    shape: Shape

    def size(self, letter: str) -> int:
        return self.shape[self.letters.index(letter)]

    @property
    def neurons(self) -> int:
        return self.size("d" if "d" in self.letters else "c")

    @property
    def places(self) -> dict[str, int]:
        sizes = dict(zip(self.letters, self.shape, strict=True))
        return {letter: size for letter, size in sizes.items() if letter not in "cd"}

    def flattened(self, letters: str) -> Shape | None:
        """Shape of maps as (n, places, c) for "ntd", as (n, c, places) for "ncl"."""
        if "c" not in self.letters:
            return None
        n, c = self.size("n"), self.neurons
        places = prod(self.shape) // max(n * c, 1)
        return (n, places, c) if letters == "ntd" else (n, c, places)


class Trace:
    """What the modules of a model tell of axes while it runs once."""

    def __init__(self) -> None:
        self._seen: dict[_Seen, None] = {}  # each once, in their order
        self._turned = False  # whether a module takes (tokens, n, d)
        # By identity, as a tensor goes from one module to the next; its life is not prolonged.
        self._known: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self._evidence: list[_Seen] | None = None  # what was seen, once the pass is over

    def see(self, name: str, module: nn.Module, args: Sequence[Any], given: Output) -> str | None:
        """Note what a module took and gave; returns the axes of its output if it tells them."""
        output = given.tensor
        if given.letters is not None:
            self._note(name, given.letters, output)
            return given.letters
        source = args[0] if args and isinstance(args[0], Tensor) else None
        letters, before = _told(module, output), None if source is None else self._letters(source)
        if letters == _SOMEHOW and before in ("ntd", "tnd"):
            letters = before
        if letters is not None and source is not None and source.ndim == output.ndim:
            self._note(name, _told(module, source), source)
        if letters is None and source is not None:
            letters = _derived(module, before, output)
        letters = letters or self._letters(output)
        self._note(name, letters, output)
        return letters

    def rows(self, sample: Tensor | None) -> tuple[int | None, int]:
        """Datapoints of the batch, if known, and along which axis of its first tensor they lie."""
        counts = {seen.size("n") for seen in self._seen if seen.letters == "tnd"}
        if sample is None or sample.ndim == 0:
            return (counts.pop() if len(counts) == 1 else None), 0
        if len(sample) not in counts and sample.ndim > 1 and sample.shape[1] in counts:
            return sample.shape[1], 1
        return len(sample), 0

    def axes(
        self,
        name: str,
        output: Output,
        rows: int | None,
        asked: Asked,
        module: nn.Module,
    ) -> Axes:
        """Decide what the axes of a layer's output are.

        Parameters
        ----------
        name : str
            The layer's.
        output : Output
            What it gave, with the letters that `see` returned.
        rows : int or None
            Datapoints of the batch, if known.
        asked : Asked
            What the user says; it comes first.
        module : torch.nn.Module
            The layer.

        Returns
        -------
        Axes
            Of kind "unknown" where more than one answer fits.
        """
        shape, letters = tuple(output.tensor.shape), output.letters
        if len(shape) == 2:
            return Axes("nd")
        told = asked.of(name, len(shape))
        if told is not None:
            return told
        if letters == _SOMEHOW:
            letters = self._resolved(_Seen(name, letters, shape), rows)
        if letters is not None:
            return Axes(letters, "as its module tells")
        evidence = self._after(rows)
        possible = [
            _Seen(name, candidate, shape)
            for candidate in _CANDIDATES.get(len(shape), ())
            if (rows is None or shape[candidate.index("n")] == rows)
            and (candidate != "tnd" or self._turned)
        ]
        # As many tokens as datapoints, and modules that take either first: nothing more to go by.
        either = {"ntd", "tnd"} <= {s.letters for s in possible}
        for found, why in (
            ()
            if either
            else (
                (self._supported(possible, evidence), "as the layers of this size"),
                (_of_width(possible, evidence, module), "by its number of neurons"),
                (_by_shape(possible, evidence), "by its shape"),
            )
        ):
            if len(found) == 1:
                return Axes(found[0].letters, why)
            if found:
                possible = found
                break
        first = "?" if either else "n"
        return Axes(first + "?" * (len(shape) - 1), _remedy(name, possible))

    def _letters(self, tensor: Tensor) -> str | None:
        ref, letters = self._known.get(id(tensor), (None, None))
        same = ref is not None and ref() is tensor and letters and len(letters) == tensor.ndim
        return letters if same else None

    def _note(self, name: str, letters: str | None, tensor: Tensor) -> None:
        if letters is not None:
            self._known[id(tensor)] = (weakref.ref(tensor), letters)
            self._seen[_Seen(name, letters, tuple(tensor.shape))] = None
            self._turned |= letters == "tnd"

    def _resolved(self, seen: _Seen, rows: int | None) -> str | None:
        """Whether datapoints or tokens come first in (?, ?, d)."""
        if not self._turned:
            return "ntd"  # the convention of all modules but those that have `batch_first`
        fits = [letters for letters in ("ntd", "tnd") if seen.shape[letters.index("n")] == rows]
        return fits[0] if len(fits) == 1 else None

    def _after(self, rows: int | None) -> list[_Seen]:
        """What was seen, with datapoints told from tokens."""
        if self._evidence is None:
            told = (
                (seen, self._resolved(seen, rows) if seen.letters == _SOMEHOW else seen.letters)
                for seen in self._seen
            )
            self._evidence = [replace(seen, letters=to) for seen, to in told if to is not None]
        return self._evidence

    @staticmethod
    def _supported(possible: list[_Seen], evidence: list[_Seen]) -> list[_Seen]:
        """Candidates that others share all sizes with but that of the neurons."""

        def witnesses(candidate: _Seen) -> list[_Seen]:
            alike = [s for s in evidence if s.letters == candidate.letters]
            alike = [s for s in alike if s.places == candidate.places]
            if candidate.letters in ("ntd", "ncl"):  # or maps of which all places are one axis
                alike += [s for s in evidence if s.flattened(candidate.letters) == candidate.shape]
            return alike

        found = {candidate: witnesses(candidate) for candidate in possible}
        found = {candidate: alike for candidate, alike in found.items() if alike}
        # Where sizes leave two open, the nearest modules decide: those inside, then those around.
        for scope in _scopes(possible[0].where) if len(found) > 1 else ():
            near = [c for c, alike in found.items() if any(_within(s.where, scope) for s in alike)]
            if near:
                return near
        return list(found)


def _scopes(name: str) -> Iterator[str]:
    """The module and those that hold it, the innermost first."""
    parts = name.split("#")[0].split(".")
    return (".".join(parts[:i]) for i in range(len(parts), -1, -1))


def _within(name: str, scope: str) -> bool:
    return not scope or name.startswith(f"{scope}.")


def _told(module: nn.Module, tensor: Tensor) -> str | None:
    """Axes of a tensor that a module of this type takes or gives, if the type tells."""
    ndim = tensor.ndim
    if ndim not in _CANDIDATES:
        return None
    bases = [b for b in type(module).__mro__ if _CHANNELS_SECOND.match(b.__module__)]
    if bases or isinstance(module, nn.GroupNorm):
        rank = next(filter(None, (re.search(r"(\d)d$", b.__name__) for b in bases)), None)
        return _FIRST[ndim] if rank is None or int(rank[1]) == ndim - 2 else None
    if isinstance(module, (nn.Linear, nn.Embedding)) and _own(module, nn.Linear, nn.Embedding):
        return _SOMEHOW if ndim == 3 else _LAST[ndim]
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and _own(module, nn.LayerNorm, nn.RMSNorm):
        only_last = len(module.normalized_shape) == 1
        return (_SOMEHOW if ndim == 3 else _LAST[ndim]) if only_last else None
    batch_first = _batch_first(module)
    if batch_first is not None and ndim == 3:
        return "ntd" if batch_first else "tnd"
    return None


def _own(module: nn.Module, *types: type[nn.Module]) -> bool:
    """Whether a module runs as torch's does: a LayerNorm made for channels first does not."""
    return any(type(module).forward is cls.forward for cls in types)


def _batch_first(module: nn.Module) -> bool | None:
    """Read `batch_first` of recurrent layers, attention and transformers of torch."""
    if isinstance(module, (nn.TransformerEncoder, nn.TransformerDecoder)) and len(module.layers):
        module = module.layers[0]
    if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        module = module.self_attn
    found = getattr(module, "batch_first", None)
    return found if isinstance(found, bool) else None


def _derived(module: nn.Module, before: str | None, output: Tensor) -> str | None:
    """Axes of an output from those of the input, of modules that keep or move them."""
    if before is None:
        return None
    dims = getattr(module, "dims", None)
    if type(module).__name__ == "Permute" and isinstance(dims, Sequence):  # torchvision's
        return "".join(before[i] for i in dims)
    if isinstance(module, nn.Flatten):
        whole = module.start_dim == 2 and module.end_dim in (-1, len(before) - 1)
        return "ncl" if whole and before in _FIRST.values() else None
    kept = _AS_IT_CAME.match(type(module).__module__) or isinstance(module, nn.Identity)
    return before if kept and len(before) == output.ndim else None


def _of_width(possible: list[_Seen], evidence: list[_Seen], module: nn.Module) -> list[_Seen]:
    """Candidates with as many neurons as the module, or the last one inside it, says it has."""
    for attribute in _WIDTHS:
        width = getattr(module, attribute, None)
        width = width[0] if isinstance(width, (tuple, list)) and len(width) == 1 else width
        if isinstance(width, int):
            return [seen for seen in possible if seen.neurons == width]
    inside = [s for s in evidence if possible and _within(s.where, possible[0].where)]
    return [seen for seen in possible if inside and seen.neurons == inside[-1].neurons]


def _by_shape(possible: list[_Seen], evidence: list[_Seen]) -> list[_Seen]:
    """Candidates that are usual where no module tells: square maps, or tokens with neurons last.

    Maps are as all others of the model; else two equal sides with another beside them are height
    and width. Not so in a model with tokens, whose attention has four axes too. Three axes are
    tokens unless the model has channels over space.
    """
    if any(len(s.shape) == 4 for s in possible):
        maps = {s.letters for s in evidence if len(s.letters) == 4}
        usual = [s for s in possible if s.letters in maps] if len(maps) == 1 else []
        square = [s for s in possible if s.size("h") == s.size("w") != s.size("c")]
        tokens = any("t" in s.letters for s in evidence)
        return possible if tokens else usual or square or possible
    if any("c" in s.letters for s in evidence):
        return possible
    return [s for s in possible if "t" in s.letters]


def _remedy(name: str, possible: list[_Seen]) -> str:
    letters = [seen.letters for seen in possible] or ["nchw", "nhwc"]
    told = " or ".join(f"axes={{{name!r}: {each!r}}}" for each in letters)
    if set(letters) <= {*_FIRST.values(), *_LAST.values()} - {"ncl"}:
        told = f"channels='first' or channels='last' (for this layer alone {told})"
    return f"no module tells which axis is what; say {told}, or leave the layer out"
