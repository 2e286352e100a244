"""Agents that were trained and stored: their states, their policies, and a fresh evaluation."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.core import time_limit
from experiments import checkpoint, store
from experiments.experiment import Experiment, resolve
from experiments.runner import stored_spec
from jaxrl.algorithm import Algorithm, Policy
from jaxrl.sweep import cross
from jaxrl.train import evaluate


@dataclass(frozen=True)
class Trained:
    """The agents of one run.

    Attributes:
      experiment: what was run.
      states: the algorithm's states, leaves `[C * S, ...]`, seeds varying fastest.
      finite: which agents had finite metrics and parameters all along, `[C, S]` bool.
    """

    experiment: Experiment
    states: Any
    finite: np.ndarray

    def algorithm(self, config: int) -> Algorithm:
        """Return the algorithm of configuration number `config`."""
        e = self.experiment
        return e.module.make(e.env, e.params, jax.tree.map(lambda x: x[config], e.configs))

    def policy(self, config: int = 0, seed: int = 0) -> Policy:
        """Return the greedy policy of a configuration and seed, both by their position in the spec.

        Raises:
          IndexError: if there is no such configuration or seed.
        """
        num_configs, num_seeds = len(self.experiment.spec.configurations()), len(self.experiment.spec.seeds)
        if not (0 <= config < num_configs and 0 <= seed < num_seeds):
            raise IndexError(
                f"`config` and `seed` must be below {num_configs} and {num_seeds}, got {config} and {seed}"
            )
        cell = config * num_seeds + seed
        return self.algorithm(config).policy(jax.tree.map(lambda x: x[cell], self.states))

    def evaluate(self, num_episodes: int, seed: int = 0) -> np.ndarray:
        """Return the returns of new evaluation episodes of every agent, `[C, S, num_episodes]`.

        Args:
          num_episodes: of each agent.
          seed: of the episodes; all agents meet the same ones.
        """
        e = self.experiment
        horizon = time_limit(e.env, e.params)
        keys = jax.vmap(jax.random.key)(jnp.asarray(e.spec.seeds, jnp.uint32))
        configs, _ = cross(e.configs, keys)

        @jax.jit
        @partial(jax.vmap, in_axes=(0, 0, None, None))
        def returns(state, config, params, key):
            policy = e.module.make(e.env, params, config).policy(state)
            return evaluate(policy, e.env, params, key, num_episodes, horizon).return_

        found = np.asarray(returns(self.states, configs, e.params, jax.random.key(seed)))
        return found.reshape(len(e.spec.configurations()), len(e.spec.seeds), num_episodes)


def load(path: Path) -> Trained:
    """Return the agents stored in the run folder `path`, as they were at its last checkpoint.

    Raises:
      StoreError: if the folder is incomplete, damaged, from another configuration, or holds no checkpoint.
    """
    spec = stored_spec(Path(path))
    experiment = resolve(spec)
    if not checkpoint.exists(path):
        raise store.StoreError(f"{path} holds no trained agent yet; `jaxrl resume {path}` goes on")
    init = jax.vmap(
        lambda config, key: experiment.module.make(experiment.env, experiment.params, config).init(key)
    )
    keys = jax.vmap(jax.random.key)(jnp.asarray(spec.seeds, jnp.uint32))
    template = jax.eval_shape(init, *cross(experiment.configs, keys))
    states, history, done = checkpoint.load(path, spec.hash(), template)
    finite = history["finite"][:, :done].all(axis=-1).reshape(-1, len(spec.seeds))
    return Trained(experiment, states, finite)
