"""Check a record with the validators of RO-Crate and Croissant: ``validate_record.py FOLDER``.

Runs in the environment of the group `checks`. Nothing is fetched: the context of RO-Crate, a page
of the web, is the copy that rocrate ships, put where the validator looks first.
"""

import io
import sys
import tempfile
from importlib import resources
from pathlib import Path

import mlcroissant
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from rocrate_validator import services
from rocrate_validator.models import Severity
from urllib3 import HTTPResponse

CONTEXT = "https://w3id.org/ro/crate/1.3/context"


class _Shipped(HTTPAdapter):
    """Answers every request with the context that rocrate ships."""

    def send(self, request, **_):
        content = resources.files("rocrate").joinpath("data", "ro-crate.jsonld").read_bytes()
        kind = {"Content-Type": "application/ld+json"}
        body = HTTPResponse(io.BytesIO(content), kind, 200, preload_content=False)
        return self.build_response(request, body)


def crate(folder: Path) -> list[str]:
    """Return what the RO-Crate validator objects to."""
    with tempfile.TemporaryDirectory() as held:
        cache = str(Path(held, "cache"))
        with CachedSession(cache, backend="sqlite", expire_after=-1) as session:
            session.mount("https://", _Shipped())
            session.get(CONTEXT)
        result = services.validate(
            services.ValidationSettings(
                rocrate_uri=folder,
                profile_identifier="ro-crate-1.3",
                requirement_severity=Severity.REQUIRED,
                offline=True,
                cache_path=cache,
            )
        )
    return [f"{issue.severity.name}: {issue.message}" for issue in result.get_issues()]


def croissant(card: Path) -> list[str]:
    """Return what Croissant's validator objects to, and record sets that cannot be read."""
    found = mlcroissant.Dataset(card)
    issues = found.metadata.ctx.issues
    said = [*sorted(issues.errors), *sorted(issues.warnings)]
    for records in found.metadata.record_sets:
        first = next(iter(found.records(records.uuid)))
        if len(first) != len(records.fields):
            said.append(f"{records.uuid} has {len(records.fields)} fields, but gives {first}")
    return said


def main() -> None:
    """Say what the validators object to; the exit status is 1 if they do."""
    folder = Path(sys.argv[1])
    objections = [*crate(folder), *croissant(folder / "croissant.json")]
    print("\n".join(objections) or f"{folder} is a valid RO-Crate and has a valid Croissant card")
    sys.exit(bool(objections))


if __name__ == "__main__":
    main()
