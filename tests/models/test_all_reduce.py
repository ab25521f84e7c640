"""Moments joined over real processes equal those of one."""

import itertools

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from svcca_lib import FourierMoments, Moments, cka, dft_cca, svcca

KINDS = {"moments": Moments, "fourier": FourierMoments}


def layers(kind):
    rng = np.random.default_rng(0)
    shape = (300, 5) if kind == "moments" else (90, 3, 4, 4)
    x = rng.normal(size=shape) + 1e4  # raw sums would lose eight digits
    y = rng.normal(size=shape)[:, :2] - 1e4 + x[:, 1:3]
    return x, y


def split(n, world):
    """Uneven parts; with three processes the second sees nothing."""
    cuts = [0, n // 3, n // 3, n] if world == 3 else [0, n // 3, n]
    return [slice(a, b) for a, b in itertools.pairwise(cuts)]


def work(rank, world, store, kind, folder, widths):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    try:
        x, y = layers(kind)
        m = KINDS[kind]()
        mine = split(len(x), world)[rank]
        for part in np.array_split(np.arange(mine.start, mine.stop), 4):
            if len(part):
                m.update(x[part], y[part, : widths[rank]])
        try:
            m.all_reduce()
        except ValueError as error:
            message = str(error)
            torch.save({"error": message}, f"{folder}/{rank}.pt")
            return
        value = (svcca if kind == "moments" else dft_cca)(m)
        torch.save(
            {
                "n": m.n,
                "numpy": m.numpy,
                "similarity": value.similarity,
                "debiased": cka(m, debiased=True).similarity if kind == "moments" else 0.0,
                "tensors": [m.mean_x, m.mean_y, m.xx, m.yy, m.xy],
            },
            f"{folder}/{rank}.pt",
        )
    finally:
        dist.destroy_process_group()


def run(world, kind, folder, widths=(2, 2, 2)):
    store = folder / "store"
    mp.start_processes(
        work, (world, store, kind, folder, widths), nprocs=world, start_method="fork"
    )
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", [2, 3])
def test_all_reduce_equals_one_process(kind, world, tmp_path):
    x, y = layers(kind)
    whole = KINDS[kind]()
    whole.update(x, y)
    direct = (svcca if kind == "moments" else dft_cca)(x, y).similarity
    debiased = cka(x, y, debiased=True).similarity if kind == "moments" else 0.0
    for found in run(world, kind, tmp_path):  # the process that saw nothing included
        assert found["n"] == len(x)
        assert found["numpy"]
        assert abs(found["similarity"] - direct) < 1e-9
        assert abs(found["debiased"] - debiased) < 1e-9
        for mine, theirs in zip(
            (whole.mean_x, whole.mean_y, whole.xx, whole.yy, whole.xy),
            found["tensors"],
            strict=True,
        ):
            scale = theirs.abs().max()
            assert (mine - theirs).abs().max() < 1e-9 * scale


def test_processes_with_other_layers_all_fail(tmp_path):
    for found in run(2, "moments", tmp_path, widths=(2, 1)):
        assert found["error"] == (
            "every process must hold the same layers; sizes range from (5, 1) to (5, 2)"
        )


def test_needs_a_process_group():
    with pytest.raises(RuntimeError, match="init_process_group first"):
        Moments().all_reduce()


def test_alone_it_changes_nothing(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/s", rank=0, world_size=1)
    try:
        empty = Moments()
        empty.all_reduce()
        assert empty.n == 0
        x, y = layers("moments")
        m, same = Moments(), Moments()
        m.update(x, y)
        same.update(x, y)
        m.all_reduce()
        torch.testing.assert_close(m.xy, same.xy)
        torch.testing.assert_close(m.mean_y, same.mean_y)
    finally:
        dist.destroy_process_group()
