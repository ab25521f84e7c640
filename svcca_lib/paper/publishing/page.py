"""How a chapter appears in the built book: its figures, its folded code, its launch buttons.

A figure is a numbered drawing with a caption and an alt text, sharp at any size, in one version
for light and one for dark pages, with its numbers and its drawing to download. All of it comes
from the executed notebook: MyST-NB asks the renderer below, which pyproject.toml registers, for
every output, and `_config.yml` loads this module as a Sphinx extension.
"""

from __future__ import annotations

import html
import json
import operator
import posixpath
import re
from binascii import a2b_base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from docutils import nodes
from myst_nb.core.render import MimeData, MimeRenderPlugin, NbElementRenderer, create_figure_context
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx
from sphinx.config import Config

from svcca_lib.paper.chapter.claims import Verdict
from svcca_lib.paper.chapter.dashboard import made
from svcca_lib.paper.chapter.drawings import SHOWN
from svcca_lib.paper.chapter.gathered import LEDGER
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.chapter.outputs import (
    CAPTION_METADATA,
    FIGURE_METADATA,
    LEDGER_METADATA,
    outputs_of,
    unpacked,
)
from svcca_lib.paper.chapter.scores import worded
from svcca_lib.paper.figures.dark import darkened
from svcca_lib.paper.publishing.address import repository
from svcca_lib.paper.publishing.moving import renew
from svcca_lib.paper.publishing.results import counted

_SOURCES = '<div class="citation-list">'
DOWNLOADS = {"csv": "Data (CSV)", "svg": "Vector image (SVG)"}
# Vector drawings by their endings: what is added to their names, the class that shows them where
# there are both, and their width in CSS pixels, where there is room for it.
DRAWINGS = {"svg": ("", "on-page", SHOWN), "phone.svg": ("-phone", "on-phone", 480)}
# Tags of cells that are not folded, or are already.
UNFOLDED = {"show-input", "hide-cell"}
IN_SHORT = "in-short"  # class of the box at the head of a chapter
PARAMETERS = {"parameters", "injected-parameters"}  # tags of a chapter's parameters
LAUNCH, PUBLISHED = "launch", "gh-pages"  # folder and branch of the notebooks that Colab opens


class Drawn(nodes.image):  # type: ignore[misc]
    """An image whose place on the page is known before it is loaded, so that nothing moves then."""


def _draw(self: Any, node: Drawn) -> None:
    place = posixpath.join(self.builder.imgpath, quote(self.builder.images[node["uri"]]))
    about = {name: node[name] for name in ("alt", "width", "height")}
    # Lazy: of all versions, only the one that is seen is loaded.
    self.body.append(self.emptytag(node, "img", "\n", src=place, loading="lazy", **about))


class FigureRenderer(MimeRenderPlugin):  # type: ignore[misc]
    """Renders the images that `Chapter.show` displays, and leaves all others alone."""

    @staticmethod
    def handle_mime(
        renderer: NbElementRenderer, data: MimeData, inline: bool
    ) -> list[nodes.Element] | None:
        """Return the drawing with its alt text, as a numbered figure if it has a caption."""
        if CAPTION_METADATA in data.output_metadata:
            return []  # it is in the figure
        shown = data.output_metadata.get(FIGURE_METADATA)
        if inline or shown is None or data.mime_type != "image/png":
            return None
        [image] = renderer.render_image(data)
        files = {kind: unpacked(text) for kind, text in shown.get("files", {}).items()}
        vector = [kind for kind in DRAWINGS if kind in files]
        files |= {kind: slim(files[kind]) for kind in vector}
        folder = Path(renderer.source).stem

        def write(name: str, text: str) -> str:
            return str(renderer.write_file([folder, name], text.encode(), overwrite=True))

        def drawn(uri: str, size: tuple[int, int], *classes: str) -> Drawn:
            width, height = size
            about = {"alt": shown["alt"], "width": width, "height": height}
            return Drawn("", uri=uri, classes=list(classes), **about)

        drawings = []
        for kind in vector:
            added, fitting, width = DRAWINGS[kind]
            classes = [fitting] if len(vector) > 1 else []
            size = width, round(width / proportion(files[kind]))
            for shade, ending in (("light", ""), ("dark", "-dark")):
                text = darkened(files[kind]) if ending else files[kind]
                uri = write(f"{shown['name']}{added}{ending}.svg", text)
                drawings.append(drawn(uri, size, f"only-{shade}", *classes))
        if not drawings:
            pixels = a2b_base64(data.content)
            shape = (int.from_bytes(pixels[i : i + 4], "big") for i in (16, 20))
            ratio = operator.truediv(*shape)
            drawings = [drawn(image["uri"], (SHOWN, round(SHOWN / ratio)))]
        card = nodes.container("", *drawings, classes=["drawing"])
        links = [
            download_reference(
                "",
                "",
                nodes.inline("", label, classes=["download"]),
                reftarget=write(f"{shown['name']}.{kind}", files[kind]),
            )
            for kind, label in DOWNLOADS.items()
            if kind in files
        ]
        said = [nodes.paragraph("", "", *links)] if links else []
        if shown.get("artefact"):
            said.append(_origin(shown))
        below = [nodes.legend("", *said)] if said else []
        if not shown["caption"]:
            return [card, *said]
        page = renderer.renderer
        holder = nodes.Element()
        options = {"name": shown["name"], "caption": shown["caption"]}
        with page.current_node_context(holder), create_figure_context(page, options, data.line):
            page.current_node.append(card)
        figure = holder.children[-1]
        assert isinstance(figure, nodes.figure)
        figure += below
        return list(holder.children)


def _origin(shown: Mapping[str, str]) -> nodes.paragraph:
    """Say below a caption what the figure was made from; the ledger's row says the rest."""
    chapter = int(shown["chapter"].partition("-")[0])
    text = f"Made by chapter {chapter} from networks {shown['artefact']}"
    link = nodes.reference("", text, refuri=f"{LEDGER}.html#{made(shown['name'])}", internal=True)
    return nodes.paragraph("", "", link, classes=["origin"])


def folded(notebook: str) -> str:
    """Return a notebook (JSON) as a page shows it: its code is hidden until it is asked for.

    Cells that are tagged ``show-input`` stay in sight. There is one box of parameters: what a run
    was given stands below the defaults, in their cell. Figures that a reader can move are drawn
    by the scripts of today.
    """
    content = json.loads(notebook)
    cells = content["cells"]
    boxes = [c for c in cells if PARAMETERS & set(c["metadata"].get("tags", ()))]
    for given in boxes[1:]:
        boxes[0]["source"] = f"{_text(boxes[0])}\n\n{_text(given)}"
        cells.remove(given)
    for cell in cells:
        tags = cell["metadata"].setdefault("tags", [])
        if cell["cell_type"] == "code" and not UNFOLDED & set(tags):
            tags.append("hide-input")
        if PARAMETERS & set(tags):
            cell["metadata"]["mystnb"] = {
                "code_prompt_show": "Show the parameters",
                "code_prompt_hide": "Hide the parameters",
            }
    renew(content)
    _say_verdicts(content)
    return json.dumps(content)


def _say_verdicts(content: Mapping[str, Any]) -> None:
    """Say in the box at the head of a chapter how its claims fared, and which fail."""
    about = [output.get("metadata", {}) for output in outputs_of(content)]
    found = [metadata[LEDGER_METADATA] for metadata in about if LEDGER_METADATA in metadata]
    first = content["cells"][0]
    head, box, rest = _text(first).partition(f":class: {IN_SHORT}\n")
    if not found or not box:
        return
    claims = [c for c in Ledger.from_dict(found[0]).claims if c.kind != "check"]
    if not claims:  # all are omitted, and the page says why
        return
    failing = (
        f'<a href="#claim-{c.id}">{html.escape(c.statement)}</a>'
        for c in claims
        if c.verdict is Verdict.FAILS
    )
    lines = "".join(f"\n- {Verdict.FAILS.marked}: {line}" for line in failing)
    text, end, rest = rest.partition("\n:::")
    first["source"] = (
        f"{head}{box}{text}\n\nOf its statements {worded(counted(claims))}.\n{lines}{end}{rest}"
    )


def _text(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"]).rstrip()


def with_install(notebook: str, repository: str) -> str:
    """Return a notebook (JSON) that first installs what it imports, from the repository."""
    content = json.loads(notebook)
    install: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "id": "install",
        "metadata": {},
        "outputs": [],
        "source": f'%pip install --quiet "svcca-lib[book] @ git+{repository}"',
    }
    content["cells"].insert(0, install)
    return json.dumps(content, ensure_ascii=False)


def _fold(app: Sphinx, docname: str, source: list[str]) -> None:
    if app.env.doc2path(docname).endswith(".ipynb"):
        source[0] = folded(source[0])


def slim(svg: str) -> str:
    r"""Return the drawing without what no screen shows: indentation, comments, names, metadata.

    Matplotlib writes coordinates to a millionth of a point; a tenth is less than a screen's dot. Of
    numbers below ten, which may be widths, and below one, which may be scales, more digits stay.

    >>> slim('<g id="line2d_1">\n <!-- 12 -->\n <path d="M 12.345678 0.123456"/>\n</g>')
    '<g>\n<path d="M 12.3 0.1234"/>\n</g>'
    """
    unseen = r"<!-- .*? -->|(?<=<g) id=\"\w+\"|<metadata>.*?</metadata>"
    svg = re.sub(unseen, "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    svg = re.sub(r"\b([1-9]\d+\.\d)\d+", r"\1", svg)
    svg = re.sub(r"\b([1-9]\.\d\d)\d+", r"\1", svg)
    return re.sub(r"\b(0\.\d{4})\d+", r"\1", svg)


def proportion(svg: str) -> float:
    """Return how many times as wide as high a drawing is.

    >>> proportion('<svg width="300pt" height="150pt" viewBox="0 0 300 150">')
    2.0
    """
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    if found is None:
        raise ValueError("the drawing has no viewBox: it needs one to be given its place")
    width, height = map(float, found.groups())
    return width / height


def _without_launch(app: Sphinx, config: Config) -> None:
    """Leave launch buttons away until `_config.yml` has the repository's address.

    jupyter-book's own repository stands there until then.
    """
    if not repository(config):
        config.html_theme_options = config.html_theme_options | {"launch_buttons": {}}


def _dress(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Let the Colab button open the notebook that installs the package first."""
    # Code does not run in the page, and what would let it is declared twice, which is an error.
    scripts = context["script_files"]
    context["script_files"] = [s for s in scripts if "thebe" not in str(s).lower()]
    # A list of sources without the roles that ARIA deprecated, and that do not fit into a list.
    body = context.get("body", "").replace('<div role="list" class="citation-list">', _SOURCES)
    context["body"] = re.sub(r' role="doc-(biblioentry|backlink)"', "", body)
    branch = app.config.html_theme_options.get("repository_branch") or "master"
    for group in context.get("header_buttons", ()):
        for button in group.get("buttons", ()):
            if button.get("text") == "Colab":
                wanted = f"/blob/{PUBLISHED}/{LAUNCH}/"
                button["url"] = button["url"].replace(f"/blob/{branch}/", wanted)


def _each(app: Sphinx, kind: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Describe attributes that share a description each by itself, as parameters are.

    Napoleon leaves ``:ivar x, y: ...`` as it is, and Sphinx takes the first name for a type.
    """
    shared = r"^:(ivar|vartype) (\w+(?:, \w+)+):(.*(?:\n[ \t].*)*)"

    def apart(field: re.Match[str]) -> str:
        kind, names, said = field.groups()
        return "\n".join(f":{kind} {name}:{said}" for name in names.split(", "))

    lines[:] = re.sub(shared, apart, "\n".join(lines), flags=re.MULTILINE).split("\n")


def _finish(app: Sphinx, error: Exception | None) -> None:
    if error is not None:
        return
    # The theme draws its icons twice over: by this script of 1.5 MB, and by fonts, which suffice.
    Path(app.outdir, "_static", "scripts", "fontawesome.js").write_text("", encoding="utf-8")
    if address := repository(app.config):
        for docname in app.env.found_docs:
            source = Path(app.env.doc2path(docname))
            if source.suffix == ".ipynb":
                target = Path(app.outdir, LAUNCH, f"{docname}.ipynb")
                target.parent.mkdir(parents=True, exist_ok=True)
                text = with_install(source.read_text(encoding="utf-8"), address)
                target.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Take part in a build, as a Sphinx extension."""
    app.add_node(Drawn, html=(_draw, None))
    app.connect("config-inited", _without_launch)
    app.connect("source-read", _fold)
    app.connect("html-page-context", _dress, priority=900)  # after the theme's buttons
    app.connect("autodoc-process-docstring", _each, priority=900)  # after Napoleon
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
