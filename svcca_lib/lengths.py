r"""Squared lengths of the rows of a stream: what the debiased CKA needs beside the moments.

The unbiased HSIC leaves out what single datapoints add to all their products,
:math:`\sum_i |x_i - \bar x|^2 |y_i - \bar y|^2`, and the means are known at the end only. Rows are
therefore measured from a pilot, the mean of the first batch, and with the products of their squared
lengths those of lengths and rows are kept: a few vectors, from which the sum about any other point
follows exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from svcca_lib._linalg import product, squared_lengths


@dataclass(frozen=True, eq=False)
class Lengths:
    """Sums over the rows of one layer or of several, with u the distance of a row from the pilot.

    Attributes
    ----------
    pilots : tuple of Tensor, shape (p,)
        Of each layer.
    products : Tensor, shape (layers, layers)
        ``sum_i |u_i|^2 |v_i|^2``.
    vectors : tuple of Tensor, shape (layers, p)
        Of each layer ``sum_i |u_i|^2 v_i``, with the lengths in each layer.
    """

    pilots: tuple[Tensor, ...]
    products: Tensor
    vectors: tuple[Tensor, ...]

    @classmethod
    def about(cls, pilots: Sequence[Tensor]) -> Lengths:
        """No rows yet."""
        many = len(pilots)
        zeros = tuple(pilot.new_zeros((many, len(pilot))) for pilot in pilots)
        return cls(tuple(pilots), pilots[0].new_zeros((many, many)), zeros)

    def plus(self, rows: Sequence[Tensor], means: Sequence[Tensor]) -> Lengths:
        """With rows (n, p) of each layer, given as centred on these means."""
        shifts = [mean - pilot for mean, pilot in zip(means, self.pilots, strict=True)]
        squares = torch.stack(
            [
                squared_lengths(x) + 2 * product(x, shift[:, None])[:, 0] + shift @ shift
                for x, shift in zip(rows, shifts, strict=True)
            ]
        )
        total = squares.sum(1)
        vectors = tuple(
            known + product(squares, x) + total[:, None] * shift
            for known, x, shift in zip(self.vectors, rows, shifts, strict=True)
        )
        products = self.products + product(squares, squares.T)
        return Lengths(self.pilots, products, vectors)

    def joined(self, other: Lengths) -> Lengths:
        """The sums of both, which are about the same pilots."""
        vectors = tuple(a + b for a, b in zip(self.vectors, other.vectors, strict=True))
        return Lengths(self.pilots, self.products + other.products, vectors)

    def of(self, *layers: int) -> Lengths:
        """The sums of some of the layers."""
        own = list(layers)
        return Lengths(
            tuple(self.pilots[a] for a in own),
            self.products[own][:, own],
            tuple(self.vectors[a][own] for a in own),
        )

    def moved(
        self,
        to: Sequence[Tensor],
        n: int,
        means: Sequence[Tensor],
        scatter: Callable[[int, int], Tensor],
    ) -> Lengths:
        """The sums about other pilots.

        Parameters
        ----------
        to : sequence of Tensor
            The pilots.
        n : int
        means : sequence of Tensor
            Of the rows that are summed up here.
        scatter : callable
            Their scatter matrix of layers a and b, (p_a, p_b), about these means.
        """
        many = range(len(to))
        moves = [pilot - new for pilot, new in zip(self.pilots, to, strict=True)]
        off = [mean - pilot for mean, pilot in zip(means, self.pilots, strict=True)]
        # With d the move, |u + d|^2 = |u|^2 + 2 d u + |d|^2, summed up term by term.
        squares = [scatter(a, a).trace() + n * (off[a] @ off[a]) for a in many]
        along = [off[a] @ moves[a] for a in many]
        sizes = [d @ d for d in moves]
        inner = [  # sum_i v_i u_i^T d
            [scatter(b, a) @ moves[a] + n * along[a] * off[b] for b in many] for a in many
        ]
        products = self.products.clone()
        for a in many:
            for b in many:
                products[a, b] += (
                    2 * (self.vectors[b][a] @ moves[b] + self.vectors[a][b] @ moves[a])
                    + 4 * (inner[a][b] @ moves[b])
                    + sizes[a] * squares[b]
                    + sizes[b] * squares[a]
                    + 2 * n * (sizes[a] * along[b] + sizes[b] * along[a])
                    + n * sizes[a] * sizes[b]
                )
        vectors = tuple(
            torch.stack(
                [
                    self.vectors[b][a]
                    + 2 * inner[a][b]
                    + (squares[a] + 2 * n * along[a] + n * sizes[a]) * moves[b]
                    + n * sizes[a] * off[b]
                    for a in many
                ]
            )
            for b in many
        )
        return Lengths(tuple(to), products, vectors)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that is held."""
        return (*self.pilots, self.products, *self.vectors)
