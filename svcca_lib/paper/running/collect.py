"""Gather a sweep over its seeds: ledgers with spreads, figures with means and intervals.

Jobs that differ in the seed alone are one group. Of each claim it gives the mean over the seeds,
Student's interval of that mean, which decides, and how many seeds the claim holds for; of each
figure, mean and interval of every number that the chapter drew, and a drawing of them.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from svcca_lib.paper.chapter.claims import Claim, intervals
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.chapter.tables import flat, with_column
from svcca_lib.paper.experiments.statistics import half_widths
from svcca_lib.paper.figures.over_seeds import over_seeds
from svcca_lib.paper.running import table
from svcca_lib.paper.running.grid import point
from svcca_lib.paper.running.plan import Job, Layout, Plan
from svcca_lib.paper.running.table import Row
from svcca_lib.paper.store.files import write_json

_STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem }
tr { border-bottom: 1px solid #ccc }
caption { text-align: left; font-weight: bold }
img { max-width: 100%; background: white }
"""


@dataclass(frozen=True)
class Group:
    """The jobs of one chapter that differ in the seed alone."""

    name: str  # chapter and parameters: a folder of collected/
    seeds: tuple[int, ...]  # of the jobs that are done
    missing: int  # jobs that are not
    shared: bool  # whether jobs use networks of one another: intervals are too narrow then
    ledger: Ledger  # its claims are decided by Student's interval of what each seed measured
    holding: tuple[int, ...]  # for each claim, how many seeds it holds for by itself
    figures: tuple[str, ...] = ()  # that all seeds drew alike, and so could be gathered
    left_out: tuple[str, ...] = ()  # the others

    def to_dict(self) -> dict[str, Any]:
        """Return the group as JSON-ready values."""
        claims = [claim.to_dict() | {"seeds_holding": holding} for claim, holding in _pairs(self)]
        return {
            "name": self.name,
            "seeds": self.seeds,
            "missing": self.missing,
            "seeds_share_networks": self.shared,
            "claims": claims,
            "figures": self.figures,
            "figures_left_out": self.left_out,
        }


def collect(folder: Path, level: float = 0.95) -> list[Group]:
    """Gather a sweep into ``collected/`` of its folder; `level` is the coverage of the intervals.

    Jobs that are not done are left out, and counted. ValueError if the folder holds no sweep, or
    none of its jobs is done.
    """
    plan, layout = Plan.read(folder), Layout(folder)
    together: dict[str, list[Row]] = {}
    for row in table.rows(plan, layout):
        together.setdefault(_group_name(row.job), []).append(row)
    groups = []
    for name, rows in sorted(together.items()):
        done = sorted(
            (row for row in rows if row.state == "done" and row.claims),
            key=lambda row: row.job.parameters.get("seed", 0),
        )
        if done:
            groups.append(_gather(layout, name, done, len(rows) - len(done), level))
    if not groups:
        raise ValueError(f"none of the {len(plan.jobs)} jobs in {folder} is done")
    write_json(layout.collected / "ledger.json", [group.to_dict() for group in groups])
    lines = [_line(group, claim, held) for group in groups for claim, held in _pairs(group)]
    pd.DataFrame(lines).to_csv(layout.collected / "ledger.csv", index=False)
    layout.page.write_text(_page(groups, level), encoding="utf-8")
    return groups


def _group_name(job: Job) -> str:
    """Name a job by everything but its seed."""
    rest = {name: value for name, value in job.parameters.items() if name != "seed"}
    return f"{job.chapter}/{point(rest)}"


def _gather(layout: Layout, name: str, rows: Sequence[Row], missing: int, level: float) -> Group:
    ledgers = [Ledger.read(layout.results(row.job.name)) for row in rows]
    ids = [claim.id for claim in ledgers[0].claims]
    if any([claim.id for claim in ledger.claims] != ids for ledger in ledgers):
        raise ValueError(f"the jobs of {name} make different claims: resume the sweep first")
    together = list(zip(*(ledger.claims for ledger in ledgers), strict=True))
    used = Counter(t.id for row in rows for t in row.job.trainings)
    folders = [layout.results(row.job.name) for row in rows]
    drawn, left_out = _figures(folders, layout.collected / name, level)
    return Group(
        name,
        tuple(row.job.parameters.get("seed", 0) for row in rows),
        missing,
        any(count > 1 for count in used.values()),
        replace(ledgers[0], claims=tuple(_over_seeds(c, level) for c in together), making=None),
        tuple(sum(claim.holds for claim in claims) for claims in together),
        drawn,
        left_out,
    )


def _over_seeds(claims: Sequence[Claim], level: float) -> Claim:
    """Return one claim whose values are what each seed measured."""
    first = claims[0]
    if len(claims) == 1:
        return first
    values = tuple(claim.measured for claim in claims)
    nulls = [claim.null for claim in claims if claim.null is not None] or None
    interval, margin = intervals(values, nulls, level=level)
    mean = None if nulls is None else float(np.mean(nulls))
    return replace(first, values=values, over="seeds", interval=interval, null=mean, margin=margin)


def _figures(
    folders: Sequence[Path], target: Path, level: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Gather the figures' data; return the names of those that could be, and of the others."""
    target.mkdir(parents=True, exist_ok=True)
    drawn, left_out = [], []
    for path in sorted(folders[0].glob("*.csv")):
        paths = [folder / path.name for folder in folders]
        tables = [pd.read_csv(p) for p in paths if p.is_file()]
        numbers = [table.select_dtypes("number") for table in tables]
        first = numbers[0]
        alike = all(n.shape == first.shape and list(n.columns) == list(first) for n in numbers)
        if len(tables) < len(folders) or not alike or first.empty:
            left_out.append(path.stem)
            continue
        stacked = np.stack([table.to_numpy(np.float64) for table in numbers])
        mean, half = stacked.mean(0), half_widths(stacked, level)
        parts = {"": mean, ".low": mean - half, ".high": mean + half}
        frames = {end: pd.DataFrame(a, columns=first.columns) for end, a in parts.items()}
        pd.concat([f.add_suffix(end) for end, f in frames.items()], axis="columns").to_csv(
            target / path.name, index=False, float_format="%.9g"
        )
        figure = over_seeds(frames[""], frames[".low"], frames[".high"])
        figure.savefig(target / f"{path.stem}.svg", metadata={"Date": None})
        drawn.append(path.stem)
    return tuple(drawn), tuple(left_out)


def _pairs(group: Group) -> Iterable[tuple[Claim, int]]:
    return zip(group.ledger.claims, group.holding, strict=True)


def _line(group: Group, claim: Claim, holding: int) -> dict[str, Any]:
    return {
        "group": group.name,
        "seeds": len(group.seeds),
        **flat(claim),
        "seeds_holding": holding,
        "seeds_share_networks": group.shared,
    }


def _page(groups: Sequence[Group], level: float) -> str:
    """Return one page with every ledger and figure."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>A sweep over seeds</title>",
        f'<meta name=viewport content="width=device-width"><style>{_STYLE}</style>',
        "<h1>A sweep over seeds</h1>",
        "<p>Means over seeds; in parentheses Student's "
        f"{100 * level:.0f} % interval of the mean.</p>",
    ]
    for group in groups:
        seeds = ", ".join(map(str, group.seeds))
        parts.append(f"<h2>{html.escape(group.name)}</h2><p>Seeds {seeds}.")
        if group.missing:
            parts.append(f" <strong>{group.missing} more are not done.</strong>")
        if group.shared and len(group.seeds) > 1:
            parts.append(
                " Jobs of neighbouring seeds share networks here, so they are not independent and "
                "the intervals are too narrow; take seeds further apart."
            )
        holding = [f"holds for {count} of {len(group.seeds)}" for count in group.holding]
        parts.append("</p>" + with_column(group.ledger.claims, "Seeds", holding, f"{group.name}-"))
        for figure in group.figures:
            source = html.escape(f"{group.name}/{figure}")
            parts.append(
                f'<figure><img src="{source}.svg" alt="{html.escape(figure)}: mean and interval">'
                f'<figcaption>{html.escape(figure)}, <a href="{source}.csv">numbers</a>'
                "</figcaption></figure>"
            )
        if group.left_out:
            parts.append(
                f"<p>Drawn differently from seed to seed: {', '.join(group.left_out)}.</p>"
            )
    return "\n".join([*parts, "</html>\n"])
