"""Actors with critics from replay: what they refuse, how they act first, and their critics."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.classic.pendulum import Pendulum
from envs.spaces import Box
from jaxrl.agents import ddpg, discrete_sac, sac, td3
from jaxrl.agents import replay_actor_critic as shared
from jaxrl.agents.off_policy import Batch
from jaxrl.nets.estimator import Estimator, apply_ensemble, hidden_of_ensemble, init_ensemble

SMALL = {"num_envs": 4, "hidden_sizes": (8,), "batch_size": 8, "buffer_size": 80, "learning_starts": 20}


NO_BOUNDS = Box(-jnp.inf, jnp.inf, (1,))


@dataclass(frozen=True)
class Odd(Pendulum):
    """Pendulum with other actions; only its spaces are asked for."""

    space: Box = NO_BOUNDS

    def action_space(self, params):
        return self.space


@pytest.mark.parametrize("module", [sac, td3, ddpg])
def test_actions_that_cannot_be_served_are_refused(module):
    with pytest.raises(
        ValueError, match="`env` must have continuous actions, but 'CartPole-v1' takes Discrete"
    ):
        module.make(*envs.make("CartPole-v1"), module.Config(**SMALL))
    params = Pendulum().default_params()
    for space in (NO_BOUNDS, Box(0.0, jnp.inf, (1,))):
        with pytest.raises(ValueError, match="`env` must bound its actions, low < high, but 'Pendulum-v1'"):
            module.make(Odd(space=space), params, module.Config(**SMALL))


def test_discrete_sac_refuses_continuous_actions():
    with pytest.raises(ValueError, match="`env` must have discrete actions, but 'Pendulum-v1' takes Box"):
        discrete_sac.make(*envs.make("Pendulum-v1"), discrete_sac.Config(**SMALL))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_target_critics": 3}, "`num_target_critics` must be at most num_critics = 2, got 3"),
        ({"polyak_tau": 0.0}, "`polyak_tau` must be greater than 0 and at most 1, got 0"),
        ({"batch_size": 21}, "`batch_size` must be at most learning_starts = 20, .*, got 21"),
        ({"buffer_size": 10**12}, r"`buffer_size` must fit in memory: .* GiB; at most [0-9,]+ fit"),
        ({"temperature": 0.0}, "`temperature` must be greater than 0, got 0"),
        ({"policy_delay": 0}, "`policy_delay` must be at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        sac.make(*envs.make("Pendulum-v1"), sac.Config(**(SMALL | fields)))


def test_actions_are_scaled_to_the_bounds_and_back():
    space = Box((((-1.0, 0.0),), ((10.0, -8.0),)), (((3.0, 1.0),), ((30.0, 8.0),)), (2, 1, 2))
    scale = shared.action_scale(Odd(space=space), Pendulum().default_params())
    assert scale.size == 4
    inner = jnp.array([[-1.0, 0.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]])
    expected = np.array([[[[-1.0, 0.5]], [[30.0, 4.0]]], [[[3.0, 1.0]], [[30.0, 8.0]]]])
    np.testing.assert_allclose(scale.to_env(inner), expected, rtol=1e-6)
    np.testing.assert_allclose(scale.from_env(scale.to_env(inner)), inner, atol=1e-6)
    # Rounding never leaves the bounds, which a world may check.
    assert np.all(np.asarray(scale.to_env(jnp.ones(4))) <= space.bounds()[1])


def test_an_ensemble_is_its_members():
    """Each has weights of its own and says what it would say alone."""
    module = Estimator(num_outputs=1, hidden_sizes=(5, 4), layer_norm=True)
    x, action = jnp.linspace(-1.0, 1.0, 18).reshape(6, 3), jnp.linspace(1.0, -1.0, 12).reshape(6, 2)
    params = init_ensemble(module, jax.random.key(0), 3, x[0], action[0])
    together = apply_ensemble(module, params, x, action)
    alone = [module.apply(jax.tree.map(lambda leaf, n=n: leaf[n], params), x, action) for n in range(3)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-5, atol=1e-6)
    assert np.abs(np.diff(together, axis=0)).min() > 1e-4
    hidden = hidden_of_ensemble(module, params, x, action)
    assert [layer.shape for layer in hidden] == [(6, 15), (6, 12)]


def test_the_critics_loss_by_hand():
    """Twice (1, 0) off with weights 1 and 0.5, once (0, 2): 1/2 + 1/2 + (0.5 * 4) / 2; the mean errors."""
    batch = Batch(
        jnp.zeros((2, 1)), None, jnp.zeros(2), jnp.zeros(2), jnp.zeros((2, 1)), jnp.array([1.0, 0.5])
    )
    q = jnp.array([[1.0, 5.0], [1.0, 5.0], [2.0, 3.0]])
    loss, errors = shared.squared_error(q, batch, jnp.array([2.0, 5.0]))
    assert float(loss) == pytest.approx(0.5 + 0.5 + 1.0)
    np.testing.assert_allclose(errors, [2 / 3, 2 / 3], rtol=1e-6)
