"""TD3 and DDPG: targets against NumPy, delays, and time limits."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.mdps import ExplicitMDP
from envs.spaces import Box
from jaxrl.agents import ddpg, td3
from jaxrl.agents import replay_actor_critic as shared
from jaxrl.agents.off_policy import Batch
from jaxrl.agents.replay_actor_critic import Critics, Networks
from jaxrl.ops.noise import bulk
from jaxrl.train import run_interval

SMALL = {"num_envs": 4, "hidden_sizes": (8,), "batch_size": 8, "buffer_size": 80, "learning_starts": 20}
MODEL = td3.Model(
    actor=lambda params, x: jnp.tanh(params * x),
    # The second critic is lower where the action is above 0.2, else the first.
    critics=Critics(
        init=None,  # type: ignore[arg-type]
        values=lambda params, x, action: jnp.stack([action[:, 0], 0.2 + 0.0 * action[:, 0]])[: len(params)],
        dead_units=None,  # type: ignore[arg-type]
    ),
)
BATCH = Batch(
    x=jnp.linspace(-1.0, 1.0, 6)[:, None],
    action=jnp.zeros((6, 1)),
    reward=jnp.arange(6.0),
    discount=jnp.array([0.9, 0.9, 0.9, 0.0, 0.5, 0.5]),
    next_x=jnp.linspace(-2.0, 2.0, 6)[:, None],
    weight=jnp.ones(6),
)


def test_targets_against_numpy():
    """With much noise, its clip decides; then that of the action, then the least critic."""
    config = td3.Config(target_noise=3.0, target_noise_clip=0.25)
    key = jax.random.key(0)
    targets = Networks(jnp.float32(1.5), jnp.zeros(2))
    target = td3.critic_target(targets, MODEL, BATCH, key, config)
    noise = 3.0 * np.asarray(bulk(jax.random.normal, jax.random.split(key)[0], 6, (1,)))
    assert (np.abs(noise) > 0.25).sum() >= 3
    policy = np.tanh(1.5 * np.linspace(-2.0, 2.0, 6))[:, None]
    action = np.clip(policy + np.clip(noise, -0.25, 0.25), -1, 1)[:, 0]
    assert action.max() > 0.2 > action.min()
    np.testing.assert_allclose(
        target, BATCH.reward + BATCH.discount * np.minimum(action, 0.2), rtol=1e-5, atol=1e-6
    )


def test_the_actor_climbs_the_first_critic():
    loss, _ = td3.actor_loss(jnp.float32(0.5), jnp.zeros(2), MODEL, BATCH.x)
    assert float(loss) == pytest.approx(-np.mean(np.tanh(0.5 * np.linspace(-1, 1, 6))), abs=1e-6)


def test_ddpg_is_td3_without_its_additions():
    config = ddpg.Config()
    targets = Networks(jnp.float32(1.5), jnp.zeros(1))
    target = td3.critic_target(targets, MODEL, BATCH, jax.random.key(0), config)
    action = np.tanh(1.5 * np.linspace(-2.0, 2.0, 6))
    np.testing.assert_allclose(target, BATCH.reward + BATCH.discount * action, rtol=1e-5, atol=1e-6)


def test_policy_and_targets_are_delayed():
    """The counter of gradient steps decides: here every third."""
    algorithm = td3.make(*envs.make("Pendulum-v1"), td3.Config(**SMALL, policy_delay=3))
    run = jax.jit(lambda state, start, stop: run_interval(algorithm, state, start, stop)[0])
    state = run(jax.jit(algorithm.init)(jax.random.key(0)), 0, 4)

    def changes(before, after):
        pairs = (
            (before.params.critic, after.params.critic),
            (before.params.actor, after.params.actor),
            (before.target_params, after.target_params),
        )
        return [
            not all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
            for a, b in pairs
        ]

    for t, expected in ((4, True), (5, False), (6, False), (7, True)):
        after = run(state, t, t + 1)
        assert changes(state, after) == [True, expected, expected]
        state = after


@dataclass(frozen=True)
class Treadmill(ExplicitMDP):
    """Reward 1 a step for ever, whatever the action in [-1, 1]."""

    num_states: int = 2
    num_actions: int = 1

    def action_space(self, params):
        return Box(-1.0, 1.0, (1,))

    def outcomes(self, state_index, action, params):
        return super().outcomes(state_index, 0, params)


def test_a_time_limit_is_no_terminal_state():
    """Cut after 5 steps, the value is 1 / (1 - gamma), not that of five rewards."""
    env = Treadmill()
    params = env.default_params().replace(R=jnp.ones((2, 1, 2)), max_steps=jnp.int32(5))
    config = td3.Config(
        **(SMALL | {"batch_size": 32, "buffer_size": 400, "learning_starts": 40, "hidden_sizes": (32,)})
    )
    config = replace(config, gamma=0.8, learning_rate=1e-2, polyak_tau=0.1)
    algorithm = td3.make(env, params, config)
    state, metrics = jax.jit(lambda key: run_interval(algorithm, algorithm.init(key), 0, 2000))(
        jax.random.key(0)
    )
    assert float(metrics["episode_length"]) == 5
    critics = shared.make_critics(config, (2,), 1, per_action=False)
    q = critics.values(state.params.critic, jnp.eye(2), jnp.zeros((2, 1)))
    np.testing.assert_allclose(q, 5.0, atol=0.1)
    value = algorithm.policy(state).value(jnp.int32(1), ())
    assert float(value) == pytest.approx(5.0, abs=0.1)
