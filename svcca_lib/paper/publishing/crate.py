"""The record as an RO-Crate 1.3: what each part is, and every claim, as JSON-LD after schema.org.

A claim is a `ClaimReview`: what was claimed, where it appears, how it was rated (holds, fails, not
settled), and the number that decided, with its interval. See www.researchobject.org/ro-crate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from svcca_lib.paper.chapter.claims import Claim, Verdict
from svcca_lib.paper.chapter.gathered import Book
from svcca_lib.paper.publishing import croissant

METADATA = "ro-crate-metadata.json"
VERSION = "https://w3id.org/ro/crate/1.3"
NOTEBOOK = "application/x-ipynb+json"
Entity = dict[str, Any]


def metadata(folder: Path, cited: Mapping[str, Any], books: Mapping[str, Book]) -> Entity:
    """Return the crate of a record's folder; `cited` is what CITATION.cff says."""
    parts = [*_code(folder), *_notebooks(folder), *_networks(folder), *_tables(folder)]
    claims = [entity for item in books.items() for entity in _claims(*item)]
    reviews = [entity for entity in claims if entity["@type"] == "ClaimReview"]
    licence = f"https://spdx.org/licenses/{cited['license']}"
    authors = [_named("Organization", author["name"]) for author in cited["authors"]]
    papers = [_paper(reference) for reference in cited["references"]]
    people = [_person(a) for reference in cited["references"] for a in reference["authors"]]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": cited["title"],
        "description": cited["abstract"],
        "datePublished": str(cited["date-released"]),
        "version": str(cited["version"]),
        "license": _to(licence),
        "keywords": ", ".join(cited["keywords"]),
        "author": [_to(author["@id"]) for author in authors],
        "publisher": [_to(author["@id"]) for author in authors],
        "citation": [_to(paper["@id"]) for paper in papers],
        "hasPart": [_to(part["@id"]) for part in parts],
        "mentions": [_to(review["@id"]) for review in reviews],
    }
    descriptor = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": _to(VERSION),
        "about": _to("./"),
    }
    terms = {
        "@id": licence,
        "@type": "CreativeWork",
        "name": f"{cited['license']} licence",
        "description": "The licence of code, notebooks, networks and tables.",
    }
    graph = [descriptor, root, terms, *authors, *papers, *people, *parts, *_ratings(), *claims]
    return {"@context": f"{VERSION}/context", "@graph": graph}


def _to(target: str) -> dict[str, str]:
    return {"@id": target}


def _named(kind: str, name: str) -> Entity:
    return {"@id": f"#{name.lower().replace(' ', '-')}", "@type": kind, "name": name}


def _person(author: Mapping[str, str]) -> Entity:
    return _named("Person", f"{author['given-names']} {author['family-names']}")


def _paper(reference: Mapping[str, Any]) -> Entity:
    return {
        "@id": reference["url"],
        "@type": "ScholarlyArticle",
        "name": reference["title"],
        "author": [_to(_person(author)["@id"]) for author in reference["authors"]],
        "datePublished": str(reference["year"]),
    }


def _code(folder: Path) -> Iterable[Entity]:
    said = {
        "svcca_lib/": "The library of measures, and the reproduction built on it, in Python.",
        "tests/": "The tests of both.",
        "workflow/": "The graph of all runs: trainings, chapters, ledger, site (Snakemake).",
        "benchmarks/": "Times of the library against its peers.",
    }
    for name, description in said.items():
        if (folder / name).is_dir():
            yield _entity(name, "Dataset", name.rstrip("/"), description)


def _notebooks(folder: Path) -> Iterable[Entity]:
    for place, where in (("book", "profile quick"), ("published", "as published")):
        for path in sorted((folder / place).rglob("*.ipynb")):
            name = path.relative_to(folder).as_posix()
            kind = ["File", "SoftwareSourceCode"]
            title = f"Chapter {path.stem.replace('-', ' ')}, executed, {where}"
            yield _file(folder, name, NOTEBOOK, title, title, kind)


def _networks(folder: Path) -> Iterable[Entity]:
    for path in sorted((folder / "reference" / "network").glob("*/")):
        name = f"{path.relative_to(folder).as_posix()}/"
        title = f"Network {path.name.rpartition('-')[0]}"
        said = f"{title}: checkpoints (safetensors), how it was trained (JSON), and their hashes."
        yield _entity(name, "Dataset", title, said)


def _tables(folder: Path) -> Iterable[Entity]:
    tables = {
        croissant.CLAIMS: ("text/csv", "Every claim of every profile, as run."),
        croissant.DIGITS: ("text/csv", "scikit-learn's digits, as the profile quick has them."),
        croissant.CARD: ("application/json", "The tables and CIFAR-10, as a Croissant card."),
        ".zenodo.json": ("application/json", "What Zenodo asks of a deposit."),
        "CITATION.cff": ("text/yaml", "How to cite this record."),
    }
    for name, (kind, said) in tables.items():
        yield _file(folder, name, kind, name, said)
    for path in sorted((folder / "record" / "claims").glob("*/*.json")):
        said = f"The ledger of profile {path.parent.name}: claims and how they came about."
        name = path.relative_to(folder).as_posix()
        yield _file(folder, name, "application/json", f"Ledger, {path.parent.name}", said)


def _entity(name: str, kind: str | list[str], title: str, said: str) -> Entity:
    return {"@id": name, "@type": kind, "name": title, "description": said}


def _file(
    folder: Path, name: str, form: str, title: str, said: str, kind: str | list[str] = "File"
) -> Entity:
    size = {"contentSize": str((folder / name).stat().st_size), "encodingFormat": form}
    return _entity(name, kind, title, said) | size


def _ratings() -> Iterable[Entity]:
    for verdict in Verdict:
        yield {
            "@id": _rating(verdict),
            "@type": "Rating",
            "name": str(verdict),
            "alternateName": verdict.marked,
            "ratingValue": str(verdict),
        }


def _rating(verdict: Verdict) -> str:
    return f"#rating-{verdict.name.lower()}"


def _claims(profile: str, book: Book) -> Iterable[Entity]:
    place = "book" if profile == "quick" else f"published/{profile}"
    for key, claim in book.by_key().items():
        name = f"#{profile}/{key}"
        yield {
            "@id": name,
            "@type": "ClaimReview",
            "name": claim.id,
            "claimReviewed": claim.statement,
            "description": f"Kind: {claim.kind}. Needed: {claim.rule}. Profile: {profile}.",
            "reviewRating": _to(_rating(claim.verdict)),
            "about": claim.figure,
            "isBasedOn": _to(f"{place}/{key.partition('/')[0]}.ipynb"),
            "mainEntity": _to(f"{name}/measured"),
        }
        yield _measured(f"{name}/measured", claim)


def _measured(name: str, claim: Claim) -> Entity:
    low, high = claim.interval or (None, None)
    over = f"{len(claim.values)} {claim.over}" if claim.over else "one value"
    numbers = {"value": claim.measured, "minValue": low, "maxValue": high}
    return {
        "@id": name,
        "@type": "PropertyValue",
        "name": f"{claim.id}, measured",
        "description": f"Mean and its 95 % interval, where it has one, over {over}.",
        **{key: value for key, value in numbers.items() if value is not None},
    }
