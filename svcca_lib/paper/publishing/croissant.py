"""The data of the book as a Croissant card: what the networks saw, and what was measured.

The form is Croissant 1.0 (Akhtar et al. 2024), JSON-LD after schema.org.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CARD = "croissant.json"
CLAIMS = "record/claims.csv"
DIGITS = "record/digits.csv"
NUMBERS = {"mean", "low", "high", "smallest", "largest", "null", "paper"}  # columns of the claims
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def card(folder: Path, cited: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card of the tables in a record's folder, and of CIFAR-10, which it does not hold.

    `cited` is what CITATION.cff says.
    """
    from torchvision.datasets import CIFAR10

    cifar10 = {
        "@type": "cr:FileObject",
        "@id": "cifar-10-python.tar.gz",
        "name": "cifar-10-python.tar.gz",
        "description": "CIFAR-10 (Krizhevsky 2009), the images of the profile cifar10.",
        "contentUrl": CIFAR10.url,
        "encodingFormat": "application/gzip",
        "md5": CIFAR10.tgz_md5,
    }
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "svcca-figure-by-figure",
        "description": (
            "What the networks of an executable reproduction of SVCCA (Raghu et al. 2017) were "
            "trained on, and every claim it decides with the number measured, its interval, the "
            "rule and the verdict."
        ),
        "license": f"https://spdx.org/licenses/{cited['license']}",
        "url": cited["references"][0]["url"],
        "version": str(cited["version"]),
        "datePublished": str(cited["date-released"]),
        "creator": [{"@type": "Organization", "name": a["name"]} for a in cited["authors"]],
        "keywords": cited["keywords"],
        "citeAs": f"{cited['title']}, version {cited['version']}",
        "distribution": [
            _file(folder, CLAIMS, "Every claim of every profile, as run."),
            _file(folder, DIGITS, "scikit-learn's digits (UCI, Alpaydin and Kaynak 1998)."),
            cifar10,
        ],
        "recordSet": [
            _records(folder, "claims", CLAIMS, "A claim: statement, numbers, rule and verdict."),
            _records(folder, "digits", DIGITS, "An image of 8 x 8 pixels, 0 to 255."),
        ],
    }


def _file(folder: Path, name: str, description: str) -> dict[str, Any]:
    content = (folder / name).read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": description,
        "contentUrl": name,
        "contentSize": f"{len(content)} B",
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _records(folder: Path, name: str, file: str, description: str) -> dict[str, Any]:
    with (folder / file).open(encoding="utf-8", newline="") as opened:
        columns = next(csv.reader(opened))
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": list(_fields(name, file, columns)),
    }


def _fields(records: str, file: str, columns: Iterable[str]) -> Iterable[dict[str, Any]]:
    for column in columns:
        whole = column == "label" or column.startswith("pixel_")
        number = "sc:Float" if column in NUMBERS else "sc:Text"
        yield {
            "@type": "cr:Field",
            "@id": f"{records}/{column}",
            "name": column,
            "dataType": "sc:Integer" if whole else number,
            "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
        }
