"""A folder of arrays and a record, written whole or not at all, and checked when it is read.

- ``tensors.safetensors``  the arrays; nothing here is ever pickled, so loading runs no code;
- ``artefact.json``        the record;
- ``SHA256SUMS``           checksums of both, in the format that ``sha256sum -c`` reads.

It appears under its name in one rename, after everything in it has reached the disk, so a folder
that exists is a finished one.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from svcca_lib.paper.store.files import sync_folder, write_through

TENSORS, RECORD, CHECKSUMS = "tensors.safetensors", "artefact.json", "SHA256SUMS"


class DamagedError(ValueError):
    """A folder is not the complete, unaltered bundle it should be; the message says what is off."""


def write_bundle(
    folder: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any], *, scratch: Path
) -> None:
    """Write tensors and a JSON record as a folder that appears complete or not at all.

    One that is there already is replaced. `scratch`, a folder on the same filesystem that is made
    if need be, is where the bundle is put together; NaN and infinities are kept.

    Raises
    ------
    OSError
        If it cannot be written (disk full, read-only). Nothing of it is left then.
    """
    # Tensors that share memory, or are strided, are written each on its own.
    apart = {
        k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()
    }
    files = {
        TENSORS: safetensors.torch.save(apart),
        RECORD: (json.dumps(record, indent=1, sort_keys=True) + "\n").encode(),
    }
    files[CHECKSUMS] = "".join(_checksum(*file) + "\n" for file in files.items()).encode()
    scratch.mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".bundle-") as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        for name, content in files.items():
            write_through(new / name, content)
        sync_folder(new)
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
        sync_folder(folder.parent)


def read_bundle(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_bundle` wrote, every byte checked: a DamagedError says what is off."""
    files = {}
    for name in (TENSORS, RECORD, CHECKSUMS):
        try:
            files[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            raise DamagedError(f"{name} is missing") from None
    stated = files.pop(CHECKSUMS).decode(errors="replace").split("\n")
    for name, content in files.items():
        if _checksum(name, content) not in stated:
            raise DamagedError(f"the checksum of {name} does not match")
    return safetensors.torch.load(files[TENSORS]), json.loads(files[RECORD])


def _checksum(name: str, content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {name}"
