"""What a reader brings for one chapter, by the parameter that takes it: paths, told as names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svcca_lib.paper.data.sources import specs

PHOTOGRAPHS, TEXTS = "imagenet", "texts"  # a folder; specifications of texts
BROUGHT = (PHOTOGRAPHS, TEXTS)


def brought(values: Mapping[str, Any]) -> dict[str, str]:
    """Return those of some parameters, or of a workflow's configuration, that were brought."""
    return {name: str(values[name]) for name in BROUGHT if values.get(name)}


def absolute(name: str, value: str) -> str:
    """Return the same by absolute paths, for a process that runs elsewhere."""
    if name == TEXTS:
        return "; ".join(str(spec.anchored()) for spec in specs(value))
    return str(Path(value).expanduser().resolve())


def named(name: str, value: str) -> str:
    """Return what a reader is told of it: the names of files and folders, not where they lie."""
    if name == TEXTS:
        return "; ".join(str(spec.named()) for spec in specs(value))
    return Path(value).name
