"""A chapter's code from its first cell to its last, in this process."""

import nbformat

from svcca_lib.paper.chapter import chapter as chapters
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.store.store import Store


def runner(notebook, folder, monkeypatch):
    """Return what runs it with given parameters, and then gives what it displayed and its ledger.

    It keeps what it makes in the folder.
    """
    shown = []
    monkeypatch.setattr(chapters, "_display", lambda data, metadata=None: shown.append(data))
    monkeypatch.setattr(chapters, "default_store", lambda: Store(folder / "store"), raising=True)

    def run(**given):
        cells = nbformat.read(notebook, as_version=4).cells
        names = {"display": lambda what: shown.append({"table": what})}
        for cell in (cell for cell in cells if cell.cell_type == "code"):
            exec(cell.source, names)
            if "parameters" in cell.metadata.tags:
                names.update(given, out=str(folder / "out"))
        return shown, Ledger.read(folder / "out")

    return run
