"""Every layer of one network against every layer of another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from svcca_lib._linalg import on_cpu, one_thread_each
from svcca_lib.errors import SampleSizeWarning
from svcca_lib.measures.measure import comparable, rows_only
from svcca_lib.measures.registry import measure_named


def pairwise(
    xs: Sequence[Any] | Mapping[str, Any],
    ys: Sequence[Any] | Mapping[str, Any] | None = None,
    measure: str = "svcca",
    **options: Any,
) -> Any:
    """Compare every layer of one network with every layer of another.

    Each layer is prepared once, so that L x M comparisons cost L + M decompositions and L x M
    products with small singular value decompositions.

    Parameters
    ----------
    xs, ys : sequence or dict of layers
        Arrays of shape (n, p_i), widths may differ, or `Subspace` for the measures built on them.
        `ys` left out means `xs` against itself.
    measure : str
        A key of ``svcca_lib.MEASURES``: "svcca", "cca", "pwcca", "linear_regression", "cka",
        "procrustes" or, for layers of shape (n, c, h, w), "dft_cca".
    **options
        Of that measure, such as ``keep=0.99`` or ``kernel="rbf"``.

    Returns
    -------
    array, shape (len(xs), len(ys))
        Similarities, float64; NumPy if the first layer came as NumPy, else torch on its device.

    Raises
    ------
    TypeError, ValueError
        As the measure itself; the error names the layers, such as ``xs['c1']``. Moments of single
        layers are refused: they lack the products of the pairs (see `NetworkMoments`).

    Notes
    -----
    The whole matrix shares its datapoints, so neighbouring cells are not independent evidence.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import pairwise
    >>> rng = np.random.default_rng(0)
    >>> layers = {"fc1": rng.normal(size=(400, 8)), "fc2": rng.normal(size=(400, 5))}
    >>> pairwise(layers).round(1).tolist()
    [[1.0, 0.1], [0.1, 1.0]]
    """
    chosen = measure_named(measure, options)
    named = _named(xs, "xs") + ([] if ys is None else _named(ys, "ys"))
    for name, layer in named:
        rows_only(layer, name)
    tensors = [x if isinstance(x, Tensor) else getattr(x, "sample", None) for _, x in named]
    many = len(named) >= torch.get_num_threads()
    on_cpus = on_cpu(*(t for t in tensors if t is not None))
    each = one_thread_each if many and on_cpus else _in_turn
    # A layer met by many needs its basis more than its rows, which take more memory.
    prepared = each(lambda layer: chosen.prepare(layer[1], layer[0]).primed(), named)
    left = prepared[: len(xs)]
    right = left if ys is None else prepared[len(xs) :]
    names = [name for name, _ in named]
    for name, other in zip(names, prepared, strict=True):
        comparable(left[0], other, (names[0], name))
    mirrored = ys is None and chosen.symmetric
    cells = [(i, j) for i in range(len(left)) for j in range(i if mirrored else 0, len(right))]

    def compared(cell: tuple[int, int]) -> tuple[float, str | None]:
        a, b = left[cell[0]], right[cell[1]]
        result = chosen.compare(a, b)
        return result.similarity, chosen.caution(result, a, b)

    found = each(compared, cells)
    matrix = np.empty((len(left), len(right)))
    for (i, j), (similarity, _) in zip(cells, found, strict=True):
        matrix[i, j] = similarity
        if mirrored:
            matrix[j, i] = similarity
    beside = names if ys is None else names[len(xs) :]
    cautions = {
        f"{names[i]} with {beside[j]}": caution
        for (i, j), (_, caution) in zip(cells, found, strict=True)
    }
    warn_once(cautions, stacklevel=2)
    first = named[0][1]
    if isinstance(first, np.ndarray) or getattr(first, "numpy", False) is True:
        return matrix
    return torch.from_numpy(matrix).to(first.device if isinstance(first, Tensor) else "cpu")


def warn_once(cautions: Mapping[str, str | None], stacklevel: int) -> None:
    """Give the first warning, saying of which pair of layers, and how many others need one too.

    Parameters
    ----------
    cautions : dict of str to str
        Of each pair of layers compared; None where there is nothing to say.
    stacklevel : int
    """
    pairs = [pair for pair, caution in cautions.items() if caution]
    if not pairs:
        return
    more = f"; {len(pairs) - 1} of the other {len(cautions) - 1} pairs have too few as well"
    where = f" ({pairs[0]}{more if len(pairs) > 1 else ''})"
    warnings.warn(f"{cautions[pairs[0]]}{where}", SampleSizeWarning, stacklevel=stacklevel + 1)


def _in_turn(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return list(map(work, items))


def _named(layers: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(layers, Mapping):
        named = [(f"{name}[{key!r}]", layer) for key, layer in layers.items()]
    elif isinstance(layers, Sequence):
        named = [(f"{name}[{i}]", layer) for i, layer in enumerate(layers)]
    else:
        raise TypeError(f"{name} must be a sequence or dict of layers; got {type(layers).__name__}")
    if not named:
        raise ValueError(f"{name} holds no layer")
    return named
