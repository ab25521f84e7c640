"""Which layers are meant: every form of the grammar, and a sentence where nothing can be."""

import logging
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from svcca_lib import capture, compare, compress, gather
from svcca_lib.models.parts import part

X = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


class Blocks(nn.Module):
    """A list of blocks, as a transformer's."""

    def __init__(self, n=12, kind=nn.ModuleList):
        super().__init__()
        torch.manual_seed(0)
        blocks = [nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(n)]
        named = {chr(ord("a") + i): block for i, block in enumerate(blocks)}
        self.blocks = kind(blocks if kind is nn.ModuleList else named)

    def forward(self, x):
        for block in self.blocks.values() if hasattr(self.blocks, "values") else self.blocks:
            x = block(x)
        return x


def by_hand(model, x):
    found = []
    for block in model.blocks:
        x = block(x)
        found.append(x)
    return found


# --- patterns ------------------------------------------------------------------------------------


def test_a_number_sign_is_every_block_and_only_the_blocks(caplog):
    model = Blocks()
    out = capture(model, "blocks.#", X)
    assert list(out) == [f"blocks.{i}" for i in range(12)]
    for got, expected in zip(out.values(), by_hand(model, X), strict=True):
        torch.testing.assert_close(got, expected)
    assert list(capture(model, "blocks.#.0", X)) == [f"blocks.{i}.0" for i in range(12)]
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("pattern", "found", "better"),
    [("blocks.?", 10, "blocks.#"), ("blocks.[0-9].1", 10, "blocks.#.1"), ("b*.??", 2, "b*.#")],
)
def test_blocks_left_out_by_their_digits_alone_are_told(caplog, pattern, found, better):
    out = capture(Blocks(), pattern, X)
    assert len(out) == found
    told = [r.getMessage() for r in caplog.records]
    missed = "'blocks.10" if found == 10 else "'blocks.0'"
    assert len(told) == 1
    assert missed in told[0]
    assert f"{better!r} means every one" in told[0]


@pytest.mark.parametrize("pattern", ["blocks.[12]", "blocks.*", "blocks.1?", "blocks.?.[01]"])
def test_what_was_chosen_by_more_than_digits_is_not_told(caplog, pattern):
    model = Blocks(12 if pattern != "blocks.?.[01]" else 10)
    capture(model, pattern, X)
    assert caplog.text == ""


def test_a_star_crosses_dots_as_documented():
    assert list(capture(Blocks(2), "blocks.*", X)) == [
        *("blocks.0.0", "blocks.0.1", "blocks.0"),
        *("blocks.1.0", "blocks.1.1", "blocks.1"),
    ]


# --- types, the model itself, runs ---------------------------------------------------------------


def test_layers_by_type():
    model = mlp()
    assert list(capture(model, nn.Linear, X)) == ["0", "2"]
    assert list(capture(model, [nn.ReLU, "0", model[2]], X)) == ["1", "0", "2"]
    assert list(capture(model, nn.Linear | nn.ReLU, X)) == ["0", "1", "2"]
    assert list(compare(model, model, X, nn.Linear, measure="cka", progress=False).layers_a) == [
        "0",
        "2",
    ]
    with pytest.raises(ValueError, match=r"no layer of type Conv2d .* it has Linear, ReLU, Seq"):
        capture(model, nn.Conv2d, X)
    with pytest.raises(TypeError, match=r"by type must be a torch\.nn\.Module; got int"):
        capture(model, int, X)


def test_the_models_own_output():
    model = mlp().eval()
    for spec in ("", model, nn.Sequential, ["0", ""]):
        out = capture(model, spec, X)
        torch.testing.assert_close(out[""], model(X))
    table = compare(model, model, X, "", measure="cka", progress=False)
    assert table.layers_a == ("",)
    assert table.matrix[0, 0] == pytest.approx(1)


def test_a_model_without_submodules_is_its_own_layer():
    model = nn.Linear(4, 3)
    assert torch.equal(capture(model, "all", X)[""], model(X))
    with pytest.raises(ValueError, match="it has none below itself, which is ''"):
        capture(model, "0", X)


def test_an_empty_module_is_a_layer():
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential())
    assert torch.equal(*capture(model, ["0", "1"], X).values())


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm])
def test_layers_that_make_their_weight(wrap):
    torch.manual_seed(0)
    model = nn.Sequential(wrap(nn.Linear(4, 5)), nn.ReLU(), nn.Linear(5, 3)).eval()
    for spec in ("all", "#", "*", [nn.Linear, nn.ReLU]):
        out = capture(model, spec, X)
        assert sorted(out) == ["0", "1", "2"]
        torch.testing.assert_close(out["0"], model[0](X))


class Shared(nn.Module):
    """One ReLU under two names, run three times."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act, self.second = nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4)
        self.again = self.act

    def forward(self, x):
        return self.again(self.second(self.act(self.first(self.act(x)))))


def test_a_shared_module_goes_by_each_of_its_names():
    model = Shared()
    runs = list(capture(model, "act", X).values())
    out = capture(model, "again", X)
    assert list(out) == ["again#1", "again#2", "again#3"]
    for a, b in zip(runs, out.values(), strict=True):
        assert torch.equal(a, b)
    torch.testing.assert_close(out["again#3"], model(X))
    # A pattern that covers both names, and a type, mean the module once.
    assert list(capture(model, "a*", X)) == ["act#1", "act#2", "act#3"]
    assert list(capture(model, nn.ReLU, X)) == ["act#1", "act#2", "act#3"]
    assert list(capture(model, "ag*", X)) == ["again#1", "again#2", "again#3"]


@pytest.mark.parametrize("spec", ["act#2", "act_1"])
def test_one_run_of_a_module_by_its_number_or_as_fx_counts(spec):
    model = Shared()
    out = capture(model, spec, X)
    assert list(out) == ["act#2"]
    torch.testing.assert_close(out["act#2"], model.first(X.relu()).relu())


def test_every_name_that_capture_gives_it_takes():
    model = Shared()
    first = capture(model, "all", X)
    again = capture(model, list(first), X)
    assert list(first) == list(again)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_runs_that_there_are_not():
    with pytest.raises(ValueError, match="no layer 'act#4': 'act' runs 3 times"):
        capture(Shared(), "act#4", X)
    with pytest.raises(ValueError, match="'first' runs once: ask for 'first'"):
        capture(Shared(), "first#1", X)


def test_names_of_fx_nodes():
    from torch import fx

    model = mlp().eval()
    traced = fx.symbolic_trace(model)
    names = [node.name for node in traced.graph.nodes if node.op == "call_module"]
    for of in (traced, model):
        out = capture(of, names, X)
        assert list(out) == ["0", "1", "2"]
        torch.testing.assert_close(out["2"], model(X))


def test_names_of_torchvisions_feature_extractors():
    from torchvision.models import resnet18
    from torchvision.models.feature_extraction import create_feature_extractor

    torch.manual_seed(0)
    model, data = resnet18().eval(), torch.randn(4, 3, 32, 32)
    relu, add = (
        create_feature_extractor(model, [f"layer1.0.{node}"]) for node in ("relu_1", "add")
    )
    out = capture(model, "layer1.0.relu_1", data)
    torch.testing.assert_close(out["layer1.0.relu#2"], relu(data)["layer1.0.relu_1"])
    # What is no module is the output of an extractor made for it.
    torch.testing.assert_close(capture(add, "", data)[""], add(data)["layer1.0.add"])
    torch.testing.assert_close(
        capture(add, "layer1.0.conv1", data)["layer1.0.conv1"],
        capture(model, "layer1.0.conv1", data)["layer1.0.conv1"],
    )


# --- the parts of a transformer ------------------------------------------------------------------


def vit(layers=2):
    from torchvision.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    return VisionTransformer(
        image_size=8, patch_size=4, num_layers=layers, num_heads=2, hidden_dim=8, mlp_dim=12
    ).eval()


def test_parts_of_a_vision_transformer_add_up_to_its_stream():
    model, data = vit(), torch.randn(5, 3, 8, 8)
    block = "encoder.layers.encoder_layer_"
    residual = capture(model, "residual", data)
    assert list(residual) == [f"{block}0", f"{block}1"]
    attn, mlp = capture(model, "attn", data), capture(model, "mlp", data)
    assert list(attn) == [f"{block}0.self_attention", f"{block}1.self_attention"]
    assert list(mlp) == [f"{block}0.mlp", f"{block}1.mlp"]
    torch.testing.assert_close(
        residual[f"{block}0"] + attn[f"{block}1.self_attention"] + mlp[f"{block}1.mlp"],
        residual[f"{block}1"],
    )
    table = compare(model, model, data.repeat(4, 1, 1, 1), "attn", "mlp", tokens="mean",
                    measure="cka", progress=False)  # fmt: skip
    assert table.layers_b == tuple(mlp)


def test_parts_of_torchs_own_encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    data = torch.randn(5, 3, 8)
    names = {p: list(capture(model, p, data)) for p in ("residual", "attn", "mlp")}
    assert names == {
        "residual": ["layers.0", "layers.1"],
        "attn": ["layers.0.self_attn", "layers.1.self_attn"],
        "mlp": ["layers.0.linear2", "layers.1.linear2"],
    }


def tree(**children):
    """Modules of these names, as another library would have them."""
    made = nn.Module()
    for name, child in children.items():
        made.add_module(name, child)
    return made


def leaf():
    return nn.Identity()


@pytest.mark.parametrize(
    ("block", "attn", "mlp"),
    [
        # GPT-2, timm, open_clip; Llama; OPT, BART, Whisper; T5; BERT; GPT-NeoX; ALBERT
        ({"attn": leaf(), "mlp": tree(fc1=leaf(), fc2=leaf())}, "attn", "mlp"),
        ({"self_attn": leaf(), "mlp": leaf()}, "self_attn", "mlp"),
        ({"self_attn": leaf(), "fc1": leaf(), "fc2": leaf()}, "self_attn", "fc2"),
        (
            {"layer": nn.ModuleList([tree(SelfAttention=leaf()), tree(DenseReluDense=leaf())])},
            "layer.0.SelfAttention",
            "layer.1.DenseReluDense",
        ),
        (
            {
                "attention": tree(
                    self=tree(query=leaf()), output=tree(dense=leaf(), LayerNorm=leaf())
                ),
                "intermediate": tree(dense=leaf()),
                "output": tree(dense=leaf(), LayerNorm=leaf()),
            },
            "attention.output.dense",
            "output.dense",
        ),
        ({"attention": tree(attention=leaf()), "mlp": leaf()}, "attention", "mlp"),
        (
            {
                "attention": tree(query=leaf(), dense=leaf(), LayerNorm=leaf()),
                "ffn": leaf(),
                "ffn_output": leaf(),
            },
            "attention.dense",
            "ffn_output",
        ),
    ],
)
def test_parts_as_other_libraries_call_them(block, attn, mlp):
    model = tree(h=nn.ModuleList([tree(**block), tree(**block)]), head=tree(mlp_head=leaf()))
    modules = dict(model.named_modules(remove_duplicate=False))
    assert list(part("residual", modules)) == ["h.0", "h.1"]
    assert list(part("attn", modules)) == [f"h.{i}.{attn}" for i in range(2)]
    assert list(part("mlp", modules)) == [f"h.{i}.{mlp}" for i in range(2)]


def test_residual_blocks_of_a_resnet_and_what_it_has_not():
    from torchvision.models import resnet18

    model = resnet18()
    names = list(capture(model, "residual", torch.randn(2, 3, 32, 32)))
    assert names == [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)]
    with pytest.raises(ValueError, match=r"no 'attn' in the model, .*attention.* of .*BasicBlock"):
        capture(model, "attn", torch.randn(2, 3, 32, 32))


def test_a_layer_of_that_name_comes_before_the_part():
    model = nn.Sequential()
    model.add_module("mlp", nn.Linear(4, 2))
    assert list(capture(model, "mlp", X)) == ["mlp"]


# --- what wraps a model --------------------------------------------------------------------------


def wrapped(model, how):
    if how == "compile":
        return torch.compile(model, backend="eager")
    if how == "compiled in place":
        model.compile(backend="eager")
        return model
    if how == "compiled inside":
        model[0] = torch.compile(model[0], backend="eager")
        return model
    return nn.DataParallel(model)


@pytest.mark.parametrize("how", ["compile", "compiled in place", "compiled inside", "DataParallel"])
def test_wrapped_models_have_the_names_and_numbers_of_the_bare_one(how):
    nested = nn.Sequential(mlp(), nn.Tanh()).eval()
    expected = capture(nested, ["0.1", "1", ""], X)
    model = wrapped(nested, how)
    model(X)  # what is compiled without hooks calls none
    out = capture(model, ["0.1", "1", ""], X)
    assert list(out) == list(expected)
    for name in out:
        torch.testing.assert_close(out[name], expected[name])
    assert list(capture(model, "all", X)) == ["0.0", "0.1", "0.2", "1"]
    prefix = {"DataParallel": "module.", "compile": "_orig_mod."}.get(how, "")
    assert list(capture(model, f"{prefix}0.1", X)) == ["0.1"]
    assert list(capture(model, model, X)) == [""]
    table = compare(model, mlp(), X, ["0.2", ""], ["2", ""], measure="cka", progress=False)
    assert table.layers_a == ("0.2", "")
    assert table.matrix[0, 0] == pytest.approx(1)
    assert not nested.training


def test_the_compiler_is_given_back():
    import torch._dynamo

    model = torch.compile(mlp(), backend="eager")
    stance = torch._dynamo.eval_frame._stance
    with pytest.raises(RuntimeError):
        capture(model, "0", torch.ones(3, 9))
    assert torch._dynamo.eval_frame._stance == stance


def test_a_compiled_model_compresses_by_the_same_names():
    model = mlp().eval()
    directions = {"1": torch.eye(8)[:, :2]}
    a, b = (compress(m, directions)(X) for m in (model, torch.compile(model, backend="eager")))
    torch.testing.assert_close(a, b)


# --- sentences -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "form"), [(nn.ModuleList, "'blocks.#'"), (nn.ModuleDict, r"'blocks\.\*'")]
)
def test_containers_say_that_they_never_run(kind, form):
    model = Blocks(3, kind)
    message = f"'blocks' is a {kind.__name__}, which holds 3 layers and never runs itself; .*{form}"
    for spec in ("blocks", model.blocks, kind):
        with pytest.raises(ValueError, match=message):
            capture(model, spec, X)


def test_what_a_forward_pass_goes_past():
    class Past(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.weight = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.linear.forward(x) @ self.weight.weight

    for name in ("linear", "weight"):
        with pytest.raises(ValueError, match=rf"{name}' did not run .*weights or its \.forward\("):
            capture(Past(), name, X)


@pytest.mark.parametrize("make", ["script", "trace"])
def test_scripted_models(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(mlp()) if make == "script" else torch.jit.trace(mlp(), X)
    with pytest.raises(TypeError, match=r"scripted or traced .* give the torch.nn.Module that it"):
        capture(made, "0", X)
    inside = nn.Sequential(nn.Linear(4, 4), made)
    with pytest.raises(ValueError, match="layer '1' is scripted or traced"):
        capture(inside, "1", X)
    assert list(capture(inside, ["0", ""], X)) == ["0", ""]


def test_a_pattern_leaves_out_what_is_scripted_and_says_so(caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(nn.Sequential(nn.Linear(4, 4)))
    assert list(capture(nn.Sequential(nn.Linear(4, 4), made), "all", X)) == ["0"]
    assert "left out: '1', '1.0'" in caplog.text


def test_exported_programs():
    model = mlp().eval()
    program = torch.export.export(
        model, (X,), dynamic_shapes={"input": {0: torch.export.Dim.DYNAMIC}}
    )
    with pytest.raises(TypeError, match=r"ExportedProgram, whose layers .*torch\.export\.unfl"):
        capture(program, "0", X)
    with pytest.raises(TypeError, match=r"no evaluation mode.*torch\.export\.unflatten\(program\)"):
        capture(program.module(), "0", X)
    out = capture(torch.export.unflatten(program), ["0", "2"], X, batch_size=12)
    torch.testing.assert_close(out["2"], model(X))


def test_what_is_no_model():
    class Pipeline:
        model = mlp()

    with pytest.raises(TypeError, match=r"got Pipeline, whose .model is one: give that"):
        capture(Pipeline(), "0", X)
    with pytest.raises(TypeError, match=r"Module; got function; .* as arrays: svcca\(x, y\)"):
        compare(lambda x: x, mlp(), X)


def test_a_loader_in_the_place_of_layers():
    with pytest.raises(TypeError, match=r"layers must be .* got DataLoader; .* is loader_b="):
        compare(mlp(), mlp(), X, DataLoader(X), progress=False)


def test_memory_that_does_not_do():
    class Huge(nn.Module):
        def forward(self, x):
            return x[:, :1].expand(len(x), 10**14)

    model = nn.Sequential(nn.Linear(4, 2), Huge())
    with pytest.raises(MemoryError, match=r"memory is short, 1.2e\+07 GB cannot be had: capture"):
        capture(model, "1", X)
    with pytest.raises(MemoryError, match=r"GB cannot be had: .*choose fewer layers"):
        gather(model, model, X, "1", progress=False)

    def other(model, batch):
        raise RuntimeError("of another kind")

    with pytest.raises(RuntimeError, match=r"^of another kind$"):
        capture(model, "1", X, feed=other)


# --- values --------------------------------------------------------------------------------------


def test_what_is_captured_can_be_written_into():
    model = mlp().eval()
    data = X.clone()
    model.append(nn.Identity())
    out = capture(model, ["2", "3", ""], data)
    out["2"].zero_()
    torch.testing.assert_close(out["3"], model(X))
    assert torch.equal(out["3"], out[""])
    assert torch.equal(data, X)
    same = capture(nn.Identity(), "", data)[""]
    same.zero_()
    assert torch.equal(data, X)


def test_under_inference_mode():
    model = mlp().eval()
    expected = compare(model, mlp(1), X, measure="cka", progress=False).matrix
    with torch.inference_mode():
        out = capture(model, "0", X)["0"]
        moments = gather(model, mlp(1), X[:10], progress=False)
        table = compare(model, mlp(1), X, measure="cka", progress=False)
    np.testing.assert_allclose(table.matrix, expected)
    out += 1
    out.requires_grad_().sum().backward()
    with torch.no_grad():
        rest = [capture(m, "all", X[10:]) for m in (model, mlp(1))]
    moments.update(*rest)
    np.testing.assert_allclose(moments.table("cka").matrix, expected, atol=1e-12)


def test_under_autocast_the_model_alone_is_of_low_precision():
    model, other = mlp().eval(), mlp(1).eval()
    with torch.autocast("cpu", torch.bfloat16):
        out = capture(model, "2", X)["2"]
        table = compare(model, other, X, "2", measure="cka", progress=False)
        arrays = [m(X).detach().double() for m in (model, other)]
    assert out.dtype == torch.bfloat16
    x, y = (a - a.mean(0) for a in arrays)
    expected = (x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())
    assert table.matrix[0, 0] == pytest.approx(float(expected), abs=1e-9)


def test_under_another_default_device():
    model, other = mlp(), mlp(1)
    expected = compare(model, other, X, measure="cka", progress=False).matrix
    torch.set_default_device("meta")  # whatever is made on it has no numbers
    try:
        table = compare(model, other, X, loader_b=X.numpy(), measure="cka", progress=False)
        out = capture(model, "0", X)["0"]
    finally:
        torch.set_default_device(None)
    np.testing.assert_allclose(table.matrix, expected)
    assert out.device.type == "cpu"


def test_threads_on_one_model_do_not_mix():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 3))
    model.train()
    inputs = [torch.randn(40, 4) for _ in range(4)]
    reference = [capture(model, "all", x) for x in inputs]
    before = model[2].running_mean.clone()
    found, errors = [{} for _ in inputs], []

    def work(i):
        try:
            for _ in range(5):
                found[i] = capture(model, "all", inputs[i].split(3))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for got, expected in zip(found, reference, strict=True):
        for name in expected:
            torch.testing.assert_close(got[name], expected[name])
    assert all(module.training for module in model.modules())
    assert torch.equal(model[2].running_mean, before)


def test_the_log_names_nothing_twice(caplog):
    caplog.set_level(logging.WARNING)
    compare(Blocks(), Blocks(), X, ["blocks.#"], measure="cka", progress=False)
    assert caplog.text == ""
