"""How much faster two workers are than one: `python workflow/scaling.py`; wants a quiet machine.

The same jobs (chapter 1 at several thresholds, its networks trained beforehand) run with one core
and with two, one thread each, in turns. Efficiency is the time of one worker over twice that of
two. CPU seconds per job, which other processes disturb less, say how much the workers get in each
other's way; the difference of the two is the engine's own time and the waiting for the last job.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def sweep(folder: Path, cores: int, jobs: int) -> tuple[float, float, float]:
    """Run the jobs; return the seconds in all, and the seconds and CPU seconds of the jobs."""
    keep = ",".join(f"{0.99 - 0.001 * i:.3f}" for i in range(jobs))
    command = [
        *(sys.executable, "-m", "svcca_lib", "run", ROOT / "book" / "01-toy-regression.ipynb"),
        *("-p", f"keep={keep}", "--out", folder, "--cores", str(cores), "--threads", "1"),
    ]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    rows = json.loads((folder / "table.json").read_text())
    assert len(rows) == jobs
    return seconds, sum(r["seconds"] for r in rows), sum(r["cpu_seconds"] for r in rows)


def main() -> None:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        sweep(Path(folder, "warm"), 2, 1)
        for repeat in range(given.repeats):
            for cores, times in found.items():
                times.append(sweep(Path(folder, f"{cores}-{repeat}"), cores, given.jobs))
    print(f"{given.jobs} jobs, median of {given.repeats}")
    print("workers  seconds  seconds a job  CPU seconds a job")
    middle = {c: [statistics.median(t) for t in zip(*ts, strict=True)] for c, ts in found.items()}
    for cores, (whole, wall, cpu) in middle.items():
        print(f"{cores:7}{whole:9.1f}{wall / given.jobs:15.2f}{cpu / given.jobs:19.2f}")
    print(f"efficiency {middle[1][0] / (2 * middle[2][0]):.2f}")
    print(f"CPU seconds, one worker over two {middle[1][2] / middle[2][2]:.2f}")


if __name__ == "__main__":
    main()
