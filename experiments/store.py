"""Run folders: what a run leaves on disk, and the promise that no crash leaves half of it.

A run lives in `<root>/<name>/<hash>/`:

    spec.toml        the resolved description; its hash is the folder's name
    manifest.json    where the numbers come from: versions, commit, devices, seconds, memory, status
    checkpoint.npz   state and history of the finished chunks: all that a resumed run needs
    metrics.npz      the history alone, `[C, S, ...]`, for tables and plots

Every write goes to a temporary name in the same folder, is flushed to the disk and renamed over the
old file, so a reader sees the old content or the new one.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

_HASH = re.compile(r"[0-9a-f]{12}")
_MANIFEST_TYPES: dict[str, Any] = {
    "hash": str,
    "status": str,
    "diverged": list,
    "sessions": list,
    "steps": int,
    "run_seconds": (int, float),
    "trace_seconds": (int, float),
    "compile_seconds": (int, float),
}


class StoreError(ValueError):
    """A file or folder that cannot be written, read or trusted; the message says which and why."""


def write_atomic(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a new file, then put it in place of `path` in one step.

    Args:
      path: the file to create or replace; its folder must exist.
      write: called with a binary file open for writing.

    Raises:
      StoreError: if the system refuses (disk full, read-only folder); `path` is then as it was before.
    """
    path = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {_reason(error)}; what was stored before is untouched"
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Create the folder `path` and those above it, unless it exists.

    Raises:
      StoreError: if the system refuses.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write in {path}: {_reason(error)}") from error


def write_text(path: Path, text: str) -> None:
    """Put `text` (UTF-8) in place of the file `path` in one step. See `write_atomic`."""
    write_atomic(path, lambda file: file.write(text.encode()))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Put `content` as indented JSON in place of the file `path` in one step. See `write_atomic`."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Put named arrays as an npz in place of the file `path` in one step. See `write_atomic`."""
    write_atomic(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of the npz `path`; checksums are verified on the way.

    Raises:
      StoreError: if the file is missing, cut short, damaged or no npz.
    """
    try:
        # numpy leaves a file open whose archive it cannot read, so it is given one that is closed here.
        with open(path, "rb") as file, zipfile.ZipFile(file):
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError as error:
        raise StoreError(f"{path} does not exist") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} is damaged or no npz file ({error}); remove it to start over") from error


def run_folder(root: Path, name: str, hash: str) -> Path:
    """Return where a run is stored: `root/name/hash`."""
    return Path(root) / name / hash


def create(root: Path, name: str, hash: str, spec_toml: str, manifest: Mapping[str, Any]) -> Path:
    """Create a run's folder with its spec and manifest, all or nothing, and return it.

    The files are written into a hidden folder that gets its real name last.

    Raises:
      StoreError: if the folder exists, or the system refuses.
    """
    path = run_folder(root, name, hash)
    existed = [parent for parent in (path.parent, *path.parent.parents) if parent.exists()]
    hidden = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{hash}."))
        os.chmod(hidden, 0o777 & ~_umask())
        write_text(hidden / "spec.toml", spec_toml)
        write_json(hidden / "manifest.json", manifest)
        os.rename(hidden, path)
        _sync_folder(path.parent)
    except (OSError, StoreError) as error:
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)
        for parent in (path.parent, *path.parent.parents):
            if parent in existed:
                break
            with contextlib.suppress(OSError):
                parent.rmdir()
        reason = _reason(error if isinstance(error, OSError) else error.__cause__)
        raise StoreError(f"cannot create the run folder {path}: {reason}; nothing was written") from error
    return path


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the run folder `path` for this process; the system lets go of it however the process ends.

    Raises:
      StoreError: if another process holds it.
    """
    import fcntl

    try:
        descriptor = os.open(Path(path) / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StoreError(
            f"cannot write in {path}: {_reason(error)}; what was stored before is untouched"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                f"{path} is being written by another process; wait for it, or stop it first"
            ) from error
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether a process is running in the run folder `path` right now."""
    import fcntl

    try:
        descriptor = os.open(Path(path) / ".lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of the run folder `path`; a run that was killed is "interrupted", not "running".

    Raises:
      StoreError: if the folder is no run, or incomplete.
    """
    path = Path(path)
    for name in ("spec.toml", "manifest.json"):
        if not (path / name).is_file():
            raise StoreError(f"{path} is not a complete run folder: {name} is missing")
    try:
        manifest = json.loads((path / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}/manifest.json is damaged ({error})") from error
    if not isinstance(manifest, dict) or "status" not in manifest or "hash" not in manifest:
        raise StoreError(f"{path}/manifest.json is damaged (no status and hash in it)")
    for name, kind in _MANIFEST_TYPES.items():
        if name in manifest and not isinstance(manifest[name], kind):
            raise StoreError(f"{path}/manifest.json is damaged ({name} is {manifest[name]!r})")
    if manifest["status"] == "running" and not is_locked(path):
        manifest["status"] = "interrupted"
    return manifest


def all_runs(root: Path) -> list[Path]:
    """Return every run folder under `root`, ordered by name, then by age."""
    root = Path(root)
    found = [p.parent for p in root.glob("*/*/manifest.json") if _HASH.fullmatch(p.parent.name)]
    return sorted(found, key=lambda p: (p.parent.name, _age(p), p.name))


def status(path: Path) -> str:
    """Return the status in the manifest of the run folder `path`, or "damaged" if it cannot be read."""
    try:
        return read_manifest(path)["status"]
    except StoreError:
        return "damaged"


def find(root: Path, text: str) -> list[Path]:
    """Return the run folders that `text` means: a path, a name, a hash or its beginning, or `name/hash`.

    Args:
      root: where runs are stored.
      text: what the user typed.

    Returns:
      One or more run folders; several if `text` is a name with several runs.

    Raises:
      StoreError: if nothing fits (the closest names are told), or the beginning of a hash fits several runs.
    """
    from envs.core import unknown

    path = Path(text or "/nowhere")
    if (path / "manifest.json").is_file() or (path / "spec.toml").is_file():
        read_manifest(path)
        return [path]
    runs = all_runs(root)
    if path.is_dir():
        runs_inside = [run for run in all_runs(path.parent) if run.parent.resolve() == path.resolve()]
        if runs_inside:
            return runs_inside
    if matches := [run for run in runs if run.parent.name == text]:
        return matches
    name, _, start = text.rpartition("/")
    fits = [run for run in runs if start and run.name.startswith(start) and name in ("", run.parent.name)]
    if len({run.name for run in fits}) > 1:
        listed = ", ".join(f"{run.parent.name}/{run.name}" for run in fits)
        raise StoreError(f"{text!r} is the beginning of several runs: {listed}; give more digits")
    if fits:
        return fits
    if path.exists():
        raise StoreError(f"{text} is not a run folder: it holds no manifest.json")
    if not runs:
        raise StoreError(f"there is no run {text!r}: {root} holds no runs yet; `jaxrl train` makes one")
    raise StoreError(
        unknown("run", text, sorted({run.parent.name for run in runs} | {run.name for run in runs}))
    )


def find_one(root: Path, text: str, statuses: Sequence[str] = ()) -> Path:
    """Return the one run folder that `text` means; of several, the one with one of `statuses`, or the newest.

    Args:
      root: where runs are stored.
      text: what the user typed.
      statuses: what the caller can use, if a name has several runs; by default any, and none is chosen.

    Raises:
      StoreError: if several runs fit (they are listed), or none. See `find`.
    """
    runs = find(root, text)
    if statuses and len(runs) > 1:
        readable = [run for run in runs if status(run) != "damaged"] or runs
        runs = [run for run in runs if status(run) in statuses] or [max(readable, key=_age)]
    if len(runs) > 1:
        listed = ", ".join(run.name for run in runs)
        raise StoreError(f"{text!r} names {len(runs)} runs; choose one by its hash: {listed}")
    return runs[0]


def find_newest(root: Path, text: str, statuses: Sequence[str]) -> Path:
    """Return the newest run folder that `text` means, of those with the earliest of `statuses` there is."""
    runs = find(root, text)
    for wanted in statuses:
        if usable := [run for run in runs if status(run) == wanted]:
            return max(usable, key=_age)
    return max([run for run in runs if status(run) != "damaged"] or runs, key=_age)


def _age(path: Path) -> float:
    """Return when the run was described, in seconds; 0 if its spec is missing."""
    try:
        return (path / "spec.toml").stat().st_mtime
    except OSError:
        return 0.0


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: BaseException | None) -> str:
    return str(getattr(error, "strerror", None) or error)
