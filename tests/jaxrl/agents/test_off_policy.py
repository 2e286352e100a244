"""The loop of all learners from replay: what each of them must do with what it is given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from jaxrl.agents import discrete_sac, dqn, off_policy, r2d2, sac, td3
from jaxrl.train import run_interval

SMALL = {"num_envs": 4, "hidden_sizes": (8,), "batch_size": 8, "buffer_size": 80, "learning_starts": 20}


def test_rates_fall_with_the_steps_that_are_done():
    """Of 100 steps, 8 an iteration, the first gradient steps, 2 an iteration, follow the third iteration."""
    config = off_policy.Config(
        num_envs=4,
        num_steps=2,
        num_updates=2,
        learning_starts=20,
        total_steps=100.0,
        anneal_learning_rate=True,
    )
    rates = [float(off_policy.annealed(0.5, jnp.int32(count), config)) for count in (0, 1, 2, 20, 21, 40)]
    np.testing.assert_allclose(rates, [0.42, 0.42, 0.38, 0.02, 0.02, 0.0], rtol=1e-5)
    kept = config.replace(anneal_learning_rate=False)
    assert off_policy.annealed(0.5, jnp.int32(20), kept) == 0.5


@pytest.mark.parametrize("module", [dqn, r2d2, sac, discrete_sac, td3], ids=lambda m: m.__name__[13:])
def test_every_learner_stands_still_once_its_rate_is_annealed(module):
    fields = {**SMALL, "anneal_learning_rate": True, "total_steps": 60.0}
    fields |= {"num_steps": 1} if module is discrete_sac else {}
    if module is r2d2:
        fields |= {"sequence_length": 2, "burn_in": 0, "n_step": 1, "memory_size": 8}
    world = "Pendulum-v1" if module in (sac, td3) else "CartPole-v1"
    algorithm = module.make(*envs.make(world), module.Config(**fields))
    run = jax.jit(lambda state, start, stop: run_interval(algorithm, state, start, stop)[0])
    early = run(jax.jit(algorithm.init)(jax.random.key(0)), 0, 8)
    middle = run(early, 8, 12)

    def of(state):
        return [np.asarray(x) for x in jax.tree.leaves(state.params)]

    assert any((a != b).any() for a, b in zip(of(early), of(middle), strict=True))
    settled = run(middle, 15, 16)  # after 60 steps
    for a, b in zip(of(settled), of(middle), strict=True):
        np.testing.assert_array_equal(a, b)
