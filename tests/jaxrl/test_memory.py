"""What does not fit in memory is refused from its shapes alone."""

import jax
import jax.numpy as jnp
import pytest

import envs
import jaxrl
from jaxrl import memory
from jaxrl.agents import dqn


def test_cells_are_counted_against_the_memory_of_their_devices(monkeypatch):
    monkeypatch.setattr(memory, "_available", lambda: 1000)
    state = {"x": jax.ShapeDtypeStruct((10, 3), jnp.float32), "key": jax.eval_shape(jax.random.key, 0)}
    memory.check_cells("`keys`", state, 8, 2)
    # Devices of the host share its memory.
    with pytest.raises(ValueError, match=r"`keys` must make cells that fit in memory: 9 of .* at most 8 fit"):
        memory.check_cells("`keys`", state, 9, 2)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    memory.check_cells("`keys`", state, 16, 2)
    with pytest.raises(ValueError, match="at most 16 fit"):
        memory.check_cells("`keys`", state, 17, 2)
    monkeypatch.setattr(memory, "_available", lambda: None)
    memory.check_cells("`keys`", state, 10**9, 1)


def test_a_sweep_whose_replays_do_not_fit_is_refused_before_the_compile():
    keys = jax.random.split(jax.random.key(0), 100_000)
    config = dqn.Config(buffer_size=1_000_000)
    with pytest.raises(ValueError, match=r"`configs` and `keys` .*: 100,000 of [0-9.]+ MiB each"):
        jaxrl.sweep(dqn.make, *envs.make("CartPole-v1"), config, keys, 1_000_000)
