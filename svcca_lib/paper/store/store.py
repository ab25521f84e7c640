"""Artefacts on disk, keyed by what made them: trained networks and measured arrays, made once.

An artefact is a folder of three plain files, ``<root>/<kind>/<name>-<hash>/``:

- ``tensors.safetensors``  the arrays; nothing here is ever pickled, so loading runs no code;
- ``artefact.json``        small results and the provenance: what made the arrays, where and when;
- ``SHA256SUMS``           checksums of both, in the format that ``sha256sum -c`` reads.

It appears under its name in one rename, after everything in it has reached the disk, so a folder
that exists is a finished one. Beside the artefacts, ``<root>/.work/`` holds the workspaces of those
being made (their checkpoints, and where they are), and ``<root>/.locks/`` one lock for each.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import platformdirs
import safetensors.torch
import torch
from filelock import FileLock, Timeout
from torch import Tensor

logger = logging.getLogger(__name__)

TENSORS, RECORD, CHECKSUMS = "tensors.safetensors", "artefact.json", "SHA256SUMS"


class StoreWarning(UserWarning):
    """An artefact was damaged, or could not be saved; the caller's result is right either way."""


class DamagedError(ValueError):
    """A folder is not the complete, unaltered bundle it should be; the message says what is off."""


@dataclasses.dataclass(frozen=True)
class Artefact:
    """What `Store.fetch` returns.

    Attributes
    ----------
    key : str
        SHA-256 of what identifies the artefact: kind, configuration, version of the code.
    path : Path or None
        Its folder, or None where it could not be saved.
    tensors : dict of str to Tensor
        On the CPU.
    meta : dict
        Small results, as JSON.
    provenance : dict
        What made it: configuration, seed, versions, device, wall time, data fingerprint, commit.
    """

    key: str
    path: Path | None
    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    provenance: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One folder of a store, as `Store.entries` lists it.

    Attributes
    ----------
    kind, name : str
        The folder is ``<kind>/<name>``.
    path : Path
        The artefact's folder, or the workspace of one that is not finished.
    size : int
        Bytes on disk.
    finished : bool
        False for a workspace: it is being made, or was interrupted and will resume.
    """

    kind: str
    name: str
    path: Path
    size: int
    finished: bool


class Store:
    """A folder of artefacts, each made at most once.

    Parameters
    ----------
    root : path, optional
        Where artefacts are kept: the argument, else ``$SVCCA_STORE``, else the platform's cache
        folder. Created when first written to.
    reference : path, optional
        A store that is looked in first and never written to: the argument, else
        ``$SVCCA_REFERENCE``, else none.
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
            Version of the code behind `make`, as of `identity`: another version is another
            artefact.
        name : str
            Begins the folder's name, for people who look into the store.

        Returns
        -------
        Artefact

        Raises
        ------
        TypeError, ValueError
            If `config` or the returned ``meta`` is not JSON, before or instead of saving it.

        Notes
        -----
        Processes that want the same artefact wait for the one that makes it. A damaged artefact is
        named in a `StoreWarning` and made again. Where the store cannot be written to (read-only,
        disk full) the result is returned all the same, with one `StoreWarning`, and nothing
        half-written is left under the artefact's name.
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

        Raises
        ------
        RuntimeError
            If another process is making one of them; those before it are gone.
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
        record = {
            "key": artefact.key,
            "meta": artefact.meta,
            "provenance": artefact.provenance,
        }
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


def write_bundle(
    folder: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any], *, scratch: Path
) -> None:
    """Write tensors and a JSON record as a folder that appears complete or not at all.

    Parameters
    ----------
    folder : Path
        Where; one that is there already is replaced.
    tensors : mapping of str to Tensor
    record : mapping
        JSON; NaN and infinities are kept.
    scratch : Path
        A folder on the same filesystem, created if need be, in which the bundle is put together.

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
    files[CHECKSUMS] = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()
    ).encode()
    scratch.mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".bundle-") as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        for name, content in files.items():
            with open(new / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _sync_folder(new)
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
        _sync_folder(folder.parent)


def read_bundle(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_bundle` wrote, having checked every byte of it.

    Raises
    ------
    DamagedError
        If a file is missing, truncated or altered.
    """
    files = {}
    for name in (TENSORS, RECORD, CHECKSUMS):
        try:
            files[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            raise DamagedError(f"{name} is missing") from None
    stated = {
        name: checksum
        for checksum, _, name in (
            line.partition("  ")
            for line in files.pop(CHECKSUMS).decode(errors="replace").split("\n")
        )
    }
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != stated.get(name):
            raise DamagedError(f"the checksum of {name} does not match")
    return safetensors.torch.load(files[TENSORS]), json.loads(files[RECORD])


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


def _sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk; systems that cannot open folders need not."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def canonical_json(value: Any) -> str:
    """Write JSON in the one way that is hashed: sorted keys, no spaces, dataclasses as objects."""

    def as_object(part: Any) -> Any:
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
        raise TypeError(
            f"expected JSON values (numbers, strings, lists, dicts, dataclasses), got "
            f"{type(part).__name__}: {part!r}; convert it first"
        )

    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=as_object)


def key_of(identity: Mapping[str, Any]) -> str:
    """Return the key of the artefact of a kind, configuration and version of the code.

    Parameters
    ----------
    identity : mapping
        With ``kind``, ``config`` and ``version``, such as the provenance of an artefact.
    """
    parts = {name: identity[name] for name in ("kind", "config", "version")}
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def plain(value: Any) -> Any:
    """Return `value` as it comes back from JSON: dataclasses as dicts, tuples as lists."""
    return json.loads(canonical_json(value))


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


@functools.cache
def environment() -> dict[str, Any]:
    """Say where this process runs: versions, device, threads, and the commit of this code."""
    versions = {}
    for package in ("svcca-lib", "torch", "numpy", "scipy", "safetensors"):
        with suppress(PackageNotFoundError):
            versions[package] = package_version(package)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": versions,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit this file is of, with ``-dirty`` if edited since; None outside git."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None
