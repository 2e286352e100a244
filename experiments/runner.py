"""Run a spec: one compiled training program, driven chunk by chunk so that it can be watched and stopped.

What was done before is not done again: a new spec starts, an interrupted one goes on bit for bit, and
a finished one is left alone.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax

from experiments import manifest as manifests
from experiments import store
from experiments.experiment import Experiment, resolve
from experiments.progress import Progress
from experiments.session import DIVERGED, EXIT_CODES, FINISHED, INTERRUPTED, RUNNING, Session
from experiments.spec import RunSpec, load

__all__ = [
    "DIVERGED",
    "EXIT_CODES",
    "FINISHED",
    "INTERRUPTED",
    "RUNNING",
    "Outcome",
    "resume",
    "run",
    "stored_spec",
]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      path: the run folder.
      status: "finished", "diverged" (finished, but some cells are not finite) or "interrupted".
      diverged: one line for each configuration with diverged seeds.
      was_finished: whether there was nothing to do.
    """

    path: Path
    status: str
    diverged: tuple[str, ...] = ()
    was_finished: bool = False

    @property
    def exit_code(self) -> int:
        """0 finished, 3 diverged, 130 interrupted."""
        return EXIT_CODES[self.status]


def run(
    spec: RunSpec,
    root: Path | str = "runs",
    *,
    devices: list[jax.Device] | None = None,
    save_every: float = 30.0,
    progress: Progress | None = None,
    on_chunk: Callable[[int], None] | None = None,
) -> Outcome:
    """Run `spec` to its end and return how it ended; what was done before is not done again.

    A new spec gets a folder, an interrupted one goes on where its checkpoint is, a finished one is left.

    Args:
      spec: what to run.
      root: where runs are stored.
      devices: what to run on; as many of jax's devices as there are cells by default.
      save_every: least number of seconds between two checkpoints; one is always written at the end.
      progress: where to show how it goes; nowhere by default.
      on_chunk: called with the number of finished chunks after each, for tests.

    Raises:
      SpecError: if the spec cannot be run; nothing is compiled or written.
      StoreError: if the folder cannot be written, or what it holds cannot be trusted.
    """
    experiment = resolve(spec)
    spec = experiment.spec
    path = store.run_folder(Path(root), spec.name, spec.hash())
    if not path.exists():
        created = {
            "hash": spec.hash(),
            "name": spec.name,
            "created": manifests.now(),
            "status": RUNNING,
            "exit": None,
        }
        described = {"seeds": list(spec.seeds), "config": spec.to_dict(), "sessions": []}
        store.create(
            Path(root), spec.name, spec.hash(), spec.to_toml(), created | described | manifests.provenance()
        )
    return _run(experiment, path, devices, save_every, progress, on_chunk)


def resume(
    path: Path | str,
    *,
    devices: list[jax.Device] | None = None,
    save_every: float = 30.0,
    progress: Progress | None = None,
    on_chunk: Callable[[int], None] | None = None,
) -> Outcome:
    """Continue the run in the folder `path` to its end, bit for bit as if it had not stopped. See `run`.

    Raises:
      StoreError: if the folder is incomplete, damaged or from another configuration.
    """
    path = Path(path)
    spec = stored_spec(path)
    experiment = resolve(spec)
    if experiment.spec.hash() != spec.hash():
        raise store.StoreError(
            f"{path} is from another version of {spec.algorithm}, whose hyperparameters differ from today's; "
            f"continue with the version in manifest.json"
        )
    return _run(experiment, path, devices, save_every, progress, on_chunk)


def stored_spec(path: Path) -> RunSpec:
    """Return the spec of the run folder `path`, checked against its manifest.

    Raises:
      StoreError: if the folder is incomplete, or spec and manifest do not belong together.
    """
    manifest = store.read_manifest(path)
    spec = load(path / "spec.toml")
    if spec.hash() != manifest["hash"]:
        raise store.StoreError(
            f"{path} is from another configuration: its spec has hash {spec.hash()}, "
            f"its manifest {manifest['hash']}"
        )
    return spec


def _run(
    experiment: Experiment,
    path: Path,
    devices: list[jax.Device] | None,
    save_every: float,
    progress: Progress | None,
    on_chunk: Callable[[int], None] | None,
) -> Outcome:
    spec = stored_spec(path)
    if spec.hash() != experiment.spec.hash():
        raise store.StoreError(
            f"{path} is from another configuration ({spec.hash()}); remove it to start over"
        )
    manifest = store.read_manifest(path)
    if manifest["status"] in (FINISHED, DIVERGED):
        return Outcome(path, manifest["status"], tuple(manifest.get("diverged", ())), was_finished=True)
    progress = progress or Progress(None)
    with store.lock(path), _signals(progress) as signals, progress:
        manifest = store.read_manifest(path) | {"status": RUNNING, "exit": None}
        store.write_json(path / "manifest.json", manifest)
        session = Session(experiment, path, manifest, devices, progress)
        session.prepare()
        last_save = time.monotonic()
        while session.chunk < session.num_chunks and not signals.requested:
            session.advance()
            if on_chunk is not None:
                on_chunk(session.chunk)
            if time.monotonic() - last_save >= save_every:
                session.save(RUNNING)
                last_save = time.monotonic()
        status, diverged = session.finish()
    return Outcome(path, status, diverged)


class _Signals:
    requested = False


@contextlib.contextmanager
def _signals(progress: Progress) -> Iterator[_Signals]:
    """Turn the first SIGINT or SIGTERM into a request to stop; a second one stops at once."""
    state = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield state  # only the main thread may handle signals
        return

    def handle(number, frame):
        if state.requested:
            raise KeyboardInterrupt
        state.requested = True
        progress.say("stopping after this chunk (once more: at once, back to the last checkpoint) ...")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield state
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
