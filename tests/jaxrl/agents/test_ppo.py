"""PPO: its loss by hand, its bootstrapping, its action and observation spaces, its options, its errors."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import envs
import jaxrl
from envs.core import Step
from envs.spaces import Box, Dict, Discrete, MultiDiscrete
from jaxrl import ops
from jaxrl.agents import ppo
from jaxrl.rollout import unroll

CONFIG = ppo.Config(
    num_envs=8,
    num_steps=16,
    hidden_sizes=(16,),
    learning_rate=1e-2,
    entropy_coefficient=0.0,
    clip_value=False,
    gamma=0.5,
    total_steps=25_600.0,
)


VECTOR = Box(-1.0, 1.0, (1,))


@struct.dataclass
class Clock:
    t: jax.Array


@dataclass(frozen=True)
class Target:
    """Reward 1 - |action - target|^2 a step; episodes are truncated after two steps, never terminated."""

    actions: Any
    target: tuple = (0.0,)
    observations: Any = VECTOR
    id: str = "Target"

    def default_params(self):
        return jnp.float32(2.0)

    def observe(self):
        def zeros(space):
            if isinstance(space, Dict):
                return {name: zeros(s) for name, s in space.spaces.items()}
            return jnp.zeros(space.shape, space.dtype)

        return zeros(self.observations)

    def reset(self, key, params):
        return Clock(t=jnp.int32(0)), self.observe()

    def step(self, key, state, action, params):
        state = Clock(t=state.t + 1)
        distance = jnp.sum(jnp.square(jnp.asarray(action, jnp.float32) - jnp.asarray(self.target)))
        return state, Step(
            obs=self.observe(),
            reward=1.0 - distance,
            terminated=jnp.zeros((), bool),
            truncated=state.t >= params,
        )

    def observation_space(self, params):
        return self.observations

    def action_space(self, params):
        return self.actions

    def time_limit(self, params):
        return params.astype(jnp.int32)


def train(env, config=CONFIG, num_steps=25_600, seeds=4):
    algorithm = ppo.make(env, env.default_params(), config)
    run = jax.jit(jax.vmap(lambda key: jaxrl.train(algorithm, key, num_steps, evaluations=1, log_points=1)))
    return algorithm, *run(jax.vmap(jax.random.key)(jnp.arange(seeds)))


def test_loss_by_hand():
    """Two samples, a policy of two actions, in plain NumPy."""
    logits, value = np.array([[0.3, -0.2], [0.1, 0.4]]), np.array([0.5, -1.0])
    old_log_prob, old_value = np.array([-0.9, -0.4]), np.array([0.1, -1.1])
    advantage, target = np.array([2.0, -1.0]), np.array([1.0, 0.0])
    action = np.array([0, 1])
    config = ppo.Config(clip_epsilon=0.1, value_coefficient=0.7, entropy_coefficient=0.03)

    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    log_prob = log_probs[[0, 1], action]
    standardized = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    ratio = np.exp(log_prob - old_log_prob)
    surrogate = np.minimum(ratio * standardized, np.clip(ratio, 0.9, 1.1) * standardized)
    clipped = old_value + np.clip(value - old_value, -0.1, 0.1)
    value_loss = 0.5 * np.maximum((value - target) ** 2, (clipped - target) ** 2).mean()
    entropy = -(np.exp(log_probs) * log_probs).sum(-1).mean()
    expected = -surrogate.mean() + 0.7 * value_loss - 0.03 * entropy

    head = envs.make("CartPole-v1")
    model = ppo.make_model(Box(-1, 1, (1,)), head[0].action_space(head[1]), config)
    model = model._replace(
        actor=lambda params, x: _categorical(logits), critic=lambda params, x: jnp.float32(value)
    )
    batch = ppo.Batch(
        x=jnp.zeros((2, 1)),
        action=jnp.int32(action),
        log_prob=jnp.float32(old_log_prob),
        value=jnp.float32(old_value),
        advantage=jnp.float32(advantage),
        target=jnp.float32(target),
    )
    total, parts = ppo.loss(None, model, batch, config)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    np.testing.assert_allclose(parts["value_loss"], value_loss, rtol=1e-5)
    np.testing.assert_allclose(parts["entropy"], entropy, rtol=1e-5)
    np.testing.assert_allclose(parts["clip_fraction"], np.mean(np.abs(ratio - 1) > 0.1))


def _categorical(logits):
    from jaxrl.distributions import Categorical

    return Categorical(jnp.float32(logits))


def test_a_minibatch_of_segments_has_the_loss_and_gradient_that_brax_gives_it():
    """With lambda 1, where Brax's advantages are those of GAE, and no bonus: its entropy is of one sample."""
    from brax.training import types
    from brax.training.agents.ppo import losses, networks

    config = ppo.Config(
        gae_lambda=1.0,
        gamma=0.97,
        clip_epsilon=0.3,
        entropy_coefficient=0.0,
        clip_value=False,
        hidden_sizes=(8, 8),
        critic_hidden_sizes=(16,),
        activation="silu",
        squash_actions=True,
        state_dependent_scale=True,
    )
    length, batch_size, obs_size, action_size = 5, 64, 3, 2
    model = ppo.make_model(Box(-9, 9, (obs_size,)), Box(-1, 1, (action_size,)), config)
    network = networks.make_ppo_networks(
        obs_size, action_size, policy_hidden_layer_sizes=(8, 8), value_hidden_layer_sizes=(16,)
    )
    keys = jax.random.split(jax.random.key(0), 6)
    # The head starts so small that all policies would be the same.
    params = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(keys[0], x.shape), model.init(keys[1]))
    behaviour = jax.tree.map(lambda x: x + 0.1, params)
    obs = jax.random.normal(keys[2], (batch_size, length + 1, obs_size))
    reward = jax.random.normal(keys[3], (batch_size, length))
    terminated = jax.random.bernoulli(keys[4], 0.1, (batch_size, length))
    latent, log_prob = model.actor(behaviour, obs[:, :-1]).sample_and_log_prob(seed=keys[5])

    def for_brax(tree):
        parts = tree["params"]

        def mlp(torso, head):
            layers = [*(torso[f"Dense_{i}"] for i in range(len(torso))), head["Dense_0"]]
            return {"params": {f"hidden_{i}": layer for i, layer in enumerate(layers)}}

        return losses.PPONetworkParams(
            policy=mlp(parts["actor_torso"], parts["actor_head"]),
            value=mlp(parts["critic_torso"], parts["critic_head"]),
        )

    policy_extras = {"raw_action": latent, "log_prob": log_prob}
    policy_extras["distribution_params"] = network.policy_network.apply(
        None, for_brax(behaviour).policy, obs[:, :-1]
    )
    data = types.Transition(
        observation=obs[:, :-1],
        action=jnp.tanh(latent),
        reward=reward,
        discount=1.0 - terminated,
        next_observation=obs[:, 1:],
        extras={
            "state_extras": {"truncation": jnp.zeros((batch_size, length))},
            "policy_extras": policy_extras,
        },
    )

    def loss_of_brax(params):
        return losses.compute_ppo_loss(
            params,
            None,
            data,
            jax.random.key(0),
            network,
            entropy_cost=0.0,
            discounting=0.97,
            gae_lambda=1.0,
            clipping_epsilon=0.3,
        )[0]

    def our_loss(params):
        value, next_value = jax.lax.stop_gradient(
            (model.critic(params, obs[:, :-1]), model.critic(params, obs[:, 1:]))
        )
        advantage, target = jax.vmap(ops.gae, in_axes=(0, 0, 0, 0, 0, None, None))(
            reward, value, next_value, terminated, jnp.zeros_like(terminated), 0.97, 1.0
        )
        batch = ppo.Batch(obs[:, :-1], latent, log_prob, value, advantage, target)
        batch = jax.tree.map(lambda x: x.reshape(batch_size * length, *x.shape[2:]), batch)
        return ppo.loss(params, model, batch, config)[0]

    expected, expected_gradient = jax.jit(jax.value_and_grad(loss_of_brax))(for_brax(params))
    loss, gradient = jax.jit(jax.value_and_grad(our_loss))(params)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6),
        for_brax(gradient),
        expected_gradient,
    )


@pytest.mark.parametrize(
    ("recompute", "length", "clip_value", "limit"),
    [
        ("never", None, True, 15),
        ("epoch", 10, True, 15),
        ("minibatch", 20, True, 15),
        ("minibatch", 20, False, 500),
    ],
)
def test_an_iteration_equals_a_plain_loop(recompute, length, clip_value, limit):
    """Rollout with both kinds of end, then every minibatch of two epochs, with Adam and clipping in NumPy."""
    config = ppo.Config(
        num_envs=3,
        num_steps=40,
        num_epochs=2,
        num_minibatches=2,
        learning_rate=1e-3,
        gae_lambda=0.3,
        max_grad_norm=0.05,
        adam_epsilon=1e-3,
        hidden_sizes=(8,),
        total_steps=1200.0,
        recompute_advantages=recompute,
        segment_length=length,
        clip_value=clip_value,
    )
    length = length or 40
    env, params = envs.make("CartPole-v1")
    params = params.replace(max_steps=jnp.int32(limit))
    algorithm = ppo.make(env, params, config)
    before = jax.jit(algorithm.init)(jax.random.key(5))
    after, metrics = jax.jit(algorithm.step)(before, jnp.int32(3))

    model = ppo.make_model(env.observation_space(params), env.action_space(params), config)
    key_rollout, key_update, _ = jax.random.split(before.key, 3)

    def act(key, obs, carry):
        action, log_prob = model.actor(before.params, obs).sample_and_log_prob(seed=key)
        return action, log_prob, carry

    vec = envs.VecEnv(env, 3)
    run = jax.jit(lambda s: unroll(vec, params, act, key_rollout, s.vec_state, s.obs, (), 40)[-1])
    rollout = run(before)
    assert rollout.terminated.any() and rollout.truncated.any() == (limit < 40)
    terminated, truncated = np.asarray(rollout.terminated), np.asarray(rollout.truncated)
    critic = jax.jit(model.critic)

    def assess(weights):
        """Return advantages and targets of all steps, by the critic with these weights."""
        value, next_value = (np.asarray(critic(weights, x)) for x in (rollout.obs, rollout.next_obs))
        if recompute == "minibatch":  # what would have followed a time limit keeps its old value
            within = truncated & (np.arange(1, 41)[:, None] % length != 0)
            next_value = np.where(within, critic(before.params, rollout.next_obs), next_value)
        advantage, trace = np.zeros_like(value), np.zeros(3)
        for i in reversed(range(40)):
            delta = rollout.reward[i] + 0.99 * np.where(terminated[i], 0, next_value[i]) - value[i]
            cut = terminated[i] | truncated[i] | ((i + 1) % length == 0)
            trace = delta + np.where(cut, 0, 0.99 * 0.3) * trace
            advantage[i] = trace
        return jnp.asarray(advantage.reshape(120)), jnp.asarray((advantage + value).reshape(120))

    samples = (rollout.obs, rollout.action, rollout.extras, model.critic(before.params, rollout.obs))
    obs, action, old_log_prob, value = (jnp.asarray(x).reshape(120, *x.shape[2:]) for x in samples)
    # Of each row of the learner's batch, a step or a stretch of steps, the places in `[T * B]`.
    cut = np.arange(120).reshape(40 // length, length, 3)
    places = cut.transpose(0, 2, 1).reshape(-1, length)
    if recompute != "minibatch":
        places = cut.transpose(1, 0, 2).reshape(120, 1)

    def loss(weights, rows, advantage, target):
        distribution, v = model.actor(weights, obs[rows]), model.critic(weights, obs[rows])
        a = (advantage[rows] - advantage[rows].mean()) / (advantage[rows].std() + 1e-8)
        ratio = jnp.exp(distribution.log_prob(action[rows]) - old_log_prob[rows])
        gain = jnp.minimum(ratio * a, jnp.clip(ratio, 0.8, 1.2) * a).mean()
        near = value[rows] + jnp.clip(v - value[rows], -0.2, 0.2) if clip_value else v
        error = jnp.maximum((v - target[rows]) ** 2, (near - target[rows]) ** 2).mean()
        return -gain + 0.5 * 0.5 * error - 0.01 * distribution.entropy().mean()

    gradient = jax.jit(jax.grad(loss))
    weights, structure = jax.tree.flatten(before.params)
    weights = [np.asarray(w, np.float64) for w in weights]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    rate, count, explained = 1e-3 * (1 - 3 * 120 / 1200), 0, []
    for key in jax.random.split(key_update, 2):
        for number, rows in enumerate(places[ops.permutation(key, len(places))].reshape(2, 60)):
            tree = jax.tree.unflatten(structure, [jnp.asarray(w, jnp.float32) for w in weights])
            if count == 0 or recompute == "minibatch" or (recompute == "epoch" and number == 0):
                assessed = assess(tree)
            if count == 0 or recompute == "minibatch":  # else of the whole rollout, before the first step
                seen = rows if recompute == "minibatch" else np.arange(120)
                target = assessed[1][seen]
                explained.append(1 - np.var(target - critic(tree, obs[seen])) / np.var(target))
            grads = [np.asarray(g, np.float64) for g in jax.tree.leaves(gradient(tree, rows, *assessed))]
            norm = np.sqrt(sum((g**2).sum() for g in grads))
            assert norm > 0.05
            count += 1
            for i, g in enumerate(grads):
                g = g * 0.05 / norm
                first[i] = 0.9 * first[i] + 0.1 * g
                second[i] = 0.999 * second[i] + 0.001 * g**2
                scale = np.sqrt(second[i] / (1 - 0.999**count)) + 1e-3
                weights[i] = weights[i] - rate * first[i] / (1 - 0.9**count) / scale
    for ours, loop in zip(jax.tree.leaves(after.params), weights, strict=True):
        np.testing.assert_allclose(ours, loop, atol=2e-6)
    moved = max(
        np.abs(np.asarray(a) - np.asarray(b)).max()
        for a, b in zip(jax.tree.leaves(before.params), weights, strict=True)
    )
    assert moved > 1e-4
    np.testing.assert_allclose(metrics["learning_rate"], rate, rtol=1e-5)
    np.testing.assert_allclose(metrics["explained_variance"], np.mean(explained), atol=1e-5)


def test_the_penalty_replaces_or_joins_the_clipping():
    """The loss of two samples far from their rollout's policy, by hand."""
    logits, old = np.array([[0.3, -0.2], [0.1, 0.4]]), np.array([-2.0, -0.1])
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    log_ratio = log_probs[[0, 1], [0, 1]] - old
    advantage = np.array([2.0, -1.0])
    fields = {"normalize_advantages": False, "entropy_coefficient": 0.0, "value_coefficient": 0.0}
    config = ppo.Config(**fields, clip_ratio=False, penalize_kl=True, kl_coefficient=0.7)
    model = ppo.make_model(Box(-1, 1, (1,)), Discrete(2), config)
    model = model._replace(
        actor=lambda params, x: _categorical(logits), critic=lambda params, x: jnp.zeros(2)
    )
    parts = (jnp.zeros((2, 1)), jnp.array([0, 1]), *map(jnp.float32, (old, [0, 0], advantage, [0, 0])))
    batch = ppo.Batch(*parts)
    kl = np.mean(np.expm1(log_ratio) - log_ratio)
    plain = -np.mean(np.exp(log_ratio) * advantage)
    np.testing.assert_allclose(ppo.loss(None, model, batch, config)[0], plain + 0.7 * kl, rtol=1e-5)
    clipped = -np.mean(
        np.minimum(np.exp(log_ratio) * advantage, np.clip(np.exp(log_ratio), 0.8, 1.2) * advantage)
    )
    both = ppo.loss(None, model, batch, replace(config, clip_ratio=True))[0]
    np.testing.assert_allclose(both, clipped + 0.7 * kl, rtol=1e-5)


def test_the_weight_of_the_penalty_stays_where_doubling_brings_it_back():
    """Halved for ever it was 0 after 127 iterations in which little changed, and 0 doubled is 0."""
    config, coefficient = ppo.Config(penalize_kl=True, target_kl=0.01), jnp.float32(1.0)
    for _ in range(200):
        coefficient = ppo._adapt_penalty(coefficient, jnp.float32(0.0), config)
    assert float(coefficient) == pytest.approx(1e-4)
    for _ in range(200):
        coefficient = ppo._adapt_penalty(coefficient, jnp.float32(1.0), config)
    assert float(coefficient) == pytest.approx(1e4)
    for begun, kl in ((1e-6, 0.0), (1e6, 1.0)):  # beyond a bound nothing is moved in the wrong direction
        assert float(ppo._adapt_penalty(jnp.float32(begun), jnp.float32(kl), config)) == pytest.approx(begun)
    with pytest.raises(ValueError, match="`kl_coefficient` must be greater than 0, got 0"):
        ppo.make(*envs.make("CartPole-v1"), ppo.Config(penalize_kl=True, kl_coefficient=0.0))


def test_penalty_and_learning_rate_adapt_to_the_divergence():
    """Too far an update doubles the penalty and slows down; too short a one does the opposite."""
    config = CONFIG.replace(
        penalize_kl=True,
        adapt_learning_rate=True,
        anneal_learning_rate=False,
        learning_rate=1e-3,
        kl_coefficient=2.0,
    )
    world = envs.make("CartPole-v1")

    @jax.jit
    def run(target_kl):
        algorithm = ppo.make(*world, config.replace(target_kl=target_kl))
        return algorithm.step(algorithm.init(jax.random.key(0)), jnp.int32(0))

    # 16 minibatches: the rate falls by 1.5 in each but the first, whose policy is still the rollout's.
    state, metrics = run(1e-9)
    assert float(metrics["kl"]) > 1.5e-9 and float(state.own.kl_coefficient) == 4.0
    np.testing.assert_allclose(state.own.learning_rate, 1e-5, rtol=1e-6)
    np.testing.assert_allclose(metrics["learning_rate"], state.own.learning_rate)
    state, metrics = run(10.0)
    assert float(metrics["kl"]) < 10.0 / 1.5 and float(state.own.kl_coefficient) == 1.0
    np.testing.assert_allclose(state.own.learning_rate, 1e-2, rtol=1e-6)


@pytest.mark.parametrize("rate", [1e-6, 1e-3, 0.05])
def test_the_adapted_rate_never_moves_in_the_wrong_direction(rate):
    """Also from beyond its bounds, where a rate may begin."""
    config = CONFIG.replace(target_kl=0.01)
    too_far, too_short = (
        float(ppo._adapt_rate(jnp.float32(rate), jnp.float32(kl), config)) for kl in (1, 1e-4)
    )
    assert too_far <= np.float32(rate) <= too_short
    if rate == 1e-3:
        np.testing.assert_allclose([too_far, too_short], [rate / 1.5, rate * 1.5], rtol=1e-6)


def test_a_time_limit_is_bootstrapped():
    """Reward 1 for ever, cut every two steps: V = 1 / (1 - gamma) = 2; were the cuts terminal, 1.25."""
    _, state, history = train(Target(Discrete(1)))
    model = ppo.make_model(Box(-1.0, 1.0, (1,)), Discrete(1), CONFIG)
    np.testing.assert_allclose(model.critic(_seed(state.params, 0), jnp.zeros(1)), 2.0, atol=0.05)
    np.testing.assert_allclose(history.episode_return, 2.0)
    np.testing.assert_allclose(history.episode_length, 2)


def _seed(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


@pytest.mark.parametrize(
    ("actions", "target"),
    [
        (Box(-1.0, 1.0, (2,)), (0.5, -0.25)),
        (Box(-2.0, 0.25, (1,)), (0.25,)),  # at a bound
        (MultiDiscrete((3, 4)), (2.0, 1.0)),
    ],
    ids=["box", "bound", "multidiscrete"],
)
def test_action_spaces_are_served(actions, target):
    """Greedy episodes of two steps with reward 1 each at the target."""
    _, _, history = train(Target(actions, target))
    assert history.episode_return.min() > 1.98


def test_settings_of_robotics_solve_a_box():
    """Squashed actions whose width depends on the state, a larger critic, scaled rewards, short segments."""
    config = CONFIG.replace(
        squash_actions=True,
        state_dependent_scale=True,
        normalize_rewards=True,
        normalize_observations=True,
        recompute_advantages="epoch",
        segment_length=4,
        critic_hidden_sizes=(32, 16),
        activation="silu",
    )
    _, _, history = train(Target(Box(-2.0, 1.0, (2,)), (0.5, -1.0)), config)
    # The width may shrink before the mean is there; the initial policy's return is -0.5.
    assert history.episode_return.min() > 1.8


def test_observation_spaces_are_served():
    observations = Dict(
        {"image": Box(0, 255, (6, 6, 2), jnp.uint8), "kind": Discrete(3), "place": MultiDiscrete((2, 2))}
    )
    _, state, _ = train(Target(Discrete(2), (1.0,), observations), num_steps=128, seeds=1)
    kernel = state.params["params"]["critic_torso"]
    shapes = {x.shape[1:] for x in jax.tree.leaves(kernel)}
    assert (6 * 6 * 2 + 3 + 4, 16) in shapes


def test_images_go_through_convolutions():
    observations = Box(False, True, (6, 6, 2), jnp.bool_)
    config = CONFIG.replace(channels=(4,), activation="relu")
    _, state, history = train(Target(Discrete(2), (1.0,), observations), config, num_steps=1280, seeds=1)
    assert any(x.ndim == 5 or x.shape[-1] == 4 for x in jax.tree.leaves(state.params))
    assert np.isfinite(history.metrics["value_loss"]).all()


def test_observations_are_normalized_by_what_was_seen():
    config = ppo.Config(num_envs=4, num_steps=32, hidden_sizes=(8,), normalize_observations=True)
    algorithm = ppo.make(*envs.make("CartPole-v1"), config)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    assert int(state.normalizer.count) == 0
    state, _ = jax.jit(algorithm.step)(state, jnp.int32(0))
    assert int(state.normalizer.count) == 128
    assert (np.asarray(state.normalizer.variance) > 0).all()
    # CartPole starts within 0.05 and its velocities grow to order 1 within an episode of random actions.
    assert 0.1 < np.sqrt(state.normalizer.variance[1]) < 2.0


def test_the_learning_rate_is_annealed_to_zero_and_not_below():
    algorithm = ppo.make(*envs.make("CartPole-v1"), CONFIG.replace(total_steps=512.0))
    state = jax.jit(algorithm.init)(jax.random.key(0))
    step = jax.jit(algorithm.step)
    rates = [float(step(state, jnp.int32(t))[1]["learning_rate"]) for t in (0, 1, 3, 4, 9)]
    np.testing.assert_allclose(rates, [1e-2, 0.75e-2, 0.25e-2, 0.0, 0.0], atol=1e-9)


def test_before_any_update_the_policy_is_the_rollouts():
    """With a learning rate of zero the ratio is 1, normalised or not: no divergence, nothing clipped."""
    config = CONFIG.replace(learning_rate=0.0, normalize_observations=True)
    algorithm = ppo.make(*envs.make("CartPole-v1"), config)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    step = jax.jit(algorithm.step)
    state, _ = step(state, jnp.int32(0))
    _, metrics = step(state, jnp.int32(1))
    assert abs(float(metrics["approximate_kl"])) < 1e-6 and float(metrics["clip_fraction"]) == 0.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_minibatches": 7}, "`num_minibatches` must divide num_envs . num_steps = 512, got 7; try 4"),
        ({"num_envs": 0}, "`num_envs` must be at least 1, got 0"),
        ({"num_steps": 12.5}, "`num_steps` must be an integer, got 12.5"),
        ({"gamma": 1.01}, "`gamma` must be at least 0 and at most 1, got 1.01"),
        ({"learning_rate": "fast"}, "`learning_rate` must be a number, got 'fast'"),
        ({"clip_epsilon": 0.0}, "`clip_epsilon` must be greater than 0, got 0.0"),
        ({"entropy_coefficient": float("inf")}, "`entropy_coefficient` must be finite, got inf"),
        ({"hidden_sizes": (0,)}, "`hidden_sizes` must be a tuple of integers of at least 1, got .0,."),
        ({"hidden_sizes": 8}, "`hidden_sizes` must be a tuple of integers"),
        ({"learning_rate": 1j}, "`learning_rate` must be a real number, got 1j"),
        ({"anneal_learning_rate": "false"}, "`anneal_learning_rate` must be True or False, got 'false'"),
        ({"activation": "tanhh"}, "`activation` must be one of .*'tanh'.*, got 'tanhh'"),
    ],
)
def test_bad_hyperparameters_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        ppo.make(*envs.make("CartPole-v1"), replace(ppo.Config(), **fields))


def test_action_spaces_it_cannot_serve_are_refused():
    with pytest.raises(ValueError, match="`space` must be a Discrete, a MultiDiscrete or a float Box"):
        ppo.make(Target(Box(0, 3, (1,), jnp.int32)), jnp.float32(2.0), CONFIG)
