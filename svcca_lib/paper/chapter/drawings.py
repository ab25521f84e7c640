"""A figure as files: a sharp image, a vector drawing for page and phone, and its numbers.

The same figure gives the same bytes each time, so that files can be compared. The numbers are read
from the figure itself, see `svcca_lib.paper.figures.tidy`. In a vector drawing text is text, which
can be found, copied and read aloud; the letters that it needs travel with it, for a machine that
lacks the font would set it wider.
"""

from __future__ import annotations

import base64
import functools
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from svcca_lib.names import cell
from svcca_lib.paper.figures.style import FONT, Drawn
from svcca_lib.paper.figures.tidy import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 760  # CSS pixels, as wide as the text of a page
PIXELS = 1100  # of the image; a page shows the vector drawing


@dataclass(frozen=True)
class Drawing:
    """The forms of one figure."""

    png: bytes
    files: Mapping[str, str]  # by ending, for readers to download: "svg", "phone.svg" and "csv"

    @classmethod
    def of(cls, drawn: Drawn, name: str, title: str) -> Drawing:
        """Take a figure's forms; `name` seeds the ids in its drawings, `title` is in them.

        ValueError if something is drawn without a name.
        """
        drawn_data = table(drawn.page)
        words = drawn_data.select_dtypes(exclude="number")
        files = {
            "svg": svg(drawn.page, name, title),
            "phone.svg": svg(drawn.phone, f"{name}-phone", title),
            "csv": drawn_data.assign(**words.map(cell)).to_csv(index=False, float_format="%.7g"),
        }
        return cls(png(drawn.page), files)


def png(figure: Figure) -> bytes:
    """Return the figure as PNG bytes that hold no time and no version."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format="png",
        dpi=PIXELS / figure.get_figwidth(),
        metadata={"Software": None},
        pil_kwargs={"optimize": True},
    )
    return buffer.getvalue()


def svg(figure: Figure, name: str, title: str) -> str:
    """Return the figure as SVG, the same text each time; `name` seeds the ids in it."""
    import matplotlib

    buffer = io.StringIO()
    style: Any = {"svg.hashsalt": name, "svg.fonttype": "none", "font.sans-serif": [FONT]}
    with matplotlib.rc_context(style):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    text = buffer.getvalue()
    return text.replace(" <defs>", f" <style>{_faces(text)}</style>\n <defs>", 1)


def _faces(text: str) -> str:
    """Return style rules with the letters that a drawing needs, regular and bold."""
    words = re.findall(r"<text style=\"([^\"]*)\"[^>]*>([^<]*)", text)
    rules = []
    for weight in ("normal", "bold"):
        bold = weight == "bold"
        letters = "".join(sorted({c for how, of in words if bold == ("700" in how) for c in of}))
        if letters:
            source = f"url(data:font/woff;base64,{_letters(weight, letters)})"
            rules.append(
                f"@font-face {{font-family: '{FONT}'; font-weight: {weight}; src: {source}}}"
            )
    return " ".join(rules)


@functools.cache
def _letters(weight: str, letters: str) -> str:
    """Return the font with these letters alone, as WOFF in base64."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont
    from matplotlib.font_manager import FontProperties, findfont

    font = TTFont(findfont(FontProperties(family=FONT, weight=weight)), recalcTimestamp=False)
    wanted = Options(hinting=False, layout_features=[], notdef_outline=True, name_IDs=[])
    wanted.drop_tables += ["FFTM"]  # when the font was made, which fontTools would complain about
    subsetter = Subsetter(wanted)
    subsetter.populate(text=letters)
    subsetter.subset(font)
    font.flavor = "woff"
    buffer = io.BytesIO()
    font.save(buffer)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
