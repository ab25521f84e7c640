"""`make bench`: our times against peers', each pair measured in one run on the same data.

Prints a table of ratios and writes it to benchmarks/results.md and results.json. `--quick` runs
the same code on small sizes, to see that it works.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import textbook
import torch
from torch import nn

import svcca_lib
from svcca_lib import compare, dft_cca, pairwise, svcca
from svcca_lib._linalg import one_thread_each

HERE = Path(__file__).parent


@dataclass
class Row:
    """One line of the table: ours against a peer, the ratio, and the target if there is one."""

    work: str
    peer: str
    ours_s: float
    peer_s: float
    ratio: float
    target: str
    note: str


def best(call: Callable[[], object], repeats: int) -> tuple[float, object]:
    """Shortest of some runs: the time without what else the machine did; and the result."""
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return min(times), result


def turns(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> list[float]:
    """Median times of two that take turns, and the median of their ratios, ours over theirs.

    What the machine is slowed down by, and at what clock it runs, is then the same for both.
    """
    times = np.array([[best(call, 1)[0] for call in (ours, theirs)] for _ in range(repeats)])
    return [*np.median(times, axis=0).tolist(), float(np.median(times[:, 0] / times[:, 1]))]


def power_law(rng: np.random.Generator, shared: np.ndarray, p: int, alpha: float) -> np.ndarray:
    """A layer (n, p) whose spectrum falls as i**-alpha, as activations' do; half of it shared."""
    n, k = shared.shape
    rows = rng.normal(size=(n, p))
    rows[:, : min(p, k)] += shared[:, : min(p, k)]
    rotation = np.linalg.qr(rng.normal(size=(p, p)))[0]
    return (rows * np.arange(1, p + 1) ** (-alpha / 2)) @ rotation + rng.normal(size=p)


def one_pair(rng, size, repeats) -> list[Row]:
    n, p = size["n"], size["p"]
    shared = rng.normal(size=(n, p))
    x, y = (power_law(rng, shared, p, 1.5) for _ in range(2))
    ours, r = best(lambda: svcca(x, y), repeats)
    book, value = best(lambda: textbook.svcca(x, y), max(1, repeats // 2))
    products = turns(lambda: svcca(x, y), lambda: three_products(x, y), 3 * repeats)
    floor = turns(
        lambda: svcca(x, y),
        lambda: (three_products(x, y), decompositions(x, y, r.x_kept, r.y_kept)),
        3 * repeats,
    )
    work = f"one svcca pair, n = {n:,}, {p} neurons"
    kept = f"{r.x_kept} and {r.y_kept} directions kept; "
    agree = f"results differ by {abs(r.similarity - value):.0e}"
    rows = [
        Row(work, "textbook route, NumPy", ours, book, book / ours, ">= 20", kept + agree),
        Row(work, "its three products", *products, "<= 1.4", "ours / products"),
        Row(work, "its products and decompositions", *floor, "", "ours / them: two eigh, one svd"),
    ]
    rows += of_files_and_float32(work, x, y, repeats)
    rows += peers_cca(rng, size, repeats)
    return rows


def three_products(x, y):
    """The moments of two layers, as BLAS likes them."""
    return x.T @ x, y.T @ y, x.T @ y


def decompositions(x, y, x_kept, y_kept) -> None:
    """Directions of both layers, and correlations of those kept: two eigh beside each other, a svd.

    Of matrices of these sizes; which they are does not matter here.
    """
    one_thread_each(lambda z: np.linalg.eigh(z[: z.shape[1]] + z[: z.shape[1]].T), (x, y))
    np.linalg.svd(x[:x_kept, :y_kept], compute_uv=False)


def of_files_and_float32(work, x, y, repeats) -> list[Row]:
    """The same pair from memory maps, in constant memory, and in float32 arithmetic."""
    with tempfile.TemporaryDirectory() as folder:
        for name, z in (("x", x), ("y", y)):
            np.save(Path(folder) / f"{name}.npy", z)
        mapped = [np.load(Path(folder) / f"{z}.npy", mmap_mode="r") for z in "xy"]
        products = turns(lambda: svcca(*mapped), lambda: three_products(x, y), 3 * repeats)
        tracemalloc.start()  # NumPy's memory, pages of the files left out
        svcca(*mapped)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
    data = 2 * x.nbytes / 2**20
    a, b = x.astype(np.float32), y.astype(np.float32)
    exact, rounded = svcca(a, b), svcca(a, b, precision="float32")
    wide, fast, faster = turns(
        lambda: svcca(a, b), lambda: svcca(a, b, precision="float32"), 3 * repeats
    )
    error = abs(exact.similarity - rounded.similarity)
    kept = f"{rounded.x_kept} and {rounded.y_kept} directions kept in both; "
    if (rounded.x_kept, rounded.y_kept) != (exact.x_kept, exact.y_kept):
        raise AssertionError(f"kept directions differ: {rounded} and {exact}")
    return [
        Row(f"{work}, memory maps", "its three products", *products, "", "ours / products"),
        Row(f"{work}, memory maps", "the data", peak, data, peak / data, "", "MiB, peak"),
        Row(
            f"{work}, float32 data", "the same in float64 arithmetic", fast, wide, faster,
            ">= 1.7", f"{kept}results differ by {error:.0e}",
        ),
    ]  # fmt: skip


def peers_cca(rng, size, repeats) -> list[Row]:
    from cca_zoo.linear import CCA as ZooCCA
    from sklearn.cross_decomposition import CCA

    rows = []
    n, p = size["n"], size["zoo"]
    shared = rng.normal(size=(n, p))
    x, y = (power_law(rng, shared, p, 1.0) for _ in range(2))
    ours, r = best(lambda: svcca_lib.cca(x, y), repeats)

    def zoo():
        model = ZooCCA(n_components=p).fit([x, y])
        a, b = model.transform([x, y])
        return np.array([np.corrcoef(u, v)[0, 1] for u, v in zip(a.T, b.T, strict=True)]).mean()

    peer, value = best(zoo, max(1, repeats // 2))
    agree = f"results differ by {abs(r.similarity - value):.0e}"
    work = f"one cca pair, n = {n:,}, {p} neurons"
    rows.append(Row(work, "cca-zoo CCA", ours, peer, peer / ours, "", agree))

    n, p, k = size["n_sklearn"], size["p_sklearn"], size["k_sklearn"]
    shared = rng.normal(size=(n, p))
    x, y = (power_law(rng, shared, p, 1.0) for _ in range(2))
    ours, r = best(lambda: svcca_lib.cca(x, y), repeats)

    def sklearn():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NIPALS stops before it has converged
            return CCA(n_components=k, scale=False).fit_transform(x, y)

    peer, (a, b) = best(sklearn, 1)
    found = np.sort([np.corrcoef(u, v)[0, 1] for u, v in zip(a.T, b.T, strict=True)])[::-1]
    agree = f"{k} of {p} components; results differ by {abs(found - r.correlations[:k]).max():.0e}"
    work = f"one cca pair, n = {n:,}, {p} neurons"
    rows.append(Row(work, "scikit-learn CCA", ours, peer, peer / ours, "", agree))
    return rows


def all_pairs(rng, size, repeats) -> list[Row]:
    n, widths, checkpoints = size["n"], size["widths"], size["checkpoints"]
    layers = 4 * len(widths)  # per network; all combinations of widths are equally frequent
    ours, bare, kept, sample = 0.0, 0.0, [], 0.0
    for checkpoint in range(checkpoints):
        shared = rng.normal(size=(n, max(widths)))
        nets = [[power_law(rng, shared, p, 1.5) for p in widths * 4] for _ in range(2)]
        seconds, matrix = best(lambda nets=nets: pairwise(*nets), 1)
        ours += seconds
        if checkpoint == 0:
            kept = [svcca_lib.Subspace.fit(x).kept for x in nets[0][: len(widths)]]
            for i in range(len(widths)):
                for j in range(len(widths)):
                    seconds, value = best(
                        lambda i=i, j=j, nets=nets: textbook.svcca(nets[0][i], nets[1][j]), 1
                    )
                    sample += seconds
                    if abs(value - matrix[i, j]) > 1e-6:
                        raise AssertionError(f"results differ: {value} and {matrix[i, j]}")
        bare += best(lambda nets=nets, kept=kept: unavoidable_products(*nets, kept * 4), 1)[0]
    pairs = layers**2 * checkpoints
    book = sample / len(widths) ** 2 * pairs
    note = (
        f"spectra i**-1.5, {', '.join(map(str, kept))} of {', '.join(map(str, widths))} directions "
        f"kept; textbook time from {len(widths) ** 2} of {pairs:,} pairs, one of each "
        f"combination of widths"
    )
    work = f"all pairs: {layers} x {layers} layers x {checkpoints} checkpoints, n = {n:,}"
    return [
        Row(work, "textbook route, pair by pair", ours, book, book / ours, ">= 150", note),
        Row(
            work, "its matrix products alone", ours, bare, ours / bare, "<= 1.2", "ours / products"
        ),
    ]


def unavoidable_products(one, other, kept) -> None:
    """Gram matrix of every layer, its kept directions, and the inner products of all of them."""
    bases = []
    for net in (one, other):
        grams = [x.T @ x for x in net]
        bases.append(np.hstack([x @ g[:, :k] for x, g, k in zip(net, grams, kept, strict=True)]))
    bases[0].T @ bases[1]


def fourier(rng, size, repeats) -> list[Row]:
    n, c, h = size["n"], size["c"], size["h"]
    x = rng.normal(size=(n, c, h, h)).cumsum(axis=3) / h  # smooth along one axis, as images are
    y = np.einsum("nchw,dc->ndhw", x, rng.normal(size=(c, c))) / c + rng.normal(size=(n, c, h, h))
    every = [(i, j) for i in range(h) for j in range(h)]
    some = [every[i] for i in rng.choice(len(every), size["frequencies"], replace=False)]
    transform, spectra = best(lambda: [textbook.spectra(z, some) for z in (x, y)], 1)
    rows = []
    for keep, peer in ((None, "loop of textbook CCAs"), (0.99, "same with its own SVD step")):
        options = {"keep": 1.0} if keep is None else {"keep": keep, "cut": "frequency"}
        ours, r = best(lambda options=options: dft_cca(x, y, **options), max(1, repeats // 2))
        loop, value = best(lambda keep=keep: textbook.dft_cca(*spectra, keep), 1)
        book = transform + loop / len(some) * len(every)
        place = {tuple(k): f for f, k in enumerate(r.frequencies.tolist())}
        fold = [
            place.get((i if 2 * i <= h else i - h, j), place.get((-i if 2 * i < h else h - i, -j)))
            for i, j in ((i, j if 2 * j <= h else j - h) for i, j in some)
        ]
        mine = np.mean([r.correlations[f][: r.counts[f]].mean() for f in fold])
        work = f"dft_cca, {c} channels, {h} x {h}, n = {n:,}, {options}"
        note = (
            f"textbook time from {len(some)} of {len(every)} frequencies; "
            f"results differ by {abs(mine - value):.0e}"
        )
        rows.append(Row(work, peer, ours, book, book / ours, ">= 30", note))
    work = f"dft_cca, {c} channels, {h} x {h}, n = {n:,}"
    floor = turns(lambda: dft_cca(x, y, keep=1.0), lambda: unavoidable_transforms(x, y), repeats)
    rows.append(Row(work, "its FFTs and products", *floor, "<= 1.6", "ours / them"))
    return rows


def unavoidable_transforms(x, y) -> None:
    """FFT of both layers, and three products at each distinct frequency, as BLAS likes them."""
    n, c, h, w = x.shape
    for z in (x, y):
        for part in np.array_split(z, 100):
            torch.fft.rfft2(torch.from_numpy(part))
    # A complex (n, c) is a real (n, 2c); which numbers it holds does not matter here.
    a, b = (z.reshape(-1)[: 2 * n * c].reshape(n, 2 * c) for z in (x, y))
    for _ in range(h * w // 2 + 2):
        three_products(a, b)


def whole_models(rng, size, repeats) -> list[Row]:
    from torch_cka import CKA

    n, width, depth = size["n"], size["model"], 6

    def mlp(seed):
        torch.manual_seed(seed)
        return nn.Sequential(
            *[m for _ in range(depth) for m in (nn.Linear(width, width), nn.Tanh())]
        )

    a, b = mlp(0), mlp(1)
    data = torch.randn(n, width, generator=torch.Generator().manual_seed(0))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data), batch_size=256)
    names = [str(2 * i + 1) for i in range(depth)]
    ours, _ = best(lambda: compare(a, b, loader, names, measure="cka", progress=False), repeats)

    def peer():
        with torch.no_grad(), warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            CKA(a, b, model1_layers=names, model2_layers=names).compare(loader)

    seconds, _ = best(peer, 1)
    work = f"cka of two models, {depth} x {depth} layers of {width}, n = {n:,}"
    note = "ours over the whole data, the peer's a mean over minibatches"
    return [Row(work, "torch_cka", ours, seconds, seconds / ours, "", note)]


STREAM = """
import sys, time, psutil, torch
from svcca_lib import Moments
n, p, batch = map(int, sys.argv[1:4])
x = torch.randn(batch, p, dtype=torch.float64)
warm = Moments(); warm.update(x); x.numpy().T @ x.numpy(); del warm
me = psutil.Process(); start = peak = me.memory_info().rss
m, gram, ours, bare = Moments(), 0.0, 0.0, 0.0
for i in range(n // batch):
    x.normal_()
    t0 = time.perf_counter(); m.update(x)
    t1 = time.perf_counter(); gram += x.numpy().T @ x.numpy()
    t2 = time.perf_counter()
    ours += t1 - t0; bare += t2 - t1
    if i % 10 == 0: peak = max(peak, me.memory_info().rss)
print(ours, bare, (peak - start) / 2**20, m.n)
"""


def streaming(rng, size, repeats) -> list[Row]:
    n, p, batch = size["n_stream"], size["p"], 4000
    command = [sys.executable, "-c", STREAM, str(n), str(p), str(batch)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    ours, bare, memory = (float(v) for v in out[:3])
    work = f"moments of {n:,} x {p} in batches of {batch:,}"
    return [
        Row(work, "its matrix products alone", ours, bare, bare / ours, ">= 0.75", "throughput"),
        Row(work, "peak memory above the start", memory, 300, memory / 300, "<= 1", "MiB, limit"),
    ]


SIZES = {
    False: {
        "n": 10_000, "p": 512, "zoo": 512, "n_sklearn": 2000, "p_sklearn": 64, "k_sklearn": 16,
        "widths": [64, 128, 256, 512], "checkpoints": 4, "c": 64, "h": 16, "frequencies": 16,
        "model": 256, "n_stream": 1_000_000,
    },
    True: {
        "n": 600, "p": 40, "zoo": 20, "n_sklearn": 200, "p_sklearn": 8, "k_sklearn": 2,
        "widths": [8, 16], "checkpoints": 2, "c": 4, "h": 6, "frequencies": 5,
        "model": 16, "n_stream": 20_000,
    },
}  # fmt: skip


def machine() -> str:
    """What the times belong to."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = (line for line in cpuinfo.read_text().splitlines() if "model name" in line)
        name = next(lines, f": {name}").split(":")[1].strip()
    return (
        f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"NumPy {np.__version__}, load {psutil.getloadavg()[0]:.1f} at the start"
    )


def markdown(rows: list[Row], header: str) -> str:
    """Render the table."""
    lines = [
        "| work | against | ours | theirs | ratio | target | note |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        unit = "MiB" if r.note.startswith("MiB") else "s"
        lines.append(
            f"| {r.work} | {r.peer} | {r.ours_s:.3g} {unit} | {r.peer_s:.3g} {unit} "
            f"| {r.ratio:.3g} | {r.target} | {r.note} |"
        )
    return f"Measured by `make bench` on {header}.\n\n" + "\n".join(lines) + "\n"


def scaling(rng, size, repeats) -> list[Row]:
    """How the cost grows: the slope of log time against log size, over the measured points."""
    n, p, c = size["n"] // 2, size["p"] // 2, size["c"] // 4

    def layers(*shape):
        return rng.normal(size=shape), rng.normal(size=shape)

    series = {
        f"svcca, datapoints ({p} neurons)": [(m, svcca, layers(m, p)) for m in (n // 2, n, 2 * n)],
        f"svcca, neurons (n = {n:,})": [(q, svcca, layers(n, q)) for q in (p // 2, p, 2 * p)],
        f"dft_cca, pixels ({c} channels, n = {n // 5:,})": [
            (h * h, dft_cca, layers(n // 5, c, h, h)) for h in (6, 12, 24)
        ],
        f"dft_cca, channels (8 x 8, n = {n // 5:,})": [
            (k, dft_cca, layers(n // 5, k, 8, 8)) for k in (c, 2 * c, 4 * c)
        ],
    }
    rows = []
    for work, points in series.items():
        seconds = [best(lambda f=f, xy=xy: f(*xy), repeats)[0] for _, f, xy in points]
        slope = np.polyfit(np.log([m for m, _, _ in points]), np.log(seconds), 1)[0]
        times = ", ".join(f"{m:,}: {t:.3g} s" for (m, _, _), t in zip(points, seconds, strict=True))
        rows.append(
            Row(f"cost of {work}", "itself", seconds[-1], seconds[0], slope, "", f"slope; {times}")
        )
    return rows


CASES = [one_pair, all_pairs, fourier, whole_models, streaming, scaling]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat")
    parser.add_argument("--only", choices=[case.__name__ for case in CASES])
    parser.add_argument("--out", type=Path, default=HERE)
    arguments = parser.parse_args()
    header, rows = machine(), []
    for case in CASES:
        if arguments.only in (None, case.__name__):
            start = time.perf_counter()
            rng = np.random.default_rng(0)
            rows += case(rng, SIZES[arguments.quick], 1 if arguments.quick else 5)
            print(f"{case.__name__}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    text = markdown(rows, header)
    print(text)
    (arguments.out / "results.md").write_text(text, encoding="utf-8")
    result = {"machine": header, "rows": [asdict(row) for row in rows]}
    (arguments.out / "results.json").write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
