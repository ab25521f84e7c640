"""The store: what is kept is what was made, under a key that nothing else shares."""

import dataclasses
import hashlib
import json
import shutil
import warnings

import platformdirs
import pytest
import torch

from svcca_lib.paper.store.bundle import CHECKSUMS, RECORD, TENSORS
from svcca_lib.paper.store.environment import environment
from svcca_lib.paper.store.store import Store, StoreWarning

TENSORS_MADE = {
    "float32": torch.arange(6.0).reshape(2, 3),
    "strided": torch.arange(6.0).reshape(2, 3).T,
    "bfloat16": torch.ones(3, dtype=torch.bfloat16),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(7),
    "float64": torch.tensor([1 / 3], dtype=torch.float64),
}


class Maker:
    """A maker that counts how often it is called."""

    def __init__(self, tensors=None, meta=None):
        self.tensors = TENSORS_MADE if tensors is None else tensors
        self.meta = {"accuracy": 0.25} if meta is None else meta
        self.calls = 0

    def __call__(self, workspace):
        assert workspace.is_dir()
        self.calls += 1
        return self.tensors, self.meta


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def fetch(store, make, config=None, version="v1", name="small"):
    return store.fetch("network", config or {"seed": 3}, make, version=version, name=name)


def test_an_artefact_is_made_once_and_comes_back_as_it_was(store):
    make = Maker(meta={"loss": float("nan"), "rows": [(1, "c1")]})
    made, loaded = fetch(store, make), fetch(store, make)
    assert make.calls == 1
    assert made.key == loaded.key
    assert made.path == loaded.path
    for artefact in (made, loaded):
        assert artefact.tensors.keys() == TENSORS_MADE.keys()
        for name, tensor in TENSORS_MADE.items():
            assert artefact.tensors[name].dtype == tensor.dtype
            assert torch.equal(artefact.tensors[name], tensor)
        assert artefact.meta["rows"] == [[1, "c1"]]
        assert artefact.meta["loss"] != artefact.meta["loss"]
    assert made.provenance == loaded.provenance


def test_the_key_is_the_hash_of_kind_configuration_and_version(store):
    artefact = fetch(store, Maker(), {"seed": 3, "lr": 0.1, "widths": (4, 2)})
    text = '{"config":{"lr":0.1,"seed":3,"widths":[4,2]},"kind":"network","version":"v1"}'
    assert artefact.key == hashlib.sha256(text.encode()).hexdigest()
    assert artefact.path == store.root / "network" / f"small-{artefact.key[:12]}"


def test_the_key_ignores_order_and_container_and_nothing_else(store):
    @dataclasses.dataclass(frozen=True)
    class Inner:
        width: int = 4

    @dataclasses.dataclass(frozen=True)
    class Config:
        inner: Inner = Inner()
        seed: int = 3

    make = Maker()
    fetch(store, make, Config())
    fetch(store, make, {"seed": 3, "inner": {"width": 4}})
    assert make.calls == 1
    fetch(store, make, {"seed": 4, "inner": {"width": 4}})
    fetch(store, make, {"seed": 3, "inner": {"width": 5}})
    fetch(store, make, Config(), version="v2")
    store.fetch("profile", Config(), make, version="v1", name="small")
    assert make.calls == 5
    assert len(store.entries()) == 5


def test_a_configuration_that_is_not_json_is_refused_before_anything_is_made(store):
    make = Maker()
    with pytest.raises(TypeError, match=r"expected JSON values.*Tensor"):
        fetch(store, make, {"weights": torch.ones(2)})
    assert make.calls == 0


@pytest.mark.parametrize("part", ["a/b", "../up", ".hidden"])
def test_names_stay_inside_the_store(store, part):
    with pytest.raises(ValueError, match="plain folder names"):
        store.fetch(part, {}, Maker(), version="v1")
    with pytest.raises(ValueError, match="plain folder names"):
        store.fetch("network", {}, Maker(), version="v1", name=part)


def test_files_are_plain_and_their_checksums_are_those_of_sha256sum(store):
    path = fetch(store, Maker()).path
    assert sorted(file.name for file in path.iterdir()) == sorted((CHECKSUMS, RECORD, TENSORS))
    for line in (path / CHECKSUMS).read_text().splitlines():
        checksum, name = line.split("  ")
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == checksum
    json.loads((path / RECORD).read_text())


def truncate(path):
    content = (path / TENSORS).read_bytes()
    (path / TENSORS).write_bytes(content[: len(content) // 2])


def flip_a_bit(path):
    content = bytearray((path / TENSORS).read_bytes())
    content[-1] ^= 1
    (path / TENSORS).write_bytes(content)


def edit_the_record(path):
    record = (path / RECORD).read_text()
    assert "0.25" in record
    (path / RECORD).write_text(record.replace("0.25", "0.95"))


DAMAGES = {
    "truncated": (truncate, TENSORS),
    "one bit": (flip_a_bit, TENSORS),
    "empty": (lambda path: (path / TENSORS).write_bytes(b""), TENSORS),
    "edited record": (edit_the_record, RECORD),
    "missing tensors": (lambda path: (path / TENSORS).unlink(), TENSORS),
    "missing record": (lambda path: (path / RECORD).unlink(), RECORD),
    "missing checksums": (lambda path: (path / CHECKSUMS).unlink(), CHECKSUMS),
    "garbled checksums": (lambda path: (path / CHECKSUMS).write_bytes(b"\xff\n\n"), TENSORS),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_artefact_is_named_and_made_again(store, damage):
    harm, named = DAMAGES[damage]
    make = Maker()
    path = fetch(store, make).path
    harm(path)
    with pytest.warns(StoreWarning, match=named) as caught:
        again = fetch(store, make)
    assert len(caught) == 1
    assert str(path) in str(caught[0].message)
    assert caught[0].filename == __file__
    assert make.calls == 2
    assert torch.equal(again.tensors["float32"], TENSORS_MADE["float32"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fetch(store, make).meta == {"accuracy": 0.25}
    assert make.calls == 2


def test_an_artefact_under_another_ones_name_is_not_taken_for_it(store):
    make = Maker()
    first, second = fetch(store, make, {"seed": 1}), fetch(store, make, {"seed": 2})
    shutil.rmtree(second.path)
    shutil.copytree(first.path, second.path)
    with pytest.warns(StoreWarning, match="is of the key"):
        fetch(store, make, {"seed": 2})
    assert make.calls == 3


def test_the_reference_is_looked_in_first_and_never_written_to(store, tmp_path):
    reference = fetch(Store(tmp_path / "reference"), Maker(meta={"from": "reference"}))
    fetch(store, Maker(meta={"from": "root"}))
    before = sorted((tmp_path / "reference").rglob("*"))

    layered = Store(store.root, reference=tmp_path / "reference")
    assert fetch(layered, Maker()).meta == {"from": "reference"}
    fetch(layered, Maker(), {"seed": 4})
    assert sorted((tmp_path / "reference").rglob("*")) == before

    truncate(reference.path)
    with pytest.warns(StoreWarning, match="reference"):
        assert fetch(layered, Maker()).meta == {"from": "root"}


def test_the_root_is_the_argument_then_the_environment_then_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SVCCA_STORE", str(tmp_path / "environment"))
    monkeypatch.delenv("SVCCA_REFERENCE", raising=False)
    assert Store(tmp_path / "argument").root == tmp_path / "argument"
    assert Store().root == tmp_path / "environment"
    monkeypatch.setenv("SVCCA_STORE", "")
    assert Store().root == platformdirs.user_cache_path("svcca")
    assert Store().reference is None
    monkeypatch.setenv("SVCCA_REFERENCE", str(tmp_path))
    assert Store().reference == tmp_path
    monkeypatch.setenv("SVCCA_REFERENCE", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Store()


def test_what_an_interrupted_maker_left_is_there_when_it_is_called_again(store):
    def interrupted(workspace):
        (workspace / "half").write_text("done so far")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(store, interrupted)
    (unfinished,) = store.entries()
    assert not unfinished.finished
    assert unfinished.size == len("done so far")

    found = []

    def resumed(workspace):
        found.append((workspace / "half").read_text())
        return {}, {}

    fetch(store, resumed)
    assert found == ["done so far"]
    (finished,) = store.entries()
    assert finished.finished
    assert not list((store.root / ".work").rglob("half"))


def test_entries_are_listed_with_their_sizes_and_removed(store):
    make = Maker()
    paths = [fetch(store, make, {"seed": seed}).path for seed in (1, 2)]
    entries = store.entries()
    assert [entry.path for entry in entries] == sorted(paths)
    for entry in entries:
        assert entry.size == sum(file.stat().st_size for file in entry.path.iterdir())
    assert store.remove(entries[0]) == entries[0].size
    assert [entry.path for entry in store.entries()] == [entries[1].path]


def test_what_is_being_made_is_not_removed(store):
    def make(workspace):
        (entry,) = store.entries()
        with pytest.raises(RuntimeError, match="in use by another process"):
            Store(store.root).remove(entry)
        return {}, {}

    fetch(store, make)
    assert Store(store.root / "empty").entries() == []


def test_provenance_says_what_made_it(store):
    config = {"seed": 3, "data": "fingerprint", "network": {"arch": "toy"}}
    provenance = fetch(store, Maker(), config).provenance
    assert provenance["config"] == config
    assert (provenance["seed"], provenance["data"]) == (3, "fingerprint")
    assert provenance["libraries"]["torch"] == torch.__version__.split("+")[0]
    assert provenance["threads"] == torch.get_num_threads()
    assert provenance["wall_seconds"] >= 0
    assert provenance.keys() >= {"device", "platform", "python", "made", "version", "commit"}


def test_where_there_is_no_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment.__wrapped__()["commit"] is None  # not the one that was remembered
