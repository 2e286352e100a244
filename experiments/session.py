"""One process's work on a run: the compiled programs, and the state between chunks.

A chunk is one log interval. Its program is compiled once, with the interval's bounds as arguments,
so chunks of every length are the same program and an interrupted run goes on bit for bit.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from experiments import checkpoint, programs, store
from experiments import manifest as manifests
from experiments.experiment import Experiment
from experiments.guard import describe_contained, describe_divergence, describe_explosions
from experiments.progress import Progress
from jaxrl.parallel import cell_mesh, pad
from jaxrl.sweep import cross, memory_bytes
from jaxrl.train import OVERESTIMATION, split_key

FINISHED, DIVERGED, INTERRUPTED, RUNNING = "finished", "diverged", "interrupted", "running"
EXIT_CODES = {FINISHED: 0, DIVERGED: 3, INTERRUPTED: 130}
"""What a process that ran a spec returns to its caller."""


@dataclass
class Session:
    """One process's work on a run: its programs, the state between chunks and the history so far."""

    experiment: Experiment
    path: Path
    manifest: dict[str, Any]
    devices: list[jax.Device] | None
    progress: Progress
    chunk: int = 0
    history: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        spec, plan = self.experiment.spec, self.experiment.plan
        self.num_chunks = plan.start.size
        self.hash = spec.hash()
        devices = self.devices or _fewest(jax.devices(), spec.num_cells)
        self.mesh = cell_mesh(devices)
        keys = jax.vmap(jax.random.key)(jnp.asarray(spec.seeds, jnp.uint32))
        configs, keys = cross(self.experiment.configs, keys)
        key_init, key_eval = jax.vmap(split_key)(keys)
        self.configs, self.key_init, self.key_eval = self._deal((configs, key_init, key_eval))
        self._init = jax.jit(programs.init_program(self.experiment, self.mesh))
        self._chunk = programs.chunk_program(self.experiment, self.mesh)
        self._evaluate = programs.evaluation_program(self.experiment, self.mesh)
        self.record = {
            "started": manifests.now(),
            "devices": manifests.devices(devices),
            "first_chunk": 0,
            "trace_seconds": 0.0,
            "compile_seconds": 0.0,
            "run_seconds": 0.0,
        }
        self.manifest.setdefault("sessions", []).append(self.record)
        self._warn_of_changes()

    def prepare(self) -> None:
        """Compile the programs; load the last checkpoint, or start."""
        template = jax.eval_shape(self._init, (self.configs, self.key_init), self._params)
        # The checkpoint holds the real cells, the program's state also the padding.
        template = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((self.experiment.spec.num_cells, *x.shape[1:]), x.dtype), template
        )
        stored = None
        if checkpoint.exists(self.path):
            stored, self.history, self.chunk = checkpoint.load(self.path, self.hash, template)
            self.record["first_chunk"] = self.chunk
        if self.chunk >= self.num_chunks:
            self.state = None
            return
        self.progress.say("compiling ...")
        padded = -(-self.experiment.spec.num_cells // self.mesh.size) * self.mesh.size
        shape = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((padded, *x.shape[1:]), x.dtype, sharding=self._sharding), template
        )
        start = time.perf_counter()
        lowered = {
            "chunk": self._chunk.lower(shape, self.configs, self._bounds(0)),
            "evaluate": self._evaluate.lower((shape, self.configs, self.key_eval), self._evaluation(0)),
        }
        if stored is None:
            lowered["init"] = self._init.lower((self.configs, self.key_init), self._params)
        traced = time.perf_counter()
        with ThreadPoolExecutor(len(lowered)) as pool:
            compiled = pool.map(lambda low: low.compile(), lowered.values())
        self.compiled = dict(zip(lowered, compiled, strict=True))
        self.record["trace_seconds"] = traced - start
        self.record["compile_seconds"] = time.perf_counter() - traced
        self.record["memory_bytes_per_device"] = memory_bytes(self.compiled["chunk"])
        self.progress.start(
            total=self.num_chunks,
            done=self.chunk,
            steps=self.experiment.steps_per_cell * self.experiment.spec.num_cells,
            seconds=self.record["trace_seconds"] + self.record["compile_seconds"],
        )
        self.begun = time.perf_counter()
        if stored is None:
            self.state = self.compiled["init"]((self.configs, self.key_init), self._params)
            self.history = self._empty_history()
        else:
            self.state = self._deal(stored)

    def advance(self) -> None:
        """Train for one chunk, and evaluate if an evaluation is due after it."""
        plan, at = self.experiment.plan, self.chunk
        self.state, metrics, finite = self.compiled["chunk"](self.state, self.configs, self._bounds(at))
        metrics, finite = self._fetch((metrics, finite))
        for name, value in metrics.items():
            self.history[f"metrics/{name}"][:, at] = value
        self.history["finite"][:, at] = finite
        index, column = divmod(at, plan.start.shape[1])
        if column == plan.start.shape[1] - 1:
            cells = (self.state, self.configs, self.key_eval)
            returns, lengths, excess = self._fetch(self.compiled["evaluate"](cells, self._evaluation(index)))
            self.history["episode_return"][:, index] = returns
            self.history["episode_length"][:, index] = lengths
            if f"metrics/{OVERESTIMATION}" in self.history:  # not in checkpoints of before there was any
                self.history[f"metrics/{OVERESTIMATION}"][:, at] = _mean_of_known(excess)
        self.chunk += 1
        self.progress.update(self.chunk, self._current_return(), int((~finite).sum()))

    def save(self, status: str) -> None:
        """Write the checkpoint, then what follows from it: metrics and manifest."""
        self.record["run_seconds"] = time.perf_counter() - self.begun
        num_cells = self.experiment.spec.num_cells
        state = jax.tree.map(lambda x: _first_rows(x, num_cells), self.state)
        checkpoint.save(self.path, self.hash, state, self.history, self.chunk)
        self._write_results(status)

    def finish(self) -> tuple[str, tuple[str, ...]]:
        """Save, close the manifest and return the status and what has diverged."""
        spec, done, metrics = self.experiment.spec, slice(self.chunk), self._metrics()
        diverged = describe_divergence(spec, self.history["finite"][:, done], self._log_steps(), metrics)
        complete = self.chunk >= self.num_chunks
        status = (DIVERGED if diverged else FINISHED) if complete else INTERRUPTED
        self.manifest["diverged"] = list(diverged)
        self.manifest["exploded"] = list(self._explosions(metrics))
        for line in self.manifest["exploded"]:
            self.progress.say(f"warning: action values exploded: {line}")
        self.manifest["contained"] = []
        if "episode_diverged" in metrics:
            counts = (metrics["episodes"], metrics["episode_diverged"], self._log_steps())
            self.manifest["contained"] = list(describe_contained(spec, *counts))
        for line in self.manifest["contained"]:
            self.progress.say(f"warning: simulations diverged, and were truncated: {line}")
        self.manifest["exit"] = EXIT_CODES[status]
        if self.state is None:
            self._write_results(status)
        else:
            self.save(status)
        return status, diverged

    def _write_results(self, status: str) -> None:
        store.write_arrays(self.path / "metrics.npz", self._results())
        sessions = self.manifest["sessions"]
        for name in ("trace_seconds", "compile_seconds", "run_seconds"):
            self.manifest[name] = round(sum(session[name] for session in sessions), 3)
        self.manifest["steps"] = int(self._log_steps()[-1]) if self.chunk else 0
        total = self.manifest["steps"] * self.experiment.spec.num_cells
        self.manifest["steps_per_second"] = round(total / max(self.manifest["run_seconds"], 1e-9))
        if "memory_bytes_per_device" in self.record:
            self.manifest["memory_bytes"] = self.record["memory_bytes_per_device"] * self.mesh.size
        self.manifest["status"] = status
        store.write_json(self.path / "manifest.json", self.manifest)

    def _results(self) -> dict[str, np.ndarray]:
        """Return the finished part of the history as `[C, S, ...]`, with its axes."""
        spec, plan = self.experiment.spec, self.experiment.plan
        evaluations = self.chunk // plan.start.shape[1]
        per = max(self.experiment.algorithm.steps_per_iteration, 1)
        lead = (len(spec.configurations()), len(spec.seeds))
        results = {
            "seeds": np.asarray(spec.seeds, np.uint32),
            "steps": plan.stop[:evaluations, -1] * per,
            "metric_steps": self._log_steps(),
        }
        for name, value in self.history.items():
            done = evaluations if name.startswith("episode_") else self.chunk
            results[name] = value[:, :done].reshape(*lead, done, *value.shape[2:])
        return results

    def _metrics(self) -> dict[str, np.ndarray]:
        """Return the metrics so far, `[C * S, P]` each."""
        prefix = "metrics/"
        return {
            name.removeprefix(prefix): value[:, : self.chunk]
            for name, value in self.history.items()
            if name.startswith(prefix)
        }

    def _explosions(self, metrics: dict[str, np.ndarray]) -> tuple[str, ...]:
        if "q_max" not in metrics:
            return ()
        cells = self.experiment.spec.num_cells
        returns = [self.history["episode_return"].reshape(cells, -1)]
        if "episode_return" in metrics:
            returns.append(metrics["episode_return"])
        return describe_explosions(
            self.experiment.spec, metrics["q_max"], np.concatenate(returns, axis=1), self._log_steps()
        )

    def _log_steps(self) -> np.ndarray:
        per = max(self.experiment.algorithm.steps_per_iteration, 1)
        return self.experiment.plan.stop.reshape(-1)[: self.chunk] * per

    def _empty_history(self) -> dict[str, np.ndarray]:
        spec = self.experiment.spec
        cells = spec.num_cells
        _, metrics, _ = self.compiled["chunk"].out_info
        names = list(metrics)
        if self.compiled["evaluate"].out_info[-1] is not None:
            names.append(OVERESTIMATION)
        evaluations = (cells, spec.evaluations, spec.eval_episodes)
        return {
            "episode_return": np.full(evaluations, np.nan, np.float32),
            "episode_length": np.zeros(evaluations, np.int32),
            "finite": np.ones((cells, self.num_chunks), bool),
            **{f"metrics/{name}": np.full((cells, self.num_chunks), np.nan, np.float32) for name in names},
        }

    def _current_return(self) -> float:
        """Return the mean over finite cells of the newest training return, else of the last evaluation."""
        alive = self.history["finite"][:, self.chunk - 1]
        evaluations = self.chunk // self.experiment.plan.start.shape[1]
        candidates = [self.history["episode_return"][alive, max(evaluations - 1, 0)]]
        if "metrics/episode_return" in self.history:
            candidates.insert(0, self.history["metrics/episode_return"][alive, self.chunk - 1])
        for values in candidates:
            if np.isfinite(values).any():
                return float(np.nanmean(values))
        return float("nan")

    def _warn_of_changes(self) -> None:
        now = manifests.provenance()
        changed = [name for name in ("versions", "git", "devices") if self.manifest.get(name) != now[name]]
        if changed:
            self.progress.say(
                f"note: {', '.join(changed)} differ from when this run began (see manifest.json); it goes "
                f"on, but not bit for bit as it would have"
            )

    @property
    def _params(self) -> Any:
        return self.experiment.params

    @property
    def _sharding(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(*self.mesh.axis_names))

    def _deal(self, cells: Any) -> Any:
        """Return a pytree of cells, padded and spread over the devices."""
        return jax.device_put(pad(cells, self.mesh.size), self._sharding)

    def _bounds(self, chunk: int) -> tuple[Any, np.int32, np.int32]:
        plan = self.experiment.plan
        return self._params, plan.start.reshape(-1)[chunk], plan.stop.reshape(-1)[chunk]

    def _evaluation(self, index: int) -> tuple[Any, np.int32]:
        return self._params, np.int32(index)

    def _fetch(self, tree: Any) -> Any:
        """Return the real cells' part of a result as NumPy arrays, open to signals meanwhile."""
        while not all(leaf.is_ready() for leaf in jax.tree.leaves(tree)):
            time.sleep(0.001)
        return jax.tree.map(lambda x: np.asarray(x)[: self.experiment.spec.num_cells], tree)


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    count = np.where(known.any(axis=-1), known.sum(axis=-1), np.nan)
    return np.where(known, values, 0.0).sum(axis=-1) / count


def _first_rows(leaf: jax.Array, num: int) -> Any:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = jnp.asarray(np.asarray(jax.random.key_data(leaf))[:num])
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    return np.asarray(leaf)[:num]


def _fewest(devices: list[jax.Device], num_cells: int) -> list[jax.Device]:
    """Return as few devices as give every one of them the same, smallest possible number of cells."""
    share = -(-num_cells // len(devices))
    return devices[: -(-num_cells // share)]
