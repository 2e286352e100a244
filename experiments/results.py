"""A stored run as arrays: what tables and plots read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.core import unknown
from experiments import store
from experiments.runner import stored_spec
from experiments.spec import RunSpec, show


@dataclass(frozen=True)
class Result:
    """A run that was read from its folder.

    Attributes:
      path: the folder.
      spec: the resolved spec.
      manifest: where the numbers come from.
      arrays: `steps` `[E]`, `episode_return` and `episode_length` `[C, S, E, episodes]`, `metric_steps`
        `[P]`, `metrics/<name>` and `finite` `[C, S, P]`, `seeds` `[S]`; E and P count what is finished.
    """

    path: Path
    spec: RunSpec
    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def steps(self) -> np.ndarray:
        """Environment steps at each evaluation, `[E]`."""
        return self.arrays["steps"]

    @property
    def returns(self) -> np.ndarray:
        """Mean evaluation return of each seed, `[C, S, E]`."""
        return self.arrays["episode_return"].mean(axis=-1)

    @property
    def finite(self) -> np.ndarray:
        """Whether each seed has had finite metrics and parameters all along, `[C, S]` bool."""
        return np.all(self.arrays["finite"], axis=-1)

    @property
    def final_returns(self) -> np.ndarray:
        """Mean return of each seed in the last evaluation, `[C, S]`; NaN where a seed has diverged."""
        return np.where(self.finite, self.returns[:, :, -1], np.nan)

    def metric(self, name: str, total: bool = False) -> np.ndarray:
        """Return a training metric of each seed at each log point, `[C, S, P]`.

        Args:
          name: of the metric.
          total: sum it over the steps up to there, which makes of a regret a step the cumulative regret.

        Raises:
          StoreError: if the run has no such metric, naming the closest ones.
        """
        known = [key.removeprefix("metrics/") for key in self.arrays if key.startswith("metrics/")]
        if name not in known:
            raise store.StoreError(f"{self.path}: {unknown('metric', name, known)}")
        values = self.arrays[f"metrics/{name}"]
        if not total:
            return values
        return np.cumsum(values * np.diff(self.arrays["metric_steps"], prepend=0), axis=-1)

    def label(self, index: int) -> str:
        """Return what sets configuration `index` apart from the run's others, or the algorithm's name."""
        configuration = self.spec.configurations()[index]
        return (
            ", ".join(f"{name}={show(value)}" for name, value in configuration.items()) or self.spec.algorithm
        )

    def best(self) -> tuple[int, int]:
        """Return `(configuration, seed)` indices of the highest return in the last evaluation."""
        final = self.final_returns
        if not np.isfinite(final).any():
            raise store.StoreError(f"{self.path}: every seed has diverged, so there is no best one")
        config, seed = np.unravel_index(np.nanargmax(final), final.shape)
        return int(config), int(seed)


def load(path: Path) -> Result:
    """Return the run stored in the folder `path`.

    Raises:
      StoreError: if the folder is incomplete, damaged or inconsistent, or holds no evaluation yet.
    """
    path = Path(path)
    spec = stored_spec(path)
    manifest = store.read_manifest(path)
    if not (path / "metrics.npz").is_file():
        raise store.StoreError(
            f"{path} holds no metrics yet ({manifest['status']}); `jaxrl resume {path}` goes on"
        )
    arrays = store.read_arrays(path / "metrics.npz")
    needed = ("steps", "episode_return", "episode_length", "metric_steps", "finite")
    if missing := [name for name in needed if name not in arrays]:
        raise store.StoreError(f"{path}/metrics.npz is damaged: {', '.join(missing)} is missing")
    lead = (len(spec.configurations()), len(spec.seeds))
    if arrays["episode_return"].shape[:2] != lead:
        raise store.StoreError(
            f"{path}/metrics.npz is from another configuration: it does not hold {lead} cells"
        )
    evaluations, points = (arrays[name].shape for name in ("steps", "metric_steps"))
    shapes = {"episode_return": evaluations, "episode_length": evaluations}
    shapes |= {name: points for name in arrays if name == "finite" or name.startswith("metrics/")}
    for name, last in shapes.items():
        shape = arrays[name].shape
        if len(last) != 1 or shape[:3] != lead + last:
            raise store.StoreError(
                f"{path}/metrics.npz is damaged: {name} has shape {shape}, expected {(*lead, *last)} first"
            )
    if len(arrays["steps"]) == 0:
        raise store.StoreError(
            f"{path} holds no evaluation yet ({manifest['status']}); `jaxrl resume {path}` goes on"
        )
    return Result(path, spec, manifest, arrays)
