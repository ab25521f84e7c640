"""Images per second of the training loop against a plain one, on this machine, in one run.

    python benchmarks/training_throughput.py [convnet|resnet] [--steps N] [--images N]

Both train the same network on the same random 32 x 32 images with the same optimiser. The plain
loop is what a tutorial has: float32, NCHW, a DataLoader that translates one image at a time. The
two take turns, so that whatever else the machine does falls on both.
"""

import argparse
import statistics
import time

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.training import loop, tasks
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.networks import NetworkConfig, build

NETWORKS = {
    "convnet": NetworkConfig("convnet", (3, 32, 32), 10, width=64, fc=(512, 256)),
    "resnet": NetworkConfig("resnet", (3, 32, 32), 10, width=16, depth=5),
}
BATCH, TRANSLATE, ROUNDS = 128, 2, 3


def random_images(n):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (n,), generator=generator)
    half = torch.full((3,), 0.5)
    names = tuple("0123456789")
    return ImageData(
        "noise", "noise", images, labels, images[:1], labels[:1], names, half, half, "noise"
    )


class OneByOne(Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data.train_images)

    def __getitem__(self, i):
        image = self.data.normalised(self.data.train_images[i])
        down, right = torch.randint(2 * TRANSLATE + 1, (2,)).tolist()
        padded = functional.pad(image, [TRANSLATE] * 4)
        return padded[:, down : down + 32, right : right + 32], self.data.train_labels[i]


def plain_loop(config, data):
    network = build(config.network, 0).train()
    optimizer = loop.make_optimizer(config, network)
    loader = DataLoader(OneByOne(data), config.batch_size, shuffle=True, drop_last=True)
    while True:
        for x, y in loader:
            functional.cross_entropy(network(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            yield


def our_loop(config, data):
    network = build(config.network, 0).to(memory_format=torch.channels_last).train()
    optimizer = loop.make_optimizer(config, network)
    task = tasks.make_task(config, data, torch.device("cpu"))
    for step in range(config.steps):
        x, y = task.batch(step)
        with task.autocast():
            output = network(x)
        task.score(output, y)[0].backward()
        optimizer.step()
        optimizer.zero_grad()
        yield


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", default="convnet", choices=NETWORKS)
    parser.add_argument("--steps", type=int, default=8, help="timed steps of a round")
    parser.add_argument("--images", type=int, default=4096)
    options = parser.parse_args()
    data = random_images(options.images)
    config = TrainConfig(
        NETWORKS[options.network], "noise", steps=10_000, batch_size=BATCH, translate=TRANSLATE
    )
    loops = {"plain": plain_loop(config, data), "svcca_lib": our_loop(config, data)}
    speeds = {name: [] for name in loops}
    for steps in loops.values():
        for _ in range(2):  # warm up
            next(steps)
    for _ in range(ROUNDS):
        for name, steps in loops.items():
            started = time.perf_counter()
            for _ in range(options.steps):
                next(steps)
            speeds[name].append(options.steps * BATCH / (time.perf_counter() - started))
    print(
        f"{options.network}, batch {BATCH}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, bfloat16 {tasks.computes_in_bfloat16(torch.device('cpu'))}, "
        f"median of {ROUNDS} rounds of {options.steps} steps"
    )
    for name, values in speeds.items():
        spread = f"{min(values):.0f} to {max(values):.0f}"
        print(f"{name:10s} {statistics.median(values):8.0f} images/s  ({spread})")
    ratio = statistics.median(speeds["svcca_lib"]) / statistics.median(speeds["plain"])
    print(f"ratio      {ratio:8.1f}")


if __name__ == "__main__":
    main()
