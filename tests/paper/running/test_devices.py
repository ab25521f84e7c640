import os

from svcca_lib.paper.running import devices


def test_gpus_are_claimed_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setenv(devices.VISIBLE, "4,7")
    with devices.claimed(tmp_path) as first:
        assert (first, os.environ[devices.VISIBLE]) == ("4", "4")
        monkeypatch.setenv(devices.VISIBLE, "4,7")
        with devices.claimed(tmp_path) as second:
            assert second == "7"
    monkeypatch.setenv(devices.VISIBLE, "2")
    with devices.claimed(tmp_path) as alone:
        assert alone is None
        assert os.environ[devices.VISIBLE] == "2"
