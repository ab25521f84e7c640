"""All layers of a network, decomposed one after another so that few are in memory at once.

One measure serves every pair of layers: SVCCA with the convolutional layers taken apart by the DFT,
cut where all their frequencies together hold 99 % of the variance (`svcca_lib.dft_cca` with
``keep=0.99``). Two layers of one spatial size meet at all frequencies, two of different sizes at
those that both have, a convolutional layer and a vector at the frequency zero; and for two vectors
it is plain SVCCA. The paper does not say how its convolutional layers entered; this is our choice.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from svcca_lib import FourierSubspace
from svcca_lib._linalg import one_thread_each
from svcca_lib.paper.experiments.inputs import Images
from svcca_lib.paper.training.networks import Network

CAPTURED_AT_ONCE = 2**28  # float32 numbers: 1 GiB of activations


def decomposed(
    network: Network, images: Images, keep: float
) -> Iterator[tuple[str, FourierSubspace]]:
    """Yield the layers of a network from the input upward, decomposed, a few captured at a time."""
    one = Images(images.pixels[:1], images.labels[:1], images.prepare)
    sizes = {name: x[0].numel() for name, x in one.responses(network, network.layers).items()}
    groups: list[list[str]] = [[]]
    for name in network.layers:
        held = sum(sizes[other] for other in groups[-1])
        if groups[-1] and len(images) * (held + sizes[name]) > CAPTURED_AT_ONCE:
            groups.append([])
        groups[-1].append(name)
    for group in groups:
        outputs = images.responses(network, group)

        def fit(name: str, outputs: dict[str, Tensor] = outputs) -> FourierSubspace:
            return FourierSubspace.fit(outputs.pop(name), keep)

        yield from zip(group, one_thread_each(fit, group), strict=True)
