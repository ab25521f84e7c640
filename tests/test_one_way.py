"""A layer goes one way: inputs, moments, subspace, measures, outputs, without a return."""

import itertools
import sys
from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import svcca_lib
from svcca_lib import FourierSubspace, Subspace, cca, cka, dft_cca, linear_regression, pwcca, svcca

ROOT = Path(svcca_lib.__file__).parent
# The front door hands a layer from stage to stage; the tools are at hand in all of them.
DOOR = {"measures/measure.py"}
DOOR_FUNCTIONS = {"prepare", "pair", "compare", "width", "fit", "subspace_of", "of_unit_norm"}
# It takes both at once, and asks for rows once more where a comparison needs them.
DOOR_FUNCTIONS |= {"_arrays", "decompose_all", "products"}
TOOLS = {"_linalg.py", "errors.py", "fourier/grid.py", "fourier/blocks.py"}
ARRAYS = np.random.default_rng(0).normal(size=(2, 60, 5))
IMAGES = np.random.default_rng(1).normal(size=(2, 60, 2, 4, 4))


def stage(path):
    """The stage of a module: its file, with the package of Fourier on the same footing."""
    name = path.removeprefix("fourier/").removeprefix("measures/").removesuffix(".py")
    if name in ("canonical", "alignment", "dft_cca", "chance", "similarity"):
        return "measures"
    return {
        "spectra": "moments",
        "layer": "moments",
        "pair_moments": "moments",
        "rank": "subspace",
    }.get(name, name)


def holds_data(value):
    if isinstance(value, np.ndarray | torch.Tensor):
        return True
    return is_dataclass(value) and type(value).__module__.startswith("svcca_lib")


def walk(call):
    """Stages that data enter, in order; those in a row once."""
    visited = []

    def profile(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(ROOT):
            return
        room = path.relative_to(ROOT).as_posix()
        function = frame.f_code.co_name
        if room in DOOR | TOOLS or function in DOOR_FUNCTIONS or function.startswith(("__", "<")):
            return
        arguments = frame.f_code.co_varnames[: frame.f_code.co_argcount]
        if any(holds_data(frame.f_locals.get(name)) for name in arguments if name != "self"):
            visited.append(stage(room))

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return [name for name, _ in itertools.groupby(visited)]


@pytest.mark.parametrize("measure", [svcca, cca, pwcca, linear_regression])
def test_a_layer_goes_from_inputs_to_moments_to_subspace_to_measures(measure):
    x, y = ARRAYS
    fitted = Subspace.fit(y)
    way = walk(lambda: measure(x, fitted))
    print(f"{measure.__name__}: {' > '.join(way)}")
    assert way in (
        ["inputs", "moments", "subspace", "measures", "outputs"],
        ["inputs", "moments", "subspace", "measures"],  # nothing but a number comes out
    )


def test_measures_of_rows_need_no_subspace():
    assert walk(lambda: cka(*ARRAYS)) == [*["inputs", "moments"] * 2, "measures"]


def test_frequencies_go_the_same_way():
    x, y = IMAGES
    fitted = FourierSubspace.fit(y)
    way = walk(lambda: dft_cca(x, fitted))
    print(f"dft_cca: {' > '.join(way)}")
    assert way == ["inputs", "moments", "subspace", "measures", "outputs"]


@pytest.mark.parametrize(("measure", "layers"), [(svcca, ARRAYS), (dft_cca, IMAGES)])
def test_both_layers_go_the_way_together(measure, layers):
    way = walk(lambda: measure(*layers))
    assert way == ["inputs", "moments", "subspace", "measures", "outputs"]
