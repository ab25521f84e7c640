"""How a figure that a chapter shows appears in the built book: numbered, captioned, described.

MyST-NB asks this renderer, which pyproject.toml registers, for every output. Without it a caption
would have to be kept in the metadata of the notebook cell, away from the code, where it could not
say what was measured; and an alt text could not be given by the code at all.
"""

from __future__ import annotations

from docutils import nodes
from myst_nb.core.render import MimeData, MimeRenderPlugin, NbElementRenderer, create_figure_context

from svcca_lib.paper.chapter import FIGURE_METADATA


class FigureRenderer(MimeRenderPlugin):
    """Renders the images that `Chapter.show` displays, and leaves all others alone."""

    @staticmethod
    def handle_mime(
        renderer: NbElementRenderer, data: MimeData, inline: bool
    ) -> list[nodes.Element] | None:
        """Return the image with its alt text, as a numbered figure if it has a caption."""
        shown = data.output_metadata.get(FIGURE_METADATA)
        if inline or shown is None or data.mime_type != "image/png":
            return None
        [image] = renderer.render_image(data)
        image["alt"] = shown["alt"]
        if not shown["caption"]:
            return [image]
        page = renderer.renderer
        holder = nodes.Element()
        options = {"name": shown["name"], "caption": shown["caption"]}
        with page.current_node_context(holder), create_figure_context(page, options, data.line):
            page.current_node.append(image)
        return holder.children
