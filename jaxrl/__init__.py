"""End-to-end reinforcement learning: agents as pure functions from a key to a trained state."""

import importlib
from types import ModuleType

from envs.core import unknown
from jaxrl.algorithm import Algorithm, Policy
from jaxrl.sweep import grid, sweep
from jaxrl.train import Episodes, History, evaluate, train

__all__ = [
    "Algorithm",
    "Episodes",
    "History",
    "Policy",
    "algorithm",
    "algorithms",
    "evaluate",
    "grid",
    "sweep",
    "train",
]

_ALGORITHMS = {"ppo": "jaxrl.agents.ppo"}


def algorithms() -> list[str]:
    """Return the names of the algorithms.

    >>> "ppo" in algorithms()
    True
    """
    return sorted(_ALGORITHMS)


def algorithm(name: str) -> ModuleType:
    """Return an algorithm's module, which offers `Config` and `make(env, params, config)`.

    Raises:
      ValueError: for an unknown name; the closest ones are named.
    """
    if name not in _ALGORITHMS:
        raise ValueError(unknown("algorithm", name, algorithms()))
    return importlib.import_module(_ALGORITHMS[name])
