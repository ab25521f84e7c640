"""Independent routes to the numbers of svcca_lib, and layers whose answers are known beforehand.

Nothing here imports the library: NumPy and SciPy in float64, by other algorithms than its own.
"""

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.spatial
import scipy.stats


def centred(x):
    return np.asarray(x, dtype=np.float64) - np.asarray(x, dtype=np.float64).mean(axis=0)


def orthonormal(rng, n, k):
    """(n, k) orthonormal columns, each of mean zero, so that centring leaves them alone."""
    return np.linalg.qr(centred(rng.normal(size=(n, k))))[0]


def layer(rng, n, spectrum, p=None):
    """A layer with these singular values in p neurons, and a mean far from zero."""
    k = len(spectrum)
    rotation = np.linalg.qr(rng.normal(size=(p or k, p or k)))[0][:k]
    return orthonormal(rng, n, k) * np.asarray(spectrum, dtype=float) @ rotation + 3.0


def cca_by_qr(x, y, tolerance=1e-9):
    """Canonical correlations by pivoted QR and an SVD (Bjoerck and Golub 1973)."""
    bases = []
    for z in (x, y):
        q, r, _ = scipy.linalg.qr(centred(z), mode="economic", pivoting=True)
        diagonal = np.abs(np.diag(r))
        bases.append(q[:, : int((diagonal > tolerance * diagonal[0]).sum())])
    return scipy.linalg.svdvals(bases[0].T @ bases[1])


def svcca_by_svd(x, y, keep=0.99, power=2):
    """Correlations of the leading singular directions; power 2 is variance, 1 singular values."""
    bases = []
    for z in (x, y):
        u, s, _ = np.linalg.svd(centred(z), full_matrices=False)
        held = np.cumsum(s**power) / (s**power).sum()
        bases.append(u[:, : int(np.searchsorted(held, keep - 1e-13)) + 1])
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)


def pwcca_by_definition(x, y):
    """Morcos et al. 2018, with canonical variates of x found by whitening both layers."""
    xc, yc = centred(x), centred(y)
    qx, qy = np.linalg.qr(xc)[0], np.linalg.qr(yc)[0]
    u, rho, _ = np.linalg.svd(qx.T @ qy, full_matrices=False)
    variates = qx @ u
    alpha = np.abs(variates.T @ xc).sum(axis=1)
    return (alpha * rho).sum() / alpha.sum()


def hsic_unbiased(k, m):
    """Equation (5) of Song et al. 2012, term by term."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    total = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def hsic_biased(k, m):
    n = len(k)
    h = np.eye(n) - np.ones((n, n)) / n
    return np.trace(k @ h @ m @ h) / (n - 1) ** 2


def planted(rng, n, rhos, p, q):
    """Two layers of a joint Gaussian whose population canonical correlations are `rhos` and 0."""
    rhos = np.asarray(rhos, dtype=float)
    k = len(rhos)
    zx, zy = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    zy[:, :k] = rhos * zx[:, :k] + np.sqrt(1 - rhos**2) * zy[:, :k]
    return zx @ rng.normal(size=(p, p)) + 2.0, zy @ rng.normal(size=(q, q)) - 1.0


def nearest(x, k, metric="cosine"):
    """The k nearest of each row, one by one, as sets."""
    x = np.asarray(x, dtype=np.float64)
    found = []
    for i, row in enumerate(x):
        if metric == "cosine":
            far = [-(row @ z) / np.linalg.norm(row) / np.linalg.norm(z) for z in x]
        else:
            far = [np.linalg.norm(row - z) for z in x]
        far[i] = np.inf
        found.append(set(np.argsort(far)[:k].tolist()))
    return found


def mutual_knn_by_sets(x, y, k, metric="cosine"):
    both = zip(nearest(x, k, metric), nearest(y, k, metric), strict=True)
    return np.mean([len(a & b) / k for a, b in both])


def jaccard_by_sets(x, y, k, metric="cosine"):
    both = zip(nearest(x, k, metric), nearest(y, k, metric), strict=True)
    return np.mean([len(a & b) / len(a | b) for a, b in both])


def cknna_by_definition(x, y, k, metric="cosine"):
    """Huh et al. 2024: products of centred kernels, summed over common neighbours."""
    kernels, sets = [], [nearest(z, k, metric) for z in (x, y)]
    for z in (x, y):
        z = z / np.linalg.norm(z, axis=1, keepdims=True) if metric == "cosine" else z
        h = np.eye(len(z)) - 1 / len(z)
        kernels.append(h @ (z @ z.T) @ h)

    def aligned(a, b):
        (k, m), (s, t) = ([both[a], both[b]] for both in (kernels, sets))
        return sum(k[i, j] * m[i, j] for i in range(len(k)) for j in s[i] & t[i])

    return aligned(0, 1) / np.sqrt(aligned(0, 0) * aligned(1, 1))


def rsa_by_definition(x, y, distance="correlation", by="spearman"):
    vectors = [scipy.spatial.distance.pdist(z, distance) for z in (x, y)]
    correlate = {"spearman": scipy.stats.spearmanr, "pearson": scipy.stats.pearsonr}[by]
    return correlate(*vectors)[0]


def soft_matching_by_copies(x, y):
    """Each neuron as often as makes the widths equal; then the best one-to-one matching."""
    p, q = x.shape[1], y.shape[1]
    gain = np.corrcoef(x.T, y.T)[:p, p:]
    width = np.lcm(p, q)
    gain = np.repeat(np.repeat(gain, width // p, axis=0), width // q, axis=1)
    rows, columns = scipy.optimize.linear_sum_assignment(-gain)
    return gain[rows, columns].mean()
