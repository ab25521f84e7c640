"""What the site says of itself, beside its pages: where it lives, what it is, how to find things.

One setting decides all addresses: the repository's, in `_config.yml`. From it come the canonical
address of each page, the sitemap, the social cards and the lines that install and clone. Without it
(a site on one's own machine) there are none of these. `_config.yml` loads this module as a Sphinx
extension.
"""

from __future__ import annotations

import datetime
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from svcca_lib.paper.chapter.gathered import notebooks
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.publishing.address import pages_of, repository
from svcca_lib.paper.publishing.front import THUMBNAILS
from svcca_lib.paper.store.environment import environment

ADDRESS = "REPOSITORY-ADDRESS"  # stands for it in a page's text
UNKNOWN = "https://github.com/OWNER/NAME"  # is shown where it is not set
FRONT = "04-dynamics"  # the chapter whose thumbnail stands for pages that have none
NOT_FOUND = "404"
_SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
_TEST_SCALE = (
    "<strong>Test scale.</strong> {} of small networks on scikit-learn's 8 x 8 digits, made to be "
    "quick; the published book is the run on CIFAR-10."
)


def _addresses(app: Sphinx, config: Config) -> None:
    if not config.html_baseurl and (address := repository(config)):
        config.html_baseurl = pages_of(address)
    config.ogp_site_url = config.html_baseurl


def _profiles(app: Sphinx) -> None:
    """Find out at which profile each chapter ran; prose can be `only` for the first one."""
    found = {}
    for name, path in notebooks(Path(app.srcdir, "book")).items():
        with suppress(ValueError):  # the ledger's own page, and what has not run, hold no claims
            found[f"book/{name}"] = Ledger.read(path).profile
    app.config.svcca_profiles = found
    if found:
        app.tags.add(next(iter(found.values())))


def _prose_only(app: Sphinx) -> None:
    """Keep code and formulas out of the search index: what is looked for are words."""
    if app.builder.format != "html" or not hasattr(app.builder, "index_page"):
        return
    index = app.builder.index_page

    def without_code(page: str, doctree: nodes.document, title: str) -> None:
        prose = doctree.deepcopy()
        for node in list(prose.findall(lambda n: isinstance(n, _UNREAD))):
            node.parent.remove(node)
        index(page, prose, title)

    app.builder.index_page = without_code


_UNREAD = (nodes.literal_block, nodes.math_block, nodes.math)


def _address_in_text(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = source[0].replace(ADDRESS, repository(app.config) or UNKNOWN)


def _describe(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Give a page its picture, its footer, and the note that it is of the test scale."""
    name = page.rpartition("/")[2]
    meta = context.get("meta")
    if meta is not None:
        for chapter in (name, FRONT):
            image = f"{THUMBNAILS.as_posix()}/{chapter}.png"
            if Path(app.srcdir, "book", image).is_file():
                meta["og:image"] = image
                break
    root = context["pathto"](app.config.root_doc).removesuffix("#")  # "#" on the root itself
    context["theme_extra_footer"] = _footer(repository(app.config), f"{root}#cite-this")
    profiles = app.config.svcca_profiles
    whole = set(profiles.values()) == {"quick"}  # the ledger's page too is then of that scale
    if profiles.get(page) == "quick" or (page not in profiles and whole):
        said = "The whole site is" if whole else "This page is"
        context["theme_announcement"] = _TEST_SCALE.format(said)
    if page == NOT_FOUND and app.config.html_baseurl:
        # It is served in place of any address: what it links to is looked for from the root.
        base = f'<base href="{app.config.html_baseurl}">'
        context["metatags"] = base + context.get("metatags", "")


def _footer(address: str, cite: str) -> str:
    day = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    said = f"Version {version('svcca-lib')}, built on {day}"
    if commit := environment()["commit"]:
        short, _, edited = commit.partition("-")
        short = f"{short[:7]}{'+' if edited else ''}"
        link = f'<a href="{address}/commit/{short.rstrip("+")}">{short}</a>' if address else short
        said += f" from commit {link}"
    links = [f'<a href="{cite}">Cite this book</a>']
    if address:
        links.append(f'<a href="{address}">Code</a>')
    return f"<p>{said}</p><p>{' · '.join(links)}</p>"


def _not_found(app: Sphinx) -> list[tuple[str, dict[str, str], str]]:
    first = f"{app.config.root_doc}.html"
    body = (
        "<h1>No such page</h1><p>The address leads to nothing here. "
        f'The <a href="{first}">first page</a> has what was found and the contents; the search '
        "is on every page.</p>"
    )
    return [(NOT_FOUND, {"title": "No such page", "body": body}, "page.html")]


def _sitemap(app: Sphinx, error: Exception | None) -> None:
    base = app.config.html_baseurl
    if error is not None or not base or app.builder.name != "html":
        return
    ElementTree.register_namespace("", _SITEMAP)
    root = ElementTree.Element(f"{{{_SITEMAP}}}urlset")
    for page in sorted(app.env.found_docs):
        url = ElementTree.SubElement(root, f"{{{_SITEMAP}}}url")
        place = urljoin(base, app.builder.get_target_uri(page))
        ElementTree.SubElement(url, f"{{{_SITEMAP}}}loc").text = place
    file = Path(app.outdir, "sitemap.xml")
    ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    # A crawler reads it at the root of a host only; below one, it does no harm.
    robots = f"User-agent: *\nAllow: {urlsplit(base).path}\nSitemap: {urljoin(base, file.name)}\n"
    Path(app.outdir, "robots.txt").write_text(robots, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Take part in a build, as a Sphinx extension."""
    app.add_config_value("svcca_profiles", {}, "")
    app.connect("config-inited", _addresses)
    app.connect("builder-inited", _profiles)
    app.connect("builder-inited", _prose_only)
    app.connect("source-read", _address_in_text)
    app.connect("html-collect-pages", _not_found)
    app.connect("html-page-context", _describe, priority=400)  # before the social cards
    app.connect("build-finished", _sitemap)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
