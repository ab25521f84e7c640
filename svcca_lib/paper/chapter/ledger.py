"""The ledger of one chapter: its claims as run at one profile, and how they came about.

How it is shown is in `tables`; the ledgers of all chapters are gathered in `gathered`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from svcca_lib.paper.chapter.claims import Claim
from svcca_lib.paper.chapter.outputs import LEDGER_METADATA, outputs_of
from svcca_lib.paper.chapter.provenance import Making
from svcca_lib.paper.chapter.scores import score
from svcca_lib.paper.store.files import write_whole

CLAIMS = "claims.json"  # where it lies among a chapter's results


def write_exact(path: Path, values: Mapping[str, Any]) -> None:
    """Write values as JSON, all digits included; what is not finite is refused."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, f"{text}\n")


@dataclass(frozen=True)
class Ledger:
    """The claims of one chapter, as run."""

    chapter: str
    profile: str
    seed: int
    data: str
    claims: tuple[Claim, ...]
    making: Making | None = None  # how the chapter came about; None where that was not recorded
    # id of each registered claim that was not decided, and why
    omitted: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> str:
        """How many claims of each kind hold, in words."""
        return score(self.claims)

    @property
    def title(self) -> str:
        """One line: what was run and how many claims hold."""
        return f"{self.score} (profile {self.profile}, seed {self.seed}, data {self.data})"

    @property
    def provenance(self) -> Making:
        """How the chapter came about; ValueError if it was run before chapters recorded that."""
        if self.making is None:
            raise ValueError(f"chapter {self.chapter!r} has no record of its making: run it again")
        return self.making

    def to_dict(self) -> dict[str, Any]:
        """Return the ledger as JSON-ready values."""
        claims = [claim.to_dict() for claim in self.claims]
        return asdict(self) | {"claims": claims, "omitted": [list(pair) for pair in self.omitted]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Ledger:
        """Return the ledger that `to_dict` wrote."""
        making = values.get("making")
        read = {
            "claims": tuple(map(Claim.from_dict, values["claims"])),
            "making": making and Making.from_dict(making),
            "omitted": tuple(map(tuple, values["omitted"])),
        }
        return cls(**dict(values) | read)

    def write(self, results: Path) -> None:
        """Write the ledger into the folder of a chapter's results."""
        write_exact(results / CLAIMS, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Read a ledger from a folder of results, or from the executed notebook that displays it.

        Raises ValueError if a notebook holds no ledger: it has not run to its end.
        """
        if path.suffix != ".ipynb":
            return cls.from_dict(json.loads((path / CLAIMS).read_text(encoding="utf-8")))
        for output in outputs_of(json.loads(path.read_text(encoding="utf-8"))):
            if LEDGER_METADATA in output.get("metadata", {}):
                return cls.from_dict(output["metadata"][LEDGER_METADATA])
        raise ValueError(f"{path} holds no claims: run it to its last cell, ch.ledger()")
