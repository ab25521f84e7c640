"""Each figure of the book once, from made-up numbers: name -> a drawing and what it was given."""

import functools

import numpy as np
import pandas as pd

from svcca_lib.paper.experiments.pairing import side_by_side
from svcca_lib.paper.figures import (
    after_the_paper,
    class_sensitivity,
    compression,
    distributed_representations,
    dynamics,
    explained,
    figure_4_readings,
    fourier,
    freeze_training,
    imagenet,
    over_seeds,
    own_models,
    recurrent,
    resnet_against_convnet,
    series,
    toy_regression,
)
from svcca_lib.paper.figures.curves import Curve
from svcca_lib.paper.figures.tidy import table

RNG = np.random.default_rng(0)
INDEX = np.linspace(0, 999, 50).astype(int)
TIMES = ["0 %", "35 %", "75 %", "100 %"]


def shares(*shape):
    return RNG.uniform(0.1, 0.9, size=shape)


def ranges(n):
    low, mean, high = np.sort(shares(3, n), axis=0)
    return np.stack([mean, low, high], axis=1)


def appendix_figure_1():
    neurons, mixture, found = RNG.normal(size=(3, 50, 3))
    rho = {"A and B": np.ones(5), "A and C": np.linspace(1, 0.5, 5)}
    variances = {"B": np.array([0.7, 0.2, 0.1]), "C": np.array([0.4, 0.3, 0.3])}
    args = (INDEX, neurons, mixture, found, rho, variances, {"B": 2, "C": 3})
    return toy_regression.appendix_figure_1(*args), args


def figure_1():
    views = {
        title: side_by_side(*RNG.normal(size=(2, 50, 3)), signed=title == "neurons")
        for title in ("neurons", "SVD", "SVCCA")
    }
    return toy_regression.figure_1(INDEX, views, (1, *4 * [200], 4)), views


def figure_3():
    outputs = {title: RNG.normal(size=(50, 4)) for title in ("all", "2", "6")}
    return toy_regression.figure_3(INDEX, outputs, [1.0, 0.5, 0.12345]), outputs


def figure_2a():
    layers = {
        layer: {
            name: Curve(np.array([1, 3, 10]), shares(2, 5, 3))
            for name in distributed_representations.LINES_2A
        }
        for layer in ("p2 (64 neurons)", "fc1 (48 neurons)")
    }
    return distributed_representations.figure_2a(layers, full=0.9, chance=0.1), layers


def figure_2b():
    def curve():
        return Curve(np.arange(1, 5), 0.3 + shares(2, 4) / 2)

    layers = {
        layer: {m: {"read": curve(), "silent": curve()} for m in (5, 9)} for layer in ("fc1", "p2")
    }
    directions = {layer: curve() for layer in layers}
    figure = distributed_representations.figure_2b(layers, directions, full=0.9, chance=0.1)
    return figure, (layers, directions)


def appendix_figure_2():
    titles = ("Pixels, natural", "DFT, natural", "Pixels, all", "DFT, all")
    covariances = {title: shares(9, 9) for title in titles}
    return fourier.appendix_figure_2(covariances, [0.5, 0.12345, 0.3, 1e-9]), covariances


def appendix_c():
    sizes = {"channels": [1, 2, 4, 8], "side": [4, 6, 8, 12], "images": [500, 1000, 2000, 4000]}
    measured = {
        label: fourier.Scaling(
            np.array(at),
            shares(4),
            shares(4),
            None if label == "images" else (shares(4), shares(4)),
            (2.5, 1.2),
        )
        for label, at in sizes.items()
    }
    return fourier.appendix_c(measured), measured


def figure_4():
    rows = {"this book": shares(4, 5, 5), "paper": shares(4, 5, 5)}
    layers = ["c1", "c2", "c3", "c4", "fc"]
    return dynamics.figure_4(rows, TIMES, layers, {0: "c1", 2: "c3", 4: "fc"}), rows


def figure_4_differences():
    networks = {
        name: {time: RNG.normal(size=7) for time in TIMES} for name in ("ConvNet", "ResNet-32")
    }
    return dynamics.figure_4_differences(networks), networks


def appendix_figure_3():
    counted = np.array([True, True, True, True, False])
    networks = [
        dynamics.Convergence(
            np.linspace(0, 1, 6), shares(6, 5), shares(5), counted, title, list("abcde")
        )
        for title in ("ConvNet", "ResNet-32")
    ]
    return dynamics.appendix_figure_3(networks, 0.8), networks


def appendix_figure_4():
    matrix, chance = shares(5, 5), 0.3 * shares(5)
    return dynamics.appendix_figure_4(matrix, chance, list("abcde"), ("one", "two")), matrix


def figure_5():
    steps, freezes = np.arange(0, 1000, 100), np.array([400, 600, 800])
    networks = {
        title: freeze_training.Freezing(
            steps, np.sort(shares(3, 10)), np.sort(shares(3, 10)), ranges(10).T - 0.5, freezes
        )
        for title in ("ConvNet", "ResNet-32")
    }
    return freeze_training.figure_5(networks), networks


def figure_5_cost():
    stages = np.array([0, 400, 600, 800, 1000]), np.array([1, 0.8, 0.7, 0.5])
    networks = dict.fromkeys(("ConvNet", "ResNet-32"), stages)
    return freeze_training.figure_5_cost(networks), networks


def figure_6():
    networks = {
        title: class_sensitivity.Classes(
            shares(3, depth, 5),
            0.3 * shares(depth),
            [f"c{i}" for i in range(depth)],
            {0: "in", depth - 1: "fc"},
        )
        for title, depth in (("One", 9), ("Another", 5))
    }
    classes = ("cat", "dog", "ship", "truck", "frog")
    return class_sensitivity.figure_6(networks, classes), networks


def pairs_of_classes():
    networks = {
        title: class_sensitivity.PairsOfClasses(
            10.0 ** -(1 + 2 * shares(6)), shares(6), {"cat and dog": 1, "ship and truck": 4}
        )
        for title in ("One", "Another")
    }
    return class_sensitivity.pairs_of_classes(networks), networks


def figure_6_imagenet():
    shown = {
        "One": imagenet.Curves(shares(9, 5), 0.05 * shares(9, 5)),
        "Another": imagenet.Curves(shares(9, 5), chance=0.3 * shares(9)),
    }
    classes, layers = ("cat", "dog", "ship", "truck", "frog"), [f"block {i}" for i in range(9)]
    return imagenet.figure_6_imagenet(shown, classes, layers), shown


def all_classes():
    kinds = {
        title: imagenet.Kinds(
            {name: shares(9, 20) for name in ("things", "dogs", "cats")}, shares(9)
        )
        for title in ("Trained", "Before training")
    }
    apart = {title: shares(6) for title in kinds}
    layers = [f"block {i}" for i in range(9)]
    return imagenet.all_classes(kinds, "frog", layers, np.arange(2, 8), apart), (kinds, apart)


def readings_against_the_paper():
    readings = ("spatial means", "centre", "4 places")
    cuts = {
        title: figure_4_readings.Ways(
            readings,
            {kind: [shares(3) for _ in readings] for kind in figure_4_readings.KINDS},
            ("centre", "squares", 0.8) if title == "Nothing cut" else None,
        )
        for title in ("99 % of the variance", "Nothing cut")
    }
    marks = {"the DFT reading": 0.5, "depth alone": 0.4}
    drawn = figure_4_readings.readings_against_the_paper(cuts, marks, "rank correlation")
    return drawn, cuts


def figure_7():
    matrices = {title: shares(20, 9) for title in ("At the start", "At the end")}
    rows, columns = ([f"{kind}{i}" for i in range(n)] for kind, n in (("r", 20), ("c", 9)))
    return resnet_against_convnet.figure_7(matrices, rows, columns), matrices


def appendix_figure_5():
    ratios = (0.02, 0.05, 0.1, 0.15, 0.22, 0.35, 0.45, 0.63, 0.8, 1.0)
    accuracy = {name: shares(3, 5, len(ratios)) for name in ("two", "logits", "SVD")}
    full = {"training": 0.97, "test": 0.9}
    layers = ["fc2", "fc1", "p2", "c4", "c3"]
    return compression.appendix_figure_5(
        ratios, layers, accuracy, full, 0.1, (0.22, 0.35, 0.45, 0.63)
    ), accuracy


def perplexity():
    curves = np.array([[1500, 400, 200, 120], [1600, 410, 210, 130.0]])
    return recurrent.perplexity([0, 10, 100, 300], curves, 543.2), curves


def appendix_figure_6():
    similarity, share, floor = shares(3, 3, 6, 4)
    layers = ["embedding", "1", "2", "3"]
    args = (np.linspace(0, 1, 6), layers, similarity, share, 0.3 * floor)
    return recurrent.appendix_figure_6(*args), args


def layer_tables():
    matrix = shares(4, 5)
    matrix[0, 0] = np.nan
    tables = {
        "few": own_models.Cells(matrix, list("abcd"), list("vwxyz")),
        "many": own_models.Cells(
            shares(10, 12), [str(i) for i in range(10)], [f"layer{i}" for i in range(12)]
        ),
    }
    return own_models.layer_tables(tables, "SVCCA"), tables


def by_layer():
    layers = {"One": list("abc"), "Another": list("abcd")}
    found = {
        title: {
            reading: (shares(len(names)), 0.3 * shares(len(names)))
            for reading in ("datapoints", "mean")
        }
        for title, names in layers.items()
    }
    return own_models.by_layer(found, layers, "SVCCA similarity"), found


def curves():
    x = np.array([0, 1, 10, 100.0])
    shown = {
        "One": series.Lines(
            x, {"p": shares(4), "q": shares(4)}, "x", scale="symlog", marks={"m": 0.5}
        ),
        "Two": series.Lines(x[1:], {"q": shares(3), "r": np.full(3, np.nan)}, "y", scale="log"),
        "Three": series.Lines(x, {"p": shares(4)}, "z"),
    }
    return series.curves(shown, "value", columns=2), shown


def dots():
    names = list("abc")
    partly = ranges(3)
    partly[1] = np.nan
    shown = {
        "One": series.Dots(names, {"p": ranges(3), "q": partly}, "x", {}),
        "Two": series.Dots(names, {"q": ranges(3)}, "y", {"half": 0.5, "all": 1.0}),
    }
    return series.dots(shown), shown


def definitions():
    names = [f"{energy}, {mean}" for energy in ("variance", "values") for mean in "abc"]
    own, seeds = ({name: shares(n) for name in names} for n in (6, 5))
    kept = {"variance": shares(5), "values": shares(5)}
    args = (own, seeds, 0.3 * shares(5), kept, np.linspace(0, 1, 6), list("abcde"))
    return after_the_paper.definitions(*args), args


def turning_direction():
    product = np.array([[0.7, 0.4], [0.7, -0.4]])
    return explained.turning_direction(product), product


def two_readings():
    angle = np.deg2rad(35)
    vectors = np.array([0.7, 0.8]), np.array([1.1, 0.0]), np.array([np.cos(angle), np.sin(angle)])
    return explained.two_readings(*vectors), vectors


def common_frequencies():
    pairs = {"One size": ((8, 8), (8, 8)), "Two sizes": ((8, 8), (4, 4))}
    return explained.common_frequencies(pairs), pairs


def means_over_seeds():
    mean = pd.concat([table(EXAMPLES[name]()[0].page) for name in ("curves", "figure_7", "dots")])
    mean = mean.reset_index(drop=True)
    low, high = (mean.copy() for _ in range(2))
    for column in ("x", "y"):
        low[column] -= 0.05
        high[column] += 0.05
    return over_seeds.over_seeds(mean, low, high), mean


def drawn_anew(example):
    """The example with numbers of its own: whichever were drawn before."""

    @functools.cache
    @functools.wraps(example)
    def alone():
        RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state
        return example()

    return alone


EXAMPLES = {
    example.__name__: drawn_anew(example)
    for example in (
        appendix_figure_1,
        figure_1,
        figure_3,
        figure_2a,
        figure_2b,
        appendix_figure_2,
        appendix_c,
        figure_4,
        figure_4_differences,
        readings_against_the_paper,
        appendix_figure_3,
        appendix_figure_4,
        figure_5,
        figure_5_cost,
        figure_6,
        pairs_of_classes,
        figure_6_imagenet,
        all_classes,
        figure_7,
        appendix_figure_5,
        perplexity,
        appendix_figure_6,
        layer_tables,
        by_layer,
        curves,
        dots,
        definitions,
        turning_direction,
        two_readings,
        common_frequencies,
    )
}
EXAMPLES["over_seeds"] = functools.cache(means_over_seeds)


def has_line(ax, x, y):
    lines = [(line.get_xdata(), line.get_ydata()) for line in ax.lines]
    return any(len(a) == len(x) and np.allclose(a, x) and np.allclose(b, y) for a, b in lines)


def titles(figure):
    return [t for ax in figure.axes if (t := ax.get_title(loc="left"))]
