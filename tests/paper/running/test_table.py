"""How the steps of a plan stand, in one table and in words."""

import json

import pandas as pd
from notebook_files import make_sweep

from svcca_lib.paper.running import progress, table
from svcca_lib.paper.store.files import write_json


def test_table_has_parameters_status_times_and_claims(tmp_path):
    layout, plan = make_sweep(tmp_path, [1.0, 0.5])
    table.write(table.rows(plan, layout), layout)
    left = pd.read_csv(tmp_path / "table.csv")
    assert left["seed"].tolist() == [0, 1]
    assert left["status"].tolist() == ["done", "done"]
    assert left["claims_hold"].tolist() == [1, 0]
    assert left["high"].tolist() == [1.0, 0.5]
    assert left["seconds"].tolist() == [1.5, 1.5]
    full = json.loads((tmp_path / "table.json").read_text())
    assert [job["claims"][0]["holds"] for job in full] == [True, False]


def test_summary_names_steps_and_where_to_look_at_what_failed(tmp_path):
    layout, plan = make_sweep(tmp_path, [1.0, 0.5])
    record = layout.record(plan.jobs[1].name)
    record.unlink()
    write_json(progress.failed_path(record), {"error": "it broke"})
    lines = [" ".join(line.split()) for line in table.summary(plan, layout).splitlines()]
    assert lines == [
        "stand-in/quick_seed-0 1.5 s 1 of 1 claims hold",
        f"stand-in/quick_seed-1 failed see {layout.log(record)}",
        "1 of 2 done, 1 failed",
    ]
    assert len(table.summary(plan, layout, most=1).splitlines()) == 2  # what is done is not listed
