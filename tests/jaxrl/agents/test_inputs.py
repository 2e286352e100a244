"""What every learner refuses before anything is compiled."""

import importlib

import jax
import jax.numpy as jnp
import pytest

import envs
import jaxrl
from envs.physics import DelayedAction, Randomized, Variation
from envs.spaces import Box, Dict
from envs.wrappers import ActionMaskObservation
from jaxrl.agents import apg, dqn, ppo, pqn, r2d2, sac, td3

ALL = ("a2c", "apg", "c51", "ddpg", "discrete_sac", "dqn", "impala", "iqn", "ppo", "pqn", "qr_dqn", "r2d2")
ALL += ("rainbow", "reinforce", "sac", "td3", "trpo")
CONTINUOUS = ("apg", "ddpg", "sac", "td3")
SMALL = {"num_envs": 4, "hidden_sizes": (8,), "buffer_size": 80, "learning_starts": 20, "batch_size": 8}


@pytest.mark.parametrize("name", ALL)
def test_worlds_and_configurations_of_another_kind_are_named(name):
    module = importlib.import_module(f"jaxrl.agents.{name}")
    world = envs.make("Pendulum-v1" if name in CONTINUOUS else "CartPole-v1")
    other = ppo if name in CONTINUOUS else sac
    with pytest.raises(ValueError, match=r"`config` must be a jaxrl.agents.*got jaxrl.agents.*Config"):
        module.make(*world, other.Config())
    for wrong in ("CartPole-v1", world):
        with pytest.raises(ValueError, match="`env` must be an environment, the first that"):
            module.make(wrong, world[1], module.Config())


@pytest.mark.parametrize("module", [ppo, sac], ids=["rollouts", "replay"])
def test_impossible_parameters_are_refused_and_traced_ones_pass(module):
    env, params = envs.make("Pendulum-v1")
    config = ppo.Config() if module is ppo else sac.Config(**SMALL)
    with pytest.raises(ValueError, match="`mass` must be positive and finite, got -1"):
        module.make(env, params.replace(mass=-params.mass), config)
    jax.eval_shape(
        lambda mass: module.make(env, params.replace(mass=mass), config).init(jax.random.key(0)), params.mass
    )


@pytest.mark.parametrize("module", [ppo, sac], ids=["rollouts", "replay"])
def test_parameters_of_another_kind_are_named(module):
    env, params = envs.make("PointRobot-v1")
    wrapped = Randomized(env, (Variation("mass", 0.5, 2.0),))
    config = ppo.Config() if module is ppo else sac.Config(**SMALL)
    cases = (
        (env, None, "`params` must be a PointRobotParams, .* of 'PointRobot-v1' returns it, got NoneType"),
        (env, envs.make("Pendulum-v1")[1], "`params` must be a PointRobotParams, .*, got PendulumParams"),
        (wrapped, params, "`params` must be a WrappedParams, .*, got PointRobotParams"),
        (env, params.replace(mass="heavy"), r"`params\.mass` must hold numbers, got 'heavy'"),
    )
    for world, wrong, message in cases:
        with pytest.raises(ValueError, match=message):
            module.make(world, wrong, config)


def test_a_grid_of_configurations_is_for_a_sweep():
    env, params = envs.make("CartPole-v1")
    with pytest.raises(ValueError, match=r"`learning_rate` must be one number, .* \(2,\); jaxrl\.sweep"):
        ppo.make(env, params, jaxrl.grid(ppo.Config(), learning_rate=[1e-3, 1e-2]))


@pytest.mark.parametrize("module", [ppo, sac], ids=["rollouts", "replay"])
def test_randomized_robots_are_not_kept_for_ever(module):
    pendulum, _ = envs.make("Pendulum-v1")
    env = DelayedAction(Randomized(pendulum, (Variation("mass", 0.5, 2.0),)))
    small = {} if module is ppo else SMALL
    with pytest.raises(ValueError, match="`reset` must be one of 'auto', 'fresh', 'pool' where robots"):
        module.make(env, env.default_params(), module.Config(**small, reset="first"))
    module.make(env, env.default_params(), module.Config(**small, reset="pool"))


@pytest.mark.parametrize("module", [dqn, r2d2, pqn], ids=lambda m: m.__name__[13:])
def test_masks_are_refused_where_they_would_not_be_obeyed(module):
    env = ActionMaskObservation(envs.make("Taxi-v1")[0])
    with pytest.raises(ValueError, match=r"`env` must not observe 'action_mask'.*jaxrl.agents.ppo"):
        module.make(env, env.default_params(), module.Config())


@pytest.mark.parametrize("module", [sac, td3], ids=["sac", "td3"])
def test_what_only_a_critic_may_see_is_refused_where_the_actor_would_see_it(module):
    class Telling(type(envs.make("PointRobot-v1")[0])):
        def observation_space(self, params):
            inner = super().observation_space(params)
            return Dict({"obs": inner, "privileged": Box(-1.0, 1.0, (1,))})

    env = Telling()
    with pytest.raises(ValueError, match="`env` must not observe 'privileged'"):
        module.make(env, env.default_params(), module.Config(**SMALL))


def test_worlds_without_gradients_are_named_by_apg_when_its_step_is_traced():
    class Rough(type(envs.make("PointRobot-v1")[0])):
        def step(self, key, state, action, params):
            action = jax.lax.while_loop(lambda x: jnp.abs(x).sum() > 1.0, lambda x: 0.5 * x, action)
            return super().step(key, state, action, params)

    env = Rough()
    algorithm = apg.make(env, env.default_params(), apg.Config(num_envs=2, num_steps=4, num_minibatches=1))
    with pytest.raises(ValueError, match=r"`env` must be differentiable.*loop of unknown length"):
        jax.eval_shape(algorithm.step, jax.eval_shape(algorithm.init, jax.random.key(0)), jnp.int32(0))
