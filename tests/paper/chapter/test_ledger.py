import json

import pytest
from ledgers import claim, ledger, single

from svcca_lib.paper.chapter.claims import Rule
from svcca_lib.paper.chapter.ledger import CLAIMS, Ledger


def test_ledger_survives_json_to_the_last_digit(tmp_path):
    ours = ledger(
        claim((1 / 3, 2 / 3, 0.7)),
        single(1 / 3, id="b", rule=Rule(high=0.9), paper=None),
        claim(id="c", rule=Rule(0.1, 0.9), changed=True),
        omitted=(("d", "not trained here"),),
    )
    ours.write(tmp_path)
    assert Ledger.read(tmp_path) == ours
    json.loads((tmp_path / CLAIMS).read_text(), parse_constant=pytest.fail)


def test_notebook_without_a_ledger_says_so(tmp_path):
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "outputs": []}]}))
    with pytest.raises(ValueError, match="run it to its last cell"):
        Ledger.read(path)
