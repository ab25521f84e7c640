"""The textbook route to SVCCA and DFT-CCA in NumPy, as a paper's reader would write it down.

Written from the published algorithm (Raghu et al. 2017, section 2, Appendix A; Hotelling 1936):
SVD of each layer, cut; covariances; pseudo-inverse square roots; SVD of the whitened
cross-covariance. Nothing is slowed down on purpose: all of it runs in LAPACK and BLAS.
"""

import numpy as np


def leading_directions(x, keep=0.99):
    """SVD step: (neurons, n) -> (kept, n)."""
    x = x - x.mean(axis=1, keepdims=True)
    _, s, vh = np.linalg.svd(x, full_matrices=False)
    share = np.cumsum(s**2) / np.sum(s**2)
    k = int(np.searchsorted(share, keep)) + 1
    return s[:k, None] * vh[:k]


def inverse_root(matrix):
    """Pseudo-inverse of the square root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.conj().T
    return np.linalg.pinv(root, hermitian=True)


def cca(x, y):
    """Canonical correlations of (neurons, n) and (neurons, n), real or complex."""
    p = len(x)
    covariance = np.cov(x, y)
    whitened = (
        inverse_root(covariance[:p, :p]) @ covariance[:p, p:] @ inverse_root(covariance[p:, p:])
    )
    return np.linalg.svd(whitened)[1]


def svcca(x, y, keep=0.99):
    """Mean canonical correlation of two layers (n, p) and (n, q)."""
    return cca(leading_directions(x.T, keep), leading_directions(y.T, keep)).mean()


def spectra(x, frequencies):
    """Some frequencies of the DFT of a layer (n, c, h, w): (len(frequencies), c, n)."""
    rows, columns = np.array(frequencies).T
    mean = x.mean(axis=0)
    # In parts, which is faster, and a full spectrum of 10,000 images takes gigabytes.
    parts = [np.fft.fft2(part - mean)[:, :, rows, columns] for part in np.array_split(x, 20)]
    return np.concatenate(parts).transpose(2, 1, 0)


def dft_cca(x, y, keep=None):
    """Mean correlation over the frequencies of two spectra, by a loop."""
    found = []
    for a, b in zip(x, y, strict=True):
        if keep is not None:
            a, b = leading_directions(a, keep), leading_directions(b, keep)
        found.append(cca(a, b).mean())
    return np.mean(found)
