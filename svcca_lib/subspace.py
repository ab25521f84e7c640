r"""Moments become a subspace: decomposed, cut; computed once and compared many times.

The third of the four stages: inputs, moments, subspace, measures. This is step 1 of SVCCA
(section 2 of the paper). A layer is an ``(n, p)`` matrix, one row a datapoint, one column a neuron.
Its centred singular value decomposition :math:`X = Q\,\mathrm{diag}(s)\,V^\top` is cut to the
leading directions, and the orthonormal basis :math:`Q = X V \mathrm{diag}(1/s)` of what is left is
all that step 2, the CCA, needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from svcca_lib._ambient import undisturbed
from svcca_lib._linalg import descending_eigh, on_cpu, one_thread_each, thin_svd
from svcca_lib.errors import UnresolvedError, one_of, some_variance
from svcca_lib.inputs import ArrayLike, Precision, resolved, rows_of
from svcca_lib.layer import LayerMoments, Responses, moments_of
from svcca_lib.outputs import Value, handed_out
from svcca_lib.rank import GRAM_IS_SAFE, directions_needed, is_clear, noise_norm, rank_cut

Energy: TypeAlias = Literal["variance", "singular_values"]


@dataclass(frozen=True, eq=False)
class Factors(Value):
    """A decomposed layer in torch.

    Attributes
    ----------
    mean : Tensor, shape (p,)
    directions : Tensor, shape (p, kept)
    values : Tensor, shape (kept,)
        Singular values.
    weights : Tensor, shape (p, kept)
        Directions over singular values: from centred responses to the basis.
    rows : Centred, Known or None
        Centred responses; None of a layer known by its moments, and once the basis is all there is.
    left : Tensor, shape (n, kept), or None
        Left singular vectors, where they are known.
    scale : float
        The power of two that all of these are in units of.
    """

    mean: Tensor
    directions: Tensor
    values: Tensor
    weights: Tensor
    rows: Responses | None
    left: Tensor | None
    scale: float = 1.0

    @cached_property
    def basis(self) -> Tensor:
        """Orthonormal basis of the kept subspace in data space, shape (n, kept)."""
        if self.left is not None:
            return self.left
        return self.responses.times(self.weights)

    @property
    def responses(self) -> Responses:
        """Centred responses, shape (n, p), made when called.

        Raises
        ------
        ValueError
            If there are none.
        """
        if self.rows is None:
            raise ValueError("this Subspace was made from moments and holds no rows")
        return self.rows

    def to(self, dtype: torch.dtype) -> Factors:
        """The same in another precision."""
        if dtype == self.values.dtype:
            return self
        return Factors(
            mean=self.mean.to(dtype),
            directions=self.directions.to(dtype),
            values=self.values.to(dtype),
            weights=self.weights.to(dtype),
            rows=None if self.rows is None else self.rows.to(dtype),
            left=None if self.left is None else self.left.to(dtype),
            scale=self.scale,
        )

    @property
    def ready(self) -> bool:
        """Whether the basis is known and costs nothing."""
        return self.left is not None or "basis" in self.__dict__


@dataclass(frozen=True, eq=False)
class Subspace:
    """The leading directions of one layer and an orthonormal basis of them.

    Made by `Subspace.fit`. Every similarity takes a Subspace where it takes an array, so that a
    layer that is compared many times is decomposed once.

    Attributes
    ----------
    mean : array, shape (p,)
        Mean response of each neuron, subtracted before anything else.
    directions : array, shape (p, kept)
        Right singular vectors: orthonormal directions in neuron space, by descending variance.
    singular_values : array, shape (kept,)
        Singular values of the centred layer.
    n, n_features, rank, kept : int
        Datapoints, neurons, numerical rank, and directions kept.
    explained : float
        Share of the variance that the kept directions hold.
    tensors : Factors
        The same as torch tensors, whatever library the layer came in: what measures read.
    numpy : bool
        Whether the layer came as NumPy.
    dtype : torch.dtype
        The precision asked for; tensors are float64 where float32 could not tell what is kept.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import Subspace
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 40)) + 7.0
    >>> s = Subspace.fit(x)
    >>> s.rank, s.kept <= 3, s.n_features
    (3, True, 40)
    >>> bool(np.allclose(s.basis.T @ s.basis, np.eye(s.kept)))
    True

    Notes
    -----
    A layer's variance is dominated by its loudest neurons, so the cut is *not* invariant to the
    scale of single neurons: SVCCA is invariant to rotations and to scaling a layer as a whole, and
    only CCA proper (``keep=1``) to every invertible map.

    References
    ----------
    Raghu et al. 2017, section 2 and Appendix A.
    """

    n: int
    n_features: int
    rank: int
    explained: float
    tensors: Factors = field(repr=False)
    numpy: bool = field(repr=False)
    dtype: torch.dtype = field(repr=False)

    @classmethod
    def fit(
        cls,
        x: ArrayLike,
        keep: float = 0.99,
        energy: Energy = "variance",
        *,
        precision: Precision = "float64",
    ) -> Subspace:
        """Decompose a layer.

        Parameters
        ----------
        x : array_like, shape (n, p)
            Responses of p neurons to n datapoints; NumPy or torch, any device, any real dtype.
        keep : float, default 0.99
            Fraction of the layer to keep, in (0, 1]. At 1 nothing but rounding is cut, and SVCCA
            becomes CCA.
        energy : {"variance", "singular_values"}
            Of what: squared singular values (section 2 of the paper, the default) or singular
            values (its Appendix A).
        precision : {"float64", "float32"}
            float32 is faster; a similarity is then good to about 1e-4, of the same directions as
            with float64, which takes over where float32 cannot tell them.

        Raises
        ------
        TypeError
            If `x` is not a real array or tensor.
        ValueError
            If `x` is not 2-D, has fewer than 2 rows or a NaN, if `keep` is outside (0, 1], or if no
            neuron varies.
        """
        keep = check_cut(keep, energy)
        with undisturbed():
            return subspace_of(x, "x", precision, keep, energy)

    @property
    def kept(self) -> int:
        """Number of directions kept."""
        return len(self.tensors.values)

    @property
    def mean(self) -> Any:
        """Mean response of each neuron, shape (p,)."""
        return handed_out(self.tensors.mean / self.tensors.scale, numpy=self.numpy)

    @property
    def directions(self) -> Any:
        """Right singular vectors, shape (p, kept)."""
        return handed_out(self.tensors.directions, numpy=self.numpy)

    @property
    def singular_values(self) -> Any:
        """Singular values kept, shape (kept,), descending."""
        return handed_out(self.tensors.values / self.tensors.scale, numpy=self.numpy)

    @property
    def weights(self) -> Any:
        """Maps centred data to the basis: ``(x - mean) @ weights``; shape (p, kept)."""
        return handed_out(self.tensors.weights * self.tensors.scale, numpy=self.numpy)

    @property
    def basis(self) -> Any:
        """Orthonormal basis of the kept subspace in data space, shape (n, kept)."""
        return handed_out(self.tensors.basis, numpy=self.numpy)

    @property
    def sample(self) -> Tensor:
        """A tensor of the layer's precision and device."""
        return self.tensors.values.to(self.dtype)

    def primed(self) -> Subspace:
        """The same layer with its basis computed and its rows, which nothing needs then, let go."""
        return self if self.tensors.rows is None else self._through(self.tensors.basis)

    def reordered(self, order: Tensor) -> Subspace:
        """The same layer with its datapoints in another order; nothing is decomposed again."""
        return self._through(self.tensors.basis[order])

    def _through(self, left: Tensor) -> Subspace:
        return replace(self, tensors=replace(self.tensors, left=left, rows=None))

    def __repr__(self) -> str:
        return (
            f"Subspace(n={self.n}, n_features={self.n_features}, rank={self.rank}, "
            f"kept={self.kept}, explained={self.explained:.4f})"
        )


def subspace_of(
    x: ArrayLike, name: str, precision: Precision, keep: float, energy: Energy
) -> Subspace:
    """Take an array all the way: check it, sum it up, decompose it; options as checked.

    Raises
    ------
    TypeError, ValueError
        As `Subspace.fit`; messages call the layer `name`.
    """
    found = resolved(
        lambda p: decompose(moments_of(rows_of(x, name, p), name), keep, energy), precision
    )
    return replace(found, dtype=getattr(torch, precision))


def decompose(layer: LayerMoments, keep: float, energy: Energy) -> Subspace:
    """Decompose a layer and cut it: the one place where moments become a subspace.

    Parameters
    ----------
    layer : LayerMoments
    keep, energy
        As in `Subspace.fit`, checked.

    Raises
    ------
    UnresolvedError
        If float32 cannot tell which directions are kept.
    ValueError
        If no neuron varies, or a gradient is asked for through directions close to rounding.
    """
    name, gram, n, p = layer.name, layer.gram, layer.n, len(layer.mean)
    some_variance(gram.detach().diagonal().sum(), name, (n, p))
    eigenvalues, vectors = descending_eigh(gram.detach())
    values = eigenvalues.sqrt()
    offset, noise = _cut_of(layer)
    rank = min(
        rank_cut(eigenvalues, (n, p), squared=True, blocked=True, offset=offset, noise=noise), n - 1
    )
    some_variance(eigenvalues[:rank].sum(), name, (n, p))
    k = directions_needed(values, rank, keep, energy)
    left = None

    # What a Gram matrix of float64 cuts of coarser numbers is rounding. Else, at keep = 1, every
    # direction matters, those that the Gram matrix cannot resolve included.
    coarse = layer.rounding > 0 and gram.dtype == torch.float64
    last = len(values) - 1 if keep == 1 and not coarse else k - 1
    resolved = bool(eigenvalues[last] >= GRAM_IS_SAFE[gram.dtype] * eigenvalues[0])
    # Nor may what lies below the rank, and may be more than rounding, decide how many are kept.
    resolved &= keep == 1 or coarse or k == directions_needed(values, len(values), keep, energy)
    if gram.dtype == torch.float32:
        resolved &= keep == 1 or is_clear(values, k, keep, energy)
    uneven = keep == 1 and not layer.dual and not gram.requires_grad and _is_uneven(layer)
    if uneven and gram.dtype == torch.float64 and not (resolved and rank == len(values)):
        return _equilibrated(layer, float(eigenvalues[0]))
    if layer.rows is None or (resolved and not layer.dual):
        directions, weights = vectors[:, :k], _whitening(gram, eigenvalues, vectors, k)
    elif resolved:
        left = _moving_with(gram, eigenvalues, vectors, k)
        directions = layer.rows().detach().T @ (vectors[:, :k] / values[:k])
        weights = directions / values[:k]
    elif gram.dtype == torch.float32:
        raise UnresolvedError(f"{name} is not resolved in float32")
    elif gram.requires_grad:
        raise ValueError(
            f"{name} cannot be differentiated at keep={keep}: its smallest kept directions are "
            f"too close to rounding (shape {(n, p)}, rank {rank}); lower keep or remove "
            f"dead and duplicated neurons"
        )
    else:  # the thin SVD: the one exception, which does not square the data
        left, values, directions = thin_svd(layer.rows())
        rank = min(rank_cut(values, (n, p), offset=offset, noise=noise), n - 1)
        k = directions_needed(values, rank, keep, energy)
        left, directions = left[:, :k], directions[:, :k]
        weights = directions / values[:k]
    return _found(layer, rank, directions, values[:k], weights, left)


# Neurons from which on layers are worth a thread each, and up to which their workspaces, several
# times the matrix, may lie side by side.
_EACH = 128, 2048


def decompose_all(layers: Sequence[LayerMoments], keep: float, energy: Energy) -> list[Subspace]:
    """Decompose layers as `decompose` does; side by side, where that is faster.

    Raises
    ------
    UnresolvedError, ValueError
        As `decompose`.
    """
    sizes = [len(layer.gram) for layer in layers]
    apart = on_cpu(*(layer.gram for layer in layers))
    apart &= _EACH[0] <= min(sizes) and max(sizes) <= _EACH[1]
    work = partial(decompose, keep=keep, energy=energy)
    return one_thread_each(work, layers) if apart else list(map(work, layers))


def _found(
    layer: LayerMoments,
    rank: int,
    directions: Tensor,
    values: Tensor,
    weights: Tensor,
    left: Tensor | None,
) -> Subspace:
    total = layer.gram.detach().diagonal().sum()
    return Subspace(
        n=layer.n,
        n_features=len(layer.mean),
        rank=rank,
        explained=min(1.0, float((values**2).sum() / total)),
        tensors=Factors(layer.mean, directions, values, weights, layer.rows, left, layer.scale),
        numpy=layer.numpy,
        dtype=layer.mean.dtype,
    )


def _cut_of(layer: LayerMoments, unit: Tensor | None = None) -> tuple[float, float]:
    """What `rank_cut` has to know of the rounding of a layer, its neurons in other units."""
    unit = torch.ones_like(layer.mean) if unit is None else unit
    mean = (layer.mean * layer.varies).detach() / unit
    squares = (layer.squares / unit**2)[layer.varies]
    offset = math.sqrt(layer.n) * float(mean.norm())
    return offset, noise_norm(layer.rounding, squares, layer.n)


def _units(layer: LayerMoments) -> Tensor:
    """A power of two for each neuron, about as large as it, or as what it was rounded relative to.

    Exact numbers are known relative to the deviations, others relative to the values.
    """
    squares = layer.squares if layer.rounding else layer.gram.detach().diagonal() / layer.n
    size: Tensor = squares.sqrt().masked_fill(~layer.varies, 1.0)
    return torch.exp2(size.log2().round())


def _is_uneven(layer: LayerMoments) -> bool:
    """Whether some neurons are so much louder than others that these could pass for rounding."""
    sizes = _units(layer)[layer.varies]
    return bool(sizes.max() > 16 * sizes.min())


def _equilibrated(layer: LayerMoments, largest: float) -> Subspace:
    """Decompose a whole layer whose neurons are in units far apart.

    What is more than rounding is told with each neuron in its own unit: the Gram matrix is then
    known to its last digits (Demmel and Veselic, "Jacobi's method is more accurate than QR", SIAM
    Journal on Matrix Analysis 13, 1992). The subspace, all that CCA sees, is that of any units.
    A neuron that is rounding of `largest`, the largest eigenvalue, as a whole has none.
    """
    unit, n, p = _units(layer), layer.n, len(layer.mean)
    least = (n * torch.finfo(unit.dtype).eps) ** 2 * largest
    unit = unit.masked_fill(layer.gram.diagonal() <= least, torch.inf)
    gram = layer.gram / unit[:, None] / unit
    eigenvalues, vectors = descending_eigh(gram)
    offset, noise = _cut_of(layer, unit)
    rank = min(rank_cut(eigenvalues, (n, p), squared=True, offset=offset, noise=noise), n - 1)
    values, left = eigenvalues.sqrt(), None
    last = rank - 1 if layer.rounding else int((layer.varies & unit.isfinite()).sum()) - 1
    if layer.rows is not None and eigenvalues[last] < GRAM_IS_SAFE[gram.dtype] * eigenvalues[0]:
        left, values, vectors = thin_svd(layer.rows() / unit)
        rank = min(rank_cut(values, (n, p), offset=offset, noise=noise), n - 1)
        left = left[:, :rank]
    weights = vectors[:, :rank] / values[:rank] / unit[:, None]
    held = weights.T @ layer.gram
    if left is not None and layer.rows is not None:
        held = left.T @ layer.rows()
    turn, values, directions = thin_svd(held)  # in the neurons' own units, by descending variance
    turned = None if left is None else left @ turn
    return _found(layer, rank, directions, values, weights @ turn, turned)


def check_cut(keep: float, energy: str) -> float:
    """Check the two arguments that say where a layer is cut.

    Raises
    ------
    TypeError, ValueError
        If `keep` is not a number in (0, 1] or `energy` is unknown.
    """
    one_of(energy, ("variance", "singular_values"), "energy")
    if isinstance(keep, bool) or not isinstance(keep, (int, float, np.floating, np.integer)):
        raise TypeError(f"keep must be a number in (0, 1]; got {type(keep).__name__}")
    if not 0 < keep <= 1:
        hint = "; to keep a number of directions use project" if keep > 1 else ""
        raise ValueError(f"keep must be a fraction in (0, 1], such as 0.99; got {keep}{hint}")
    return float(keep)


def _whitening(gram: Tensor, eigenvalues: Tensor, vectors: Tensor, k: int) -> Tensor:
    """Weights (p, k) from centred data to the orthonormal basis, differentiable if `gram` is.

    The derivative of single eigenvectors blows up when eigenvalues meet, although the subspace they
    span, and with it the sum of the correlations, moves smoothly. So the basis inside the subspace
    is left to a Cholesky factor, which is smooth, and only the subspace follows the Gram matrix.
    """
    if not gram.requires_grad:
        return vectors[:, :k] / eigenvalues[:k].sqrt()
    moving = _moving_with(gram, eigenvalues, vectors, k, orthonormal=False)
    return _orthonormal(moving, moving.T @ gram @ moving)


def _moving_with(
    gram: Tensor, eigenvalues: Tensor, vectors: Tensor, k: int, *, orthonormal: bool = True
) -> Tensor:
    """Leading k eigenvectors; if `gram` carries a gradient, a basis of the subspace as it moves.

    First-order perturbation of an invariant subspace: a change E of the matrix moves it by
    ``V2 (V2^T E V1) / (lambda_1 - lambda_2)``, undefined only where the cut splits equal
    eigenvalues (Stewart and Sun 1990, theorem V.2.7).
    """
    kept, dropped = vectors[:, :k], vectors[:, k:]
    if not gram.requires_grad:
        return kept
    change = gram - gram.detach()  # zero, with the gradient of gram
    gap = eigenvalues[:k] - eigenvalues[k:, None]
    moving = kept + dropped @ ((dropped.T @ change @ kept) / gap)
    if not orthonormal:
        return moving
    return _orthonormal(moving, moving.T @ moving)


def _orthonormal(columns: Tensor, products: Tensor) -> Tensor:
    """Combine columns so that what has these inner products becomes orthonormal."""
    factor = torch.linalg.cholesky(products)
    combined: Tensor = torch.linalg.solve_triangular(factor, columns.T, upper=False)
    return combined.T
