"""Devices: the same numbers on 1, 2 and 4, in either spelling, and one learner's data over several."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.parallel import cell_mesh, data_mesh, over_cells, pad

ROOT = Path(__file__).parents[2]

CELLS = """
import sys
import jax, jax.numpy as jnp, numpy as np
import envs, jaxrl
from jaxrl.agents import ppo
from jaxrl.parallel import cell_mesh

assert jax.device_count() == 4
config = ppo.Config(num_envs=2, num_steps=8, num_epochs=2, num_minibatches=2, hidden_sizes=(8,))
configs = jaxrl.grid(config, learning_rate=[1e-3, 1e-2])
keys = jax.vmap(jax.random.key)(jnp.arange(3))
results = {}
for devices in (1, 2, 4):
    mesh = cell_mesh(jax.devices()[:devices])
    state, history = jaxrl.sweep(
        ppo.make, *envs.make("CartPole-v1"), configs, keys, 160, mesh=mesh, evaluations=2
    )
    results[f"params{devices}"] = np.concatenate(
        [np.asarray(x).reshape(2, 3, -1) for x in jax.tree.leaves(state.params)], axis=-1
    )
    results[f"returns{devices}"] = np.asarray(history.episode_return)
np.savez(sys.argv[1], **results)
"""

SPELLINGS = """
import jax, jax.numpy as jnp, numpy as np
from jaxrl.parallel import cell_mesh, over_cells

def fn(cell, shared):
    x, key = cell
    def body(carry, k):
        return jnp.tanh(carry + shared * jax.random.normal(k, carry.shape)), carry.sum()
    return jax.lax.scan(body, x, jax.random.split(key, 5))

mesh = cell_mesh()
assert mesh.size == 4
cells = (jnp.arange(24.0).reshape(8, 3), jax.vmap(jax.random.key)(jnp.arange(8)))
a = jax.jit(over_cells(fn, mesh))(cells, jnp.float32(0.1))
b = over_cells(fn, mesh, spelling="pmap")(cells, jnp.float32(0.1))
jax.tree.map(np.testing.assert_array_equal, a, b)
c = jax.jit(jax.vmap(fn, in_axes=(0, None)))(cells, jnp.float32(0.1))
jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6), a, c)
"""

DATA = """
import jax, jax.numpy as jnp, numpy as np
import envs
from jaxrl.agents import ppo
from jaxrl.parallel import data_mesh, over_data
from jaxrl.train import run_interval

config = ppo.Config(
    num_envs=2, num_steps=8, num_epochs=2, num_minibatches=2, hidden_sizes=(8,), axis_name="data",
    normalize_observations=True,
)
env, params = envs.make("CartPole-v1")
algorithm = ppo.make(env, params, config)

def run(key, shared):
    state = algorithm.init(shared)  # equal parameters
    state = state.replace(key=key)  # own environments' noise
    return run_interval(algorithm, state, 0, 5)[0]

keys = jax.random.split(jax.random.key(0), 4)
state = jax.jit(over_data(run, data_mesh()))(keys, jax.random.key(1))
for x in jax.tree.leaves((state.params, state.normalizer)):
    x = np.asarray(x)
    assert x.shape[0] == 4
    np.testing.assert_allclose(x, np.broadcast_to(x[:1], x.shape), rtol=1e-6, atol=1e-6)
assert int(state.normalizer.count[0]) == 4 * 5 * 16, state.normalizer.count
obs = np.asarray(state.obs)
assert np.abs(obs[0] - obs[1]).max() > 0
"""

PROCESSES = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jaxrl.parallel import cell_mesh, initialize, over_cells
initialize("localhost:" + sys.argv[1], 2, int(sys.argv[2]))
assert jax.process_count() == 2 and jax.device_count() == 2
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec
mesh = cell_mesh()
seeds = np.arange(4, dtype=np.int32)
x = jax.make_array_from_callback((4,), NamedSharding(mesh, PartitionSpec("cell")), lambda i: seeds[i])
draw = over_cells(lambda seed, s: s * jax.random.uniform(jax.random.key(seed)), mesh)
out = jax.jit(draw)(x, jnp.float32(2.0))
all_of_it = multihost_utils.process_allgather(out, tiled=True)
alone = [2.0 * float(jax.random.uniform(jax.random.key(i))) for i in range(4)]
np.testing.assert_allclose(all_of_it, alone)
"""


def environment(devices):
    flags = os.environ.get("XLA_FLAGS", "")
    return os.environ | {
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}",
        "NPROC": str(4 * max(devices, 2)),
        "PYTHONPATH": str(ROOT),
    }


def run(script, *arguments, devices=4):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment(devices),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.multidevice
def test_device_counts_agree(tmp_path):
    run(CELLS, tmp_path / "out.npz")
    results = np.load(tmp_path / "out.npz")
    for devices in (2, 4):
        np.testing.assert_allclose(results[f"params{devices}"], results["params1"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(results[f"returns{devices}"], results["returns1"])


@pytest.mark.multidevice
def test_both_spellings_give_equal_numbers():
    run(SPELLINGS)


@pytest.mark.multidevice
def test_data_over_devices_keeps_parameters_equal():
    run(DATA)


@pytest.mark.multidevice
def test_two_processes_share_a_mesh():
    import socket

    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESSES, str(port), str(i)],
            env=environment(1),
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    try:
        errors = [worker.communicate(timeout=120)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], errors


def test_one_device_is_the_plain_program_bit_for_bit():
    def fn(x, shared):
        return jnp.sin(x) * shared

    cells = jnp.linspace(0.0, 1.0, 7)
    mesh = cell_mesh(jax.devices()[:1])
    sharded = jax.jit(over_cells(fn, mesh))(cells, jnp.float32(3.0))
    plain = jax.jit(jax.vmap(fn, in_axes=(0, None)))(cells, jnp.float32(3.0))
    np.testing.assert_array_equal(sharded, plain)


def test_padding_repeats_the_last_row():
    tree = {"a": jnp.arange(5), "k": jax.random.split(jax.random.key(0), 5)}
    padded = pad(tree, 4)
    np.testing.assert_array_equal(padded["a"], [0, 1, 2, 3, 4, 4, 4, 4])
    assert padded["k"].shape == (8,)
    assert pad(tree, 5) is tree


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="`devices` must name at least one"):
        data_mesh([])
    with pytest.raises(ValueError, match="`spelling` must be"):
        over_cells(lambda x, s: x, cell_mesh(), spelling="pjit")
