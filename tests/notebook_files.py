"""Notebooks and sweeps that tests write, and what executed notebooks printed."""

import textwrap

import nbformat
import pandas as pd

from svcca_lib.paper.chapter.claims import Claim, Rule
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.running.grid import grid
from svcca_lib.paper.running.plan import Layout
from svcca_lib.paper.store.files import write_json
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

PARAMETERS = """
profile = "quick"  # quick, cifar10 or paper
seed = 0
data = ""
out = ""
keep = 0.99
deep = False
widths = (
    1,
    2,
)
"""


def write(path, *cells, tag="parameters"):
    """Write a stand-in chapter: a parameters cell and the given code cells."""
    code = [nbformat.v4.new_code_cell(textwrap.dedent(cell).strip()) for cell in cells]
    first = nbformat.v4.new_code_cell(PARAMETERS.strip(), metadata={"tags": [tag]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(
        nbformat.v4.new_notebook(cells=[first, *code], metadata={"kernelspec": kernel}), path
    )
    return path


def texts(path):
    """Return the printed text of each code cell of an executed notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return ["".join(o.get("text", "") for o in c.outputs) for c in cells if c.cell_type == "code"]


def make_sweep(folder, values, chapter="stand-in"):
    """Write a sweep whose jobs are done and measured `values`, without running it."""
    notebook = write(folder / f"{chapter}.ipynb")
    plan = grid(ROOT, [notebook], {"seed": [f"0-{len(values) - 1}"]})
    plan.write(folder)
    layout = Layout(folder)
    for job, value in zip(plan.jobs, values, strict=True):
        claim = Claim(
            "high", "ours", "Figure 1", "it is <high>", Rule(low=1.0), (value,), paper=2.0,
            interval=(value, value), over="images",
        )  # fmt: skip
        layout.results(job.name).mkdir(parents=True)
        ledger = Ledger(chapter, "quick", job.parameters["seed"], "digits", (claim,))
        ledger.write(layout.results(job.name))
        curve = {"series": "curve", "mark": "line", "x": [0, 1, 2]}
        frame = pd.DataFrame({**curve, "y": [value, value + 1, value + 2]})
        frame.to_csv(layout.results(job.name) / "figure-1.csv", index=False)
        odd = pd.DataFrame({"series": "odd", "mark": "line", "x": range(int(value)), "y": 0})
        odd.to_csv(layout.results(job.name) / "odd.csv", index=False)
        layout.notebook(job.name).parent.mkdir(parents=True, exist_ok=True)
        layout.notebook(job.name).write_text("{}")
        write_json(layout.record(job.name), {"seconds": 1.5, "cpu_seconds": 1.0})
    return layout, plan
