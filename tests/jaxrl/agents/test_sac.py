"""SAC: its losses against NumPy, its loop, and what one diverged seed leaves of the others."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import envs
from jaxrl.agents import discrete_sac, sac
from jaxrl.agents.off_policy import Batch, Weights
from jaxrl.agents.replay_actor_critic import Critics, Networks
from jaxrl.distributions import TanhGaussian
from jaxrl.train import run_interval

SMALL = {"num_envs": 4, "hidden_sizes": (8,), "batch_size": 8, "buffer_size": 80, "learning_starts": 20}
CENTERS = jnp.array([[0.5, -0.5], [0.0, 0.3], [-0.2, 0.1]])


def quadratic(params, x, action):
    """Return -|action - center_n|^2 times a factor, and x_0 on top: three critics that are known."""
    distance = jnp.sum(jnp.square(action[None] - CENTERS[:, None]), axis=-1)
    return x[None, :, 0] - params * distance


MODEL = sac.Model(
    actor=lambda params, x: TanhGaussian(params["mean"][None] + 0.0 * x[:, :1], params["log_std"]),
    critics=Critics(init=None, values=quadratic, dead_units=None),  # type: ignore[arg-type]
)
ACTOR = {"mean": jnp.array([0.3, -1.0]), "log_std": jnp.array([-0.5, 0.2])}
NETWORKS = Networks(actor=ACTOR, critic=jnp.float32(2.0), log_temperature=jnp.log(jnp.float32(0.4)))
BATCH = Batch(
    x=jnp.linspace(-1.0, 1.0, 8).reshape(4, 2),
    action=jnp.zeros((4, 2)),
    reward=jnp.array([1.0, -1.0, 0.5, 2.0]),
    discount=jnp.array([0.9, 0.9, 0.0, 0.81]),
    next_x=jnp.linspace(2.0, 3.0, 8).reshape(4, 2),
    weight=jnp.ones(4),
)


def draws(key, x):
    """Return the actions that a key draws, and their log-densities in float64 by the change of variables."""
    action, _ = sac.draw(MODEL.actor(ACTOR, x), key)
    a = np.asarray(action, np.float64)
    u, std = np.arctanh(a), np.exp(np.asarray(ACTOR["log_std"], np.float64))
    z = (u - np.asarray(ACTOR["mean"], np.float64)) / std
    log_normal = -0.5 * z**2 - np.log(std) - 0.5 * np.log(2 * np.pi)
    return a, (log_normal - np.log(1 - a**2)).sum(axis=1)


def critic_values(factor, x, action):
    distance = ((action[None] - np.asarray(CENTERS)[:, None]) ** 2).sum(axis=-1)
    return np.asarray(x)[None, :, 0] - factor * distance


def test_targets_against_numpy():
    config = sac.Config(num_critics=3, num_target_critics=3)
    key = jax.random.key(1)
    target, entropy = sac.critic_target(NETWORKS, jnp.float32(5.0), MODEL, BATCH, key, config)
    action, log_prob = draws(jax.random.split(key)[0], BATCH.next_x)
    value = critic_values(5.0, BATCH.next_x, action).min(axis=0) - 0.4 * log_prob
    np.testing.assert_allclose(target, BATCH.reward + BATCH.discount * value, rtol=1e-4)
    np.testing.assert_allclose(entropy, -log_prob, rtol=1e-4)


def test_the_actors_loss_against_numpy():
    key = jax.random.key(2)
    action, log_prob = draws(key, BATCH.x)
    q = critic_values(2.0, BATCH.x, action)
    for pessimistic, value in ((True, q.min(axis=0)), (False, q.mean(axis=0))):
        config = sac.Config(pessimistic_actor=pessimistic)
        loss, entropy = sac.actor_loss(ACTOR, NETWORKS, MODEL, BATCH.x, key, config)
        np.testing.assert_allclose(loss, np.mean(0.4 * log_prob - value), rtol=1e-4)
        np.testing.assert_allclose(entropy, -log_prob, rtol=1e-4)
    slope = jax.grad(lambda actor: sac.actor_loss(actor, NETWORKS, MODEL, BATCH.x, key, config)[0])(ACTOR)
    step = 1e-3
    for name in ACTOR:
        for i in range(2):
            up, down = (ACTOR | {name: ACTOR[name].at[i].add(sign * step)} for sign in (1, -1))
            rise = [float(sac.actor_loss(a, NETWORKS, MODEL, BATCH.x, key, config)[0]) for a in (up, down)]
            assert float(slope[name][i]) == pytest.approx((rise[0] - rise[1]) / (2 * step), abs=5e-3)


def test_losses_over_discrete_actions_against_numpy():
    rng = np.random.default_rng(0)
    logits, table = rng.normal(size=(4, 3)), rng.normal(size=(2, 4, 3))
    model = discrete_sac.Model(
        actor=lambda params, x: params,
        critics=Critics(init=None, values=lambda params, x: params, dead_units=None),  # type: ignore[arg-type]
    )
    logits32, table32 = jnp.asarray(logits, jnp.float32), jnp.asarray(table, jnp.float32)
    networks = Networks(logits32, table32, jnp.log(jnp.float32(0.4)))
    config = discrete_sac.Config()
    pi = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    entropy = -(pi * np.log(pi)).sum(axis=1)
    value = (pi * table.min(axis=0)).sum(axis=1) + 0.4 * entropy
    target, found = discrete_sac.critic_target(networks, table32, model, BATCH, jax.random.key(0), config)
    np.testing.assert_allclose(target, BATCH.reward + BATCH.discount * value, rtol=1e-5)
    np.testing.assert_allclose(found, entropy, rtol=1e-5)
    loss, found = discrete_sac.actor_loss(logits32, networks, model, BATCH.x, config)
    np.testing.assert_allclose(loss, -value.mean(), rtol=1e-5)
    np.testing.assert_allclose(found, entropy, rtol=1e-5)
    batch = BATCH.replace(action=jnp.array([0, 2, 1, 1]))
    loss, errors = discrete_sac.critic_loss(table32, model.critics, batch, jnp.arange(4.0))
    error = np.arange(4.0) - table[:, np.arange(4), [0, 2, 1, 1]]
    np.testing.assert_allclose(loss, (error**2).mean(axis=1).sum(), rtol=1e-5)
    np.testing.assert_allclose(errors, error.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize(("entropy", "rises"), [(-3.0, True), (1.0, False)])
def test_an_update_moves_each_part_by_its_own_loss(entropy, rises):
    """Losses that are known: the critic at 5 is pulled to 1, the actor at 3 to 0, twice every second step."""
    losses = sac.Losses(
        target=lambda networks, target_critic, batch, key: (jnp.ones(4), jnp.full(4, 7.0)),
        critic=lambda critic, batch, target: (jnp.mean(jnp.square(critic - target)), target - critic),
        actor=lambda actor, networks, x, key: (
            jnp.square(actor) + 0.0 * networks.critic,
            jnp.full(4, entropy),
        ),
    )
    config = sac.Config(learning_rate=0.1, critic_learning_rate=0.01, policy_delay=2)
    optimizer = optax.scale_by_adam()
    networks = Networks(jnp.float32(3.0), jnp.float32(5.0), jnp.float32(0.0))
    opt_state = Networks(*(optimizer.init(x) for x in (networks.actor, networks.critic, jnp.float32(0))))
    weights = Weights(networks, jnp.float32(0.0), opt_state)
    update = sac.make_update(losses, optimizer, -1.0, config)
    after, errors, metrics = update(weights, BATCH, jax.random.key(0), jnp.int32(4))
    # Adam's first steps have the size of the learning rate.
    assert float(after.params.critic) == pytest.approx(4.99, abs=1e-4)
    assert float(after.params.actor) == pytest.approx(2.8, abs=1e-3)
    assert float(after.params.log_temperature) == pytest.approx(0.02 if rises else -0.02, abs=1e-4)
    assert [int(after.opt_state.actor.count), int(after.opt_state.critic.count)] == [2, 1]
    np.testing.assert_allclose(errors, -4.0, rtol=1e-6)
    assert float(metrics["entropy"]) == 7 and float(metrics["temperature"]) == 1
    later, *_ = update(after, BATCH, jax.random.key(0), jnp.int32(5))
    assert float(later.params.actor) == float(after.params.actor)
    assert float(later.params.log_temperature) == float(after.params.log_temperature)
    assert float(later.params.critic) < float(after.params.critic)
    fixed, *_ = sac.make_update(losses, optimizer, -1.0, config.replace(learn_temperature=False))(
        weights, BATCH, jax.random.key(0), jnp.int32(4)
    )
    assert float(fixed.params.log_temperature) == 0
    # Learning begins with 5,000 steps: after 5,000 gradient steps, one a step, half of the way is done.
    annealed = config.replace(anneal_learning_rate=True, total_steps=20_000.0, learning_starts=5_001)
    slower, *_ = sac.make_update(losses, optimizer, -1.0, annealed)(
        weights, BATCH, jax.random.key(0), jnp.int32(5_000)
    )
    for name in ("actor", "critic", "log_temperature"):
        start, fast, slow = (float(getattr(x.params, name)) for x in (weights, after, slower))
        assert slow - start == pytest.approx((fast - start) / 2, rel=1e-2)


@pytest.fixture(scope="module")
def learner():
    """Return SAC with every option that changes the loop, and `run_interval` over seeds, compiled."""
    config = sac.Config(
        **SMALL, num_critics=3, layer_norm=True, normalize_observations=True, num_updates=2, polyak_tau=0.25
    )
    algorithm = sac.make(*envs.make("Pendulum-v1"), config)
    states = jax.jit(jax.vmap(algorithm.init))(jax.vmap(jax.random.key)(jnp.arange(3)))
    run = jax.jit(
        jax.vmap(
            lambda state, start, stop: run_interval(algorithm, state, start, stop), in_axes=(0, None, None)
        )
    )
    return algorithm, states, run


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def remembered(states):
    """Return the steps in the replay of each seed, leaves `[S, R, N, ...]`."""
    return jax.vmap(lambda state: state.ring.steps)(states)


def test_actions_are_random_and_nothing_is_learned_before_learning_starts(learner):
    """20 steps of 4 environments are 5 iterations: the first update ends the fifth."""
    _, states, run = learner
    before, metrics = run(states, 0, 4)
    assert equal(before.params, states.params) and np.all(metrics["loss"] == 0)
    after, metrics = run(before, 4, 5)
    assert not equal(after.params, states.params) and np.all(metrics["loss"] > 0)
    # The network's mean is near 0 and its deviation 0.2: only uniform draws reach all of [-2, 2].
    drawn = np.asarray(remembered(after).action)[:, :5]
    assert drawn.min() < -1.6 and drawn.max() > 1.6 and np.abs(drawn.mean()) < 0.6


def test_target_critics_follow_and_statistics_are_those_of_what_was_seen(learner):
    _, states, run = learner
    before, _ = run(states, 0, 5)
    after, metrics = run(before, 5, 6)
    # Two updates with tau = 1/4 keep 9/16 of the old target; the rest lies between the critics on the way.
    moved = jax.tree.map(lambda old, new: jnp.abs(new - old).max(), before.target_params, after.target_params)
    assert all(float(x) > 0 for x in jax.tree.leaves(moved))
    assert np.all(metrics["target_gap"] > 0)
    seen = np.asarray(remembered(after).obs)[:, :6].reshape(3, -1, 3)
    np.testing.assert_allclose(after.statistics.mean, seen.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(after.statistics.variance, seen.var(axis=1), atol=1e-4)


def test_health_is_reported(learner):
    _, states, run = learner
    _, metrics = run(states, 0, 40)
    assert all(np.all(np.isfinite(x)) for name, x in metrics.items() if not name.startswith("episode_"))
    assert {"q_mean", "td_error", "grad_norm", "target_gap", "temperature", "entropy"} <= set(metrics)
    assert np.all(metrics["q_max"] >= metrics["q_mean"])
    assert np.all((metrics["dead_units"] >= 0) & (metrics["dead_units"] < 1))


def test_a_diverged_seed_leaves_the_others_alone(learner):
    _, states, run = learner
    ill = states.replace(params=jax.tree.map(lambda x: x.at[1].set(jnp.nan), states.params))
    healthy, _ = run(states, 0, 12)
    mixed, metrics = run(ill, 0, 12)
    take = [0, 2]
    assert equal(*(jax.tree.map(lambda x: x[jnp.array(take)], s.params) for s in (healthy, mixed)))
    assert np.isnan(metrics["loss"][1]) and np.all(np.isfinite(np.asarray(metrics["loss"])[take]))
