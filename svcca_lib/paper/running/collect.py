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

from svcca_lib.names import cells_of, markup
from svcca_lib.paper.chapter.claims import Claim, intervals
from svcca_lib.paper.chapter.drawings import svg
from svcca_lib.paper.chapter.ledger import CLAIMS, Ledger
from svcca_lib.paper.chapter.tables import flat, with_column
from svcca_lib.paper.experiments.statistics import half_widths
from svcca_lib.paper.figures.over_seeds import over_seeds
from svcca_lib.paper.figures.tidy import WORDS
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
    states: tuple[str, ...]  # of all its jobs, as `status` says them
    shared: bool  # whether jobs use networks of one another: intervals are too narrow then
    ledger: Ledger  # its claims are decided by Student's interval of what each seed measured
    # for each claim, how many seeds it holds for by itself, and how many made it
    holding: tuple[int, ...]
    made: tuple[int, ...]
    figures: tuple[str, ...] = ()  # that all seeds drew alike, and so could be gathered
    left_out: tuple[str, ...] = ()  # the others

    @property
    def missing(self) -> int:
        """Jobs that are not done."""
        return len(self.states) - len(self.seeds)

    def to_dict(self) -> dict[str, Any]:
        """Return the group as JSON-ready values."""
        claims = [
            claim.to_dict() | {"seeds_holding": holding, "seeds_claiming": made}
            for claim, holding, made in _each(self)
        ]
        return {
            "name": self.name,
            "seeds": self.seeds,
            "missing": self.missing,
            "jobs": Counter(self.states),
            "seeds_share_networks": self.shared,
            "claims": claims,
            "figures": self.figures,
            "figures_left_out": self.left_out,
        }


def collect(folder: Path, level: float = 0.95) -> list[Group]:
    """Gather a sweep into ``collected/`` of its folder; `level` is the coverage of the intervals.

    What `status` does not call done is left out, and counted; a claim that not every seed made is
    of those that did. ValueError if the folder holds no sweep, or none of its jobs is done.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95; got {level:g}")
    plan, layout = Plan.read(folder), Layout(folder)
    rows = table.rows(plan, layout)
    if not any(row.state == "done" for row in rows):
        raise ValueError(f"nothing to collect in {folder}: {table.counts(r.state for r in rows)}")
    together: dict[str, list[Row]] = {}
    for row in rows:
        together.setdefault(_group_name(row.job), []).append(row)
    groups = [_gather(layout, name, rows, level) for name, rows in sorted(together.items())]
    write_json(layout.collected / "ledger.json", [group.to_dict() for group in groups])
    lines = [_line(group, *each) for group in groups for each in _each(group)]
    pd.DataFrame(map(cells_of, lines)).to_csv(layout.collected / "ledger.csv", index=False)
    layout.page.write_text(_page(groups, level), encoding="utf-8")
    return groups


def _group_name(job: Job) -> str:
    """Name a job by everything but its seed."""
    rest = {name: value for name, value in job.parameters.items() if name != "seed"}
    return f"{Path(job.name).parent}/{point(rest)}"


def _gather(layout: Layout, name: str, rows: Sequence[Row], level: float) -> Group:
    done = [row for row in rows if row.state == "done"]
    done.sort(key=lambda row: row.job.parameters.get("seed", 0))
    folders = [layout.results(row.job.name) for row in done]
    ledgers = [_ledger(folder) for folder in folders if (folder / CLAIMS).is_file()]
    together: dict[str, list[Claim]] = {}
    for claim in (claim for ledger in ledgers for claim in ledger.claims):
        together.setdefault(claim.id, []).append(claim)
    first = ledgers[0] if ledgers else Ledger(rows[0].job.chapter, "", 0, "", ())
    used = Counter(t.id for row in done for t in row.job.trainings)
    drawn, left_out = _figures(folders, layout.collected / name, level) if done else ((), ())
    return Group(
        name,
        tuple(row.job.parameters.get("seed", 0) for row in done),
        tuple(row.state for row in rows),
        any(count > 1 for count in used.values()),
        replace(first, claims=tuple(_over_seeds(c, level) for c in together.values()), making=None),
        tuple(sum(claim.holds for claim in claims) for claims in together.values()),
        tuple(map(len, together.values())),
        drawn,
        left_out,
    )


def _ledger(results: Path) -> Ledger:
    try:
        return Ledger.read(results)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{results / CLAIMS} is of another version of this code ({error}): remove the folder "
            "and resume the sweep"
        ) from None


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
        # Words that are drawn say rounded numbers, of one seed.
        tables = [table[table["mark"] != "text"].reset_index(drop=True) for table in tables]
        first = tables[0]
        words = first[first.columns.intersection(WORDS)]
        alike = all(
            list(table) == list(first) and table[words.columns].equals(words) for table in tables
        )
        if len(tables) < len(folders) or not alike or first.empty:
            left_out.append(path.stem)
            continue
        numbers = [column for column in first if column not in WORDS]
        stacked = np.stack([table[numbers].to_numpy(np.float64) for table in tables])
        mean, half = stacked.mean(0), half_widths(stacked, level)
        parts = {"": mean, ".low": mean - half, ".high": mean + half}
        frames = {end: pd.DataFrame(a, columns=numbers) for end, a in parts.items()}
        pd.concat([words, *(f.add_suffix(end) for end, f in frames.items())], axis=1).to_csv(
            target / path.name, index=False, float_format="%.9g"
        )
        whole, low, high = (pd.concat([words, frame], axis=1) for frame in frames.values())
        text = svg(over_seeds(whole, low, high).page, path.stem, f"{path.stem}: mean and interval")
        (target / f"{path.stem}.svg").write_text(text, encoding="utf-8", newline="\n")
        drawn.append(path.stem)
    return tuple(drawn), tuple(left_out)


def _each(group: Group) -> Iterable[tuple[Claim, int, int]]:
    return zip(group.ledger.claims, group.holding, group.made, strict=True)


def _line(group: Group, claim: Claim, holding: int, made: int) -> dict[str, Any]:
    return {
        "group": group.name,
        "seeds": made,
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
        seeds = f"Seeds {', '.join(map(str, group.seeds))}." if group.seeds else ""
        parts.append(f"<h2>{markup(group.name)}</h2><p>{seeds}")
        if group.missing:
            parts.append(f" <strong>{table.counts(group.states)}.</strong>")
        if group.shared and len(group.seeds) > 1:
            parts.append(
                " Jobs of neighbouring seeds share networks here, so they are not independent and "
                "the intervals are too narrow; take seeds further apart."
            )
        parts.append("</p>")
        if group.ledger.claims:
            holding = [f"holds for {count} of {made}" for _, count, made in _each(group)]
            parts.append(with_column(group.ledger.claims, "Seeds", holding, f"{group.name}-"))
        for figure in group.figures:
            source = html.escape(f"{group.name}/{figure}")
            parts.append(
                f'<figure><img src="{source}.svg" alt="{html.escape(figure)}: mean and interval">'
                f'<figcaption>{markup(figure)}, <a href="{source}.csv">numbers</a>'
                "</figcaption></figure>"
            )
        if group.left_out:
            names = ", ".join(map(markup, group.left_out))
            parts.append(f"<p>Drawn differently from seed to seed: {names}.</p>")
    return "\n".join([*parts, "</html>\n"])
