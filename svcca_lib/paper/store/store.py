"""Artefacts on disk, keyed by what made them: trained networks and measured arrays, made once.

An artefact is a bundle (`bundle`), ``<root>/<kind>/<name>-<hash>/``, whose record holds small
results and the provenance: what made the arrays, where and when. Beside the artefacts,
``<root>/.work/`` holds the workspaces of those being made (their checkpoints), and
``<root>/.locks/`` one lock for each.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout
from torch import Tensor

from svcca_lib.paper.store.bundle import DamagedError, read_bundle, write_bundle
from svcca_lib.paper.store.environment import environment
from svcca_lib.paper.store.identity import key_of, plain

logger = logging.getLogger(__name__)


class StoreWarning(UserWarning):
    """An artefact was damaged, or could not be saved; the caller's result is right either way."""


@dataclasses.dataclass(frozen=True)
class Artefact:
    """What `Store.fetch` returns: arrays, small results and what made them."""

    key: str  # SHA-256 of what identifies it: kind, configuration, version of the code
    path: Path | None  # its folder; None where it could not be saved
    tensors: dict[str, Tensor]  # on the CPU
    meta: dict[str, Any]  # as JSON
    provenance: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A folder ``<kind>/<name>`` of a store: an artefact, or the workspace of one in the making."""

    kind: str
    name: str
    path: Path
    size: int  # bytes on disk
    finished: bool  # or it is being made, or was interrupted and will resume


class Store:
    """A folder of artefacts, each made at most once.

    `root` is the argument, else ``$SVCCA_STORE``, else the platform's cache folder. `reference`, a
    store that is looked in first and never written to, is the argument, else ``$SVCCA_REFERENCE``,
    else none.
    """

    def __init__(self, root: str | Path | None = None, reference: str | Path | None = None) -> None:
        root = root or os.environ.get("SVCCA_STORE") or platformdirs.user_cache_path("svcca")
        reference = reference or os.environ.get("SVCCA_REFERENCE") or None
        self.root = Path(root).expanduser().absolute()
        self.reference = Path(reference).expanduser().absolute() if reference else None
        if self.reference and not self.reference.is_dir():
            raise FileNotFoundError(
                f"the reference store {self.reference} is not a folder; "
                "point $SVCCA_REFERENCE (or `reference`) at one, or unset it"
            )

    def __repr__(self) -> str:
        return f"Store(root={str(self.root)!r}, reference={str(self.reference or '')!r})"

    def fetch(
        self,
        kind: str,
        config: Any,
        make: Callable[[Path], tuple[Mapping[str, Tensor], dict[str, Any]]],
        *,
        version: str,
        name: str = "",
    ) -> Artefact:
        """Load an artefact, or make it and keep it.

        Parameters
        ----------
        kind : str
            What sort of artefact it is; a folder of the store.
        config : dict or dataclass
            Everything that decides the result, as JSON values. Its ``seed`` and ``data`` (a
            fingerprint), where it has them, are named in the provenance.
        make : callable
            ``make(workspace)`` returns ``(tensors, meta)``. The workspace is a folder that outlives
            an interruption: what `make` left there is there when it is called again.
        version : str
            Version of the code behind `make`, as of `identity`.
        name : str
            Begins the folder's name, for people who look into the store.

        Raises
        ------
        TypeError, ValueError
            If `config` or the returned ``meta`` is not JSON, before or instead of saving it.

        Notes
        -----
        Processes that want the same artefact wait for the one that makes it. One that is damaged is
        made again, and where the store cannot be written to the result is returned all the same,
        both with a `StoreWarning`; nothing half-written is left under the artefact's name.
        """
        identity = {"kind": kind, "config": plain(config), "version": version}
        key = key_of(identity)
        for part in (kind, name):
            if "/" in part or part.startswith("."):
                raise ValueError(f"kind and name must be plain folder names; got {part!r}")
        folder = Path(kind) / (f"{name}-{key[:12]}" if name else key[:12])

        if self.reference and (artefact := _load(self.reference / folder, key)):
            return artefact
        with ExitStack() as stack:
            self._hold_lock(folder, stack)
            if artefact := _load(self.root / folder, key):
                return artefact
            logger.info("making %s", folder)
            started = time.perf_counter()
            made, meta = make(self._workspace(folder, stack))
            tensors = {k: tensor.detach().cpu() for k, tensor in made.items()}
            provenance = _provenance(identity, time.perf_counter() - started)
            artefact = Artefact(key, self.root / folder, tensors, plain(meta), provenance)
            return self._save(artefact, folder)

    def entries(self) -> list[Entry]:
        """List what the store's root holds, finished artefacts and unfinished workspaces."""
        found = []
        for base, finished in ((self.root, True), (self.root / ".work", False)):
            for path in sorted(base.glob("[!.]*/[!.]*")):
                if path.is_dir():
                    size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
                    found.append(Entry(path.parent.name, path.name, path, size, finished))
        return found

    def remove(self, *entries: Entry) -> int:
        """Delete entries and return how many bytes that freed.

        One that another process is making is a RuntimeError; those before it are gone then.
        """
        for entry in entries:
            try:
                with self._lock(Path(entry.kind) / entry.name).acquire(timeout=0):
                    shutil.rmtree(entry.path)
            except Timeout:
                raise RuntimeError(
                    f"{entry.kind}/{entry.name} is in use by another process; "
                    "stop that process, or remove the entry when it has finished"
                ) from None
        return sum(entry.size for entry in entries)

    def _lock(self, folder: Path) -> FileLock:
        path = self.root / ".locks" / folder.with_name(folder.name + ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def _hold_lock(self, folder: Path, stack: ExitStack) -> None:
        """Wait for the lock of `folder`; `stack` releases it. A root of no locks has no waiting."""
        try:
            lock = self._lock(folder)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                logger.info("waiting for another process that is making %s", folder)
                lock.acquire()
            stack.callback(lock.release)
        except OSError as error:  # read-only, or full: then nothing is written either
            logger.info("no lock for %s (%s)", folder, error)

    def _workspace(self, folder: Path, stack: ExitStack) -> Path:
        """Give a folder to work in: one that stays, or a temporary one under a read-only root."""
        workspace = self.root / ".work" / folder
        try:
            workspace.mkdir(parents=True, exist_ok=True)
        except OSError:
            workspace = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return workspace

    def _save(self, artefact: Artefact, folder: Path) -> Artefact:
        record = {"key": artefact.key, "meta": artefact.meta, "provenance": artefact.provenance}
        workspace = self.root / ".work" / folder
        try:
            write_bundle(self.root / folder, artefact.tensors, record, scratch=workspace)
        except OSError as error:
            warnings.warn(
                f"{folder} was made, but could not be saved in {self.root} ({error}). "
                "It is used now and made again next time; free space there, or set SVCCA_STORE "
                "to a folder that can be written to",
                StoreWarning,
                stacklevel=3,
            )
            return dataclasses.replace(artefact, path=None)
        shutil.rmtree(workspace, ignore_errors=True)
        return artefact


def _load(folder: Path, key: str) -> Artefact | None:
    """Load an artefact; None where it is not there, or damaged, which is warned of."""
    if not folder.is_dir():
        return None
    try:
        tensors, record = read_bundle(folder)
        if record.get("key") != key:
            raise DamagedError(f"it is of the key {record.get('key')}, not {key}")
    except (DamagedError, OSError) as error:
        warnings.warn(
            f"{folder} cannot be used: {error}. It is made again", StoreWarning, stacklevel=3
        )
        return None
    return Artefact(key, folder, tensors, record["meta"], record["provenance"])


def _provenance(identity: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    config = identity["config"] if isinstance(identity["config"], dict) else {}
    return {
        **identity,
        "seed": config.get("seed"),
        "data": config.get("data"),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(seconds, 3),
        **environment(),
    }
