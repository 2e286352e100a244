"""Runs of a bandit policy, pull by pull, for tests to replay."""

import jax
import jax.numpy as jnp
import pytest

import envs
import jaxrl
from jaxrl.train import run_interval


@pytest.fixture(scope="session")
def bernoulli():
    """Return `(*probabilities) -> (env, params)`."""

    def bernoulli(*probabilities):
        env, params = envs.make("BernoulliBandit-v1", num_arms=len(probabilities))
        return env, params.replace(probabilities=jnp.array(probabilities))

    return bernoulli


@pytest.fixture(scope="session")
def record():
    """Return `(name, env, params, pulls, runs, **config) -> (beliefs, obs, arm, reward)` before each pull."""

    def record(name, env, params, pulls, runs=1, **fields):
        module = jaxrl.algorithm(name)
        algorithm = module.make(env, params, module.Config(num_steps=1, **fields))

        def run(key):
            def pull(state, t):
                after, metrics = algorithm.step(state, t)
                arm = jnp.argmax(after.pulls - state.pulls)
                return after, (state.beliefs, state.obs[0], arm, metrics["reward"])

            state = algorithm.init(key)
            return jax.lax.scan(pull, state, jnp.arange(pulls, dtype=jnp.int32))[1]

        return jax.jit(jax.vmap(run))(jax.vmap(jax.random.key)(jnp.arange(runs)))

    return record


@pytest.fixture(scope="session")
def regret():
    """Return `(algorithm, bounds, runs) -> [runs, len(bounds) - 1]`, the regret between the pulls given."""

    def regret(algorithm, bounds, runs):
        per = algorithm.steps_per_iteration
        bounds = jnp.asarray(bounds, jnp.int32)

        def interval(state, bounds):
            return run_interval(algorithm, state, *bounds)

        def run(key):
            state = algorithm.init(key)
            metrics = jax.lax.scan(interval, state, (bounds[:-1] // per, bounds[1:] // per))[1]
            return metrics["regret"] * jnp.diff(bounds)

        return jax.jit(jax.vmap(run))(jax.vmap(jax.random.key)(jnp.arange(runs)))

    return regret
