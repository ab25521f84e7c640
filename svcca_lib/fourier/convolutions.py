"""The paper's readings of a convolution: as matrices of datapoints and neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from svcca_lib.inputs import ArrayLike


def channels_as_neurons(x: ArrayLike) -> Any:
    """Read every pixel as a datapoint: (n, c, h, w) -> (n * h * w, c).

    The paper's reading for one layer at two times or in two networks.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)

    Returns
    -------
    array, shape (n * h * w, c)
        Row ``i * h * w + y * w + x`` is pixel (y, x) of image i; same library and dtype as `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not a 4-D array or tensor.

    Notes
    -----
    Misleads in three ways. Pixel i of one layer is paired with pixel i of the other, so the layers
    must have the same height and width and see the same place. Neighbouring pixels are not
    independent: the rows are many, the evidence is not, so `chance` computed from n * h * w is far
    too low; shuffle whole images (`image_of_row`) to find the real floor. And the means of the
    channels are taken over space too, so what is common to all images is compared as well.

    References
    ----------
    Raghu et al. 2017, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import channels_as_neurons
    >>> channels_as_neurons(np.zeros((10, 3, 4, 5))).shape
    (200, 3)
    """
    _four(x)
    moved = np.moveaxis(x, 1, -1) if isinstance(x, np.ndarray) else x.movedim(1, -1)
    return moved.reshape(-1, x.shape[1])


def pixels_as_neurons(x: ArrayLike) -> Any:
    """Read every pixel of every channel as a neuron: (n, c, h, w) -> (n, c * h * w).

    The paper's reading for different layers, whose sizes need not agree.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)

    Returns
    -------
    array, shape (n, c * h * w)
        Channel first; same library and dtype as `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not a 4-D array or tensor.

    Notes
    -----
    Misleads when ``n`` is not far above ``c * h * w``, which is nearly always: at
    ``n <= c * h * w + 1`` the CCA of any data is 1. `dft_cca` needs n above c only.

    References
    ----------
    Raghu et al. 2017, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import pixels_as_neurons
    >>> pixels_as_neurons(np.zeros((10, 3, 4, 5))).shape
    (10, 60)
    """
    _four(x)
    return x.reshape(len(x), -1)


# Four places around the centre: of a grid of four by four, the inner ones.
AROUND_THE_CENTRE = ((3 / 8, 3 / 8), (3 / 8, 5 / 8), (5 / 8, 3 / 8), (5 / 8, 5 / 8))


def positions_as_neurons(
    x: ArrayLike, positions: Sequence[Sequence[float]] = AROUND_THE_CENTRE
) -> Any:
    """Read all channels at a few places of the grid as neurons: (n, c, h, w) -> (n, m * c).

    The same relative places in every layer, so that layers of different sizes look at the same
    parts of the image.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)
    positions : sequence of m pairs of float
        Where, as fractions of height and width in [0, 1); the pixel that holds the place is read.
        Four places around the centre by default.

    Returns
    -------
    array, shape (n, m * c)
        Place first; same library and dtype as `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not a 4-D array or tensor, there is no place, or one lies outside the grid.

    Notes
    -----
    Of the readings that we tried, this one (with the mean of squared correlations) gives the
    pattern of the paper's Figure 4; the paper does not say how its layers were read. It is blind to
    all other places, and on a grid so small that two places fall on one pixel it reads that pixel
    twice, which no measure that cuts at the rank minds.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import positions_as_neurons
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> positions_as_neurons(x).tolist(), positions_as_neurons(x, [(0.5, 0)]).tolist()
    ([[5.0, 6.0, 9.0, 10.0]], [[8.0]])
    """
    _four(x)
    if not len(positions):
        raise ValueError("positions must hold at least one place (row, column); got none")
    read: list[Any] = []
    for place in positions:
        if len(place) != 2 or not all(0 <= part < 1 for part in place):
            raise ValueError(
                f"positions must be pairs of fractions of height and width in [0, 1); got {place}"
            )
        row, column = (int(part * size) for part, size in zip(place, x.shape[2:], strict=True))
        read.append(x[:, :, row, column])
    return np.concatenate(read, 1) if isinstance(x, np.ndarray) else torch.cat(read, 1)


def phases_as_channels(x: ArrayLike, stride: int | tuple[int, int]) -> Any:
    """Bring a layer to the size of a strided one: (n, c, h, w) -> (n, c * s * t, h / s, w / t).

    A layer that was strided or pooled commutes only with shifts by multiples of the stride. Each of
    the s * t phases of the pixel grid becomes a channel of its own, so no response is lost, and
    `dft_cca` of the result with the strided layer is exact on data closed under those shifts.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)
    stride : int or (int, int)
        How many times larger it is than the other layer, vertically and horizontally.

    Returns
    -------
    array, shape (n, c * s * t, h / s, w / t)
        Same library and dtype as `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not a 4-D array or tensor, or the stride does not divide its size.

    Notes
    -----
    Needs n above ``c * s * t``: at the full size of the image this is `pixels_as_neurons`.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import phases_as_channels
    >>> phases_as_channels(np.zeros((10, 3, 4, 6)), 2).shape
    (10, 12, 2, 3)
    """
    _four(x)
    s, t = (stride, stride) if isinstance(stride, int) else stride
    n, c, h, w = x.shape
    if s < 1 or t < 1 or h % s or w % t:
        raise ValueError(f"stride must divide the layer's size {(h, w)}; got {stride}")
    split = x.reshape(n, c, h // s, s, w // t, t)
    order = (0, 1, 3, 5, 2, 4)  # (n, c, s, t, h / s, w / t)
    split = split.transpose(order) if isinstance(split, np.ndarray) else split.permute(order)
    return split.reshape(n, c * s * t, h // s, w // t)


def image_of_row(x: ArrayLike) -> np.ndarray:
    """Which image each row of ``channels_as_neurons(x)`` came from, shape (n * h * w,).

    The groups to shuffle in a permutation test: pixels of one image belong together.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)

    Raises
    ------
    TypeError, ValueError
        If `x` is not a 4-D array or tensor.

    Notes
    -----
    Without these groups a test takes neighbouring pixels for independent datapoints, and calls
    almost any similarity significant.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import image_of_row
    >>> image_of_row(np.zeros((2, 5, 1, 3))).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    _four(x)
    return np.repeat(np.arange(len(x)), x.shape[2] * x.shape[3])


def _four(x: Any) -> None:
    if not isinstance(x, (np.ndarray, Tensor)):
        raise TypeError(f"x must be a NumPy array or a torch tensor; got {type(x).__name__}")
    if x.ndim != 4:
        raise ValueError(f"x must be a convolutional layer (n, c, h, w); got {tuple(x.shape)}")
