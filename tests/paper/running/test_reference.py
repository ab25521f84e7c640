"""Remaking the reference replaces networks, and nothing that is measured elsewhere."""

from types import SimpleNamespace

from svcca_lib.paper.running import engine


def test_what_was_measured_on_other_machines_stays(tmp_path, monkeypatch):
    (tmp_path / "reference" / "network" / "old").mkdir(parents=True)
    (tmp_path / "reference" / "machines.json").write_text("{}")

    def trained(root, folder):
        (folder / "store" / "network" / "new").mkdir(parents=True)
        return 0

    monkeypatch.setattr(engine, "from_scratch", trained)
    monkeypatch.setattr(engine.site, "chapters", lambda root: [])
    monkeypatch.setattr(engine, "Book", SimpleNamespace(gather=lambda *_, **__: None))
    monkeypatch.setattr(engine.results, "write_results", lambda *_: None)
    engine.remake_reference(tmp_path)
    assert [path.name for path in (tmp_path / "reference" / "network").iterdir()] == ["new"]
    assert (tmp_path / "reference" / "machines.json").read_text() == "{}"
