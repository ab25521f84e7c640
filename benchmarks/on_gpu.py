"""Times on a GPU against this machine's processor, each pair in one run on the same data.

    python benchmarks/on_gpu.py [--device cuda] [--quick] [--out FOLDER]

Prints a table and writes it to FOLDER/gpu.md and gpu.json: seconds on both, how many times as fast
the GPU is, and how far the two results are from each other. Data lie on the device beforehand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from svcca_lib import Moments, compare, dft_cca, pairwise, svcca
from svcca_lib.paper.experiments.cost import seconds


@dataclass
class Row:
    """One piece of work on both."""

    work: str
    cpu_s: float
    device_s: float
    difference: float  # largest, of the numbers that come out

    @property
    def times(self) -> float:
        """How many times as fast as the processor."""
        return self.cpu_s / self.device_s


def work(quick: bool) -> Iterator[tuple[str, list[Tensor], Callable[..., Tensor]]]:
    """Yield what is done: its name, its data, and the call, which gives numbers to compare."""
    generator = torch.Generator().manual_seed(0)

    def layer(*shape: int) -> Tensor:
        shared = torch.randn(shape[0], *[1] * (len(shape) - 1), generator=generator)
        return torch.randn(*shape, generator=generator, dtype=torch.float64) + shared

    n, p, c, side, model = (500, 40, 4, 6, 40) if quick else (10_000, 1024, 64, 16, 1024)

    def number(similarity: float | Tensor) -> Tensor:
        return torch.as_tensor(similarity)

    yield (
        f"one svcca pair, n = {n:,}, {p} neurons",
        [layer(n, p), layer(n, p)],
        lambda x, y: number(svcca(x, y).similarity),
    )
    yield (
        f"all pairs of 8 layers, n = {n:,}, {p} neurons",
        [layer(n, p) for _ in range(8)],
        lambda *layers: torch.as_tensor(pairwise(list(layers))),
    )
    yield (
        f"dft_cca, n = {n // 5:,}, {c} channels of {side} x {side}",
        [layer(n // 5, c, side, side) for _ in range(2)],
        lambda x, y: number(dft_cca(x, y).similarity),
    )

    def streamed(*batches: Tensor) -> Tensor:
        moments = Moments()
        for batch in batches:
            moments.update(batch, batch.flip(1))
        return number(svcca(moments).similarity)

    rows = 20 * n
    yield f"moments of {rows:,} x {p} in batches of {n:,}", [layer(n, p)] * 20, streamed

    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(model, model), nn.GELU()) for _ in range(6)]
    network = nn.Sequential(*blocks).eval()

    def compared(x: Tensor) -> Tensor:
        there = network.to(x.device)
        table = compare(there, there, x.float(), "all", progress=False)
        return torch.as_tensor(table.matrix)

    yield f"two models of 6 layers of {model}, n = {n:,}", [layer(n, model)], compared


def measured(device: torch.device, *, quick: bool) -> list[Row]:
    """Do all of it on the processor and on a device, in turn, the first round not counted."""
    rows = []
    for name, data, call in work(quick):
        given = {"here": data, "there": [part.to(device) for part in data]}
        found: dict[str, Tensor] = {}

        def done(where: str, call: Any = call, given: Any = given, found: Any = found) -> None:
            found[where] = call(*given[where])
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        works = {where: partial(done, where) for where in given}
        times = seconds(works, repeats=1 if quick else 3, warm_up=1)
        here, there = (found[where].detach().cpu().double() for where in given)
        rows.append(Row(name, times["here"], times["there"], float((here - there).abs().max())))
        print(f"{name}: {rows[-1].times:.1f} times as fast", file=sys.stderr)
    return rows


def markdown(rows: list[Row], device: str) -> str:
    """Render the table."""
    lines = [
        f"| work | processor | {device} | times as fast | results differ by |",
        "|:--|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {r.work} | {r.cpu_s:.3g} s | {r.device_s:.3g} s | {r.times:.3g} | {r.difference:.0e} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=torch.device, default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat")
    parser.add_argument("--out", type=Path, default=Path())
    arguments = parser.parse_args()
    device = arguments.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    rows = measured(device, quick=arguments.quick)
    text = markdown(rows, name)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "gpu.md").write_text(text, encoding="utf-8")
    result = {"device": name, "torch": torch.__version__, "rows": [asdict(row) for row in rows]}
    (arguments.out / "gpu.json").write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
