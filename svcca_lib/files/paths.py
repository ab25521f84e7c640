"""Whether a path can be written to: known before what goes there is computed."""

from __future__ import annotations

import os
from pathlib import Path


def file_to_be(path: Path) -> None:
    """Raise unless a file can be written to a path, whose folder need not be there yet.

    Raises
    ------
    OSError
        If it is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file")
    folder_to_be(path.parent)


def folder_to_be(folder: Path) -> None:
    """Raise unless files can be written into a folder, which need not be there yet.

    Raises
    ------
    OSError
        If it, or the nearest that is there, is a file or cannot be written to.
    """
    try:
        there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    except OSError as error:  # a name that is too long, or a folder that cannot be looked into
        raise OSError(f"{folder} cannot be made: {error.strerror}") from None
    if not there.is_dir():
        raise NotADirectoryError(f"{folder} cannot be a folder: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written to: no permission in {there}")
