"""Pages of the built book as readers see them, and what the stored notebooks say they show."""

import nbformat
import yaml

from svcca_lib.paper.chapter.outputs import FIGURE_METADATA
from svcca_lib.paper.publishing.pdf import chromium
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

CHROMIUM = chromium()
CONTENTS = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [
    CONTENTS["root"],
    *(entry["file"] for part in CONTENTS["parts"] for entry in part["chapters"]),
]
MOST = 3e6  # bytes that one page may load
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Visit:
    """One page as one reader sees it, and all that the browser had to say about it."""

    def __init__(self, browser, site, page, size=DESKTOP, scheme="light"):
        self.complaints, self.loaded = [], set()
        context = browser.new_context(viewport=size, color_scheme=scheme)
        self.tab = tab = context.new_page()
        tab.on("console", self._hear)
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("requestfailed", lambda request: self.complaints.append(request.url))
        tab.on("request", lambda request: self.loaded.add(request.url))
        tab.goto((site / f"{page}.html").as_uri())
        tab.evaluate("window.MathJax?.startup?.promise")

    def _hear(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def scroll_to_figures(self):
        """Return the drawings in sight one after the other, each loaded."""
        seen = "only-" + self.tab.evaluate("document.documentElement.dataset.theme")
        for image in self.tab.locator(f".bd-article .drawing img.{seen}:visible").all():
            image.scroll_into_view_if_needed()
            self.tab.wait_for_function(
                "i => i.complete && i.naturalWidth > 0", arg=image.element_handle()
            )
            yield image

    def inaccessible(self):
        """Return what axe-core finds that keeps some readers out."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.tab).response["violations"]
        return [
            f"{rule['id']}: {node['target']} {node['failureSummary']}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]


def figures(page):
    """Return the figures that the stored notebook of a page shows."""
    path = ROOT / f"{page}.ipynb"
    if not path.is_file():
        return []
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    shown = [output.get("metadata", {}).get(FIGURE_METADATA) for output in outputs]
    return [figure for figure in shown if figure]


CHAPTERS = [page for page in PAGES if figures(page)]
