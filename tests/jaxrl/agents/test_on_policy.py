"""What on-policy learners share: memory, masks, privileged critics, segments, scales and schedules."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import envs
from envs.core import Step
from envs.spaces import Box, Dict, Discrete, MultiDiscrete
from jaxrl import normalize
from jaxrl.agents import a2c, on_policy, ppo, trpo
from jaxrl.agents.actor_critic import make_encoder, make_model
from jaxrl.train import run_interval


@struct.dataclass
class Coin:
    """Which half of the actions is allowed."""

    side: jax.Array


@dataclass(frozen=True)
class Gate:
    """Episodes of one step: 1 for the best allowed action, less for others, and what is allowed is drawn.

    Only the mask tells what is allowed; a forbidden action would pay most. The critic may see the coin.
    """

    actions: Any
    privileged: bool = False
    id: str = "Gate"

    def default_params(self):
        return jnp.float32(0.0)

    def masks(self):
        """Allowed by side 0 and by side 1; the entry of a `MultiDiscrete` that is left is the first."""
        if isinstance(self.actions, Discrete):
            return jnp.array([[True, True, False, False], [False, True, True, False]])
        return jnp.array([[True, False, True, True, False], [True, True, False, True, False]])

    def observe(self, side):
        obs = {"obs": jnp.zeros(2), "action_mask": self.masks()[side]}
        return obs | ({"privileged": side} if self.privileged else {})

    def observation_space(self, params):
        mask = Box(False, True, self.masks().shape[1:], jnp.bool_)
        spaces = {"obs": Box(-1.0, 1.0, (2,)), "action_mask": mask}
        return Dict(spaces | ({"privileged": Discrete(2)} if self.privileged else {}))

    def action_space(self, params):
        return self.actions

    def reset(self, key, params):
        side = jax.random.bernoulli(key).astype(jnp.int32)
        return Coin(side), self.observe(side)

    def step(self, key, state, action, params):
        reward = jnp.sum(action) / 2.0  # the largest sum of all is forbidden
        step = Step(self.observe(state.side), reward, jnp.ones((), bool), jnp.zeros((), bool))
        return state, step

    def time_limit(self, params):
        return jnp.int32(1)


GATE_CONFIG = {
    "num_envs": 8,
    "num_steps": 16,
    "hidden_sizes": (8,),
    "learning_rate": 1e-2,
    "entropy_coefficient": 0.0,
    "total_steps": 12_800.0,
}


@pytest.mark.parametrize("actions", [Discrete(4), MultiDiscrete((2, 3))], ids=["discrete", "multidiscrete"])
def test_masks_are_obeyed_while_learning_and_after(actions):
    """The best allowed action is found, no forbidden one is ever drawn, and only the critic sees the coin."""
    env = Gate(actions, privileged=True)
    params = env.default_params()
    config = ppo.Config(**GATE_CONFIG, clip_value=False)
    algorithm = ppo.make(env, params, config)
    learner = on_policy.make(env, params, config)

    @jax.jit
    def run(key):
        before = algorithm.init(key)
        state, _ = run_interval(algorithm, before, 0, 100)
        rollouts = [learner.collect(key, s)[1] for s in (before, state)]
        policy = algorithm.policy(state)
        greedy = [policy.act(env.observe(jnp.int32(i)), (), key)[0] for i in range(2)]
        worth = [policy.value(env.observe(jnp.int32(i)), ()) for i in range(2)]
        return rollouts, jnp.stack(greedy), jnp.stack(worth)

    rollouts, greedy, worth = jax.vmap(run)(jax.random.split(jax.random.key(0), 4))
    expected = [[1], [2]] if isinstance(actions, Discrete) else [[0, 1], [1, 1]]
    np.testing.assert_array_equal(
        greedy.reshape(4, 2, -1), np.broadcast_to(expected, (4, 2, len(expected[0])))
    )
    # The optimum is 1/2 and 1; nobody could tell them apart without the coin.
    np.testing.assert_allclose(worth, np.broadcast_to([0.5, 1.0], (4, 2)), atol=0.05)
    nvec = [4] if isinstance(actions, Discrete) else [2, 3]
    for rollout in rollouts:
        action = np.asarray(rollout.action).reshape(-1, len(nvec))
        mask = np.asarray(rollout.x.mask).reshape(len(action), -1)
        for i, start in enumerate(np.append(0, np.cumsum(nvec)[:-1])):
            assert mask[np.arange(len(action)), start + action[:, i]].all()
        assert np.isfinite(rollout.log_prob).all()


def test_only_the_critic_sees_what_is_privileged():
    space = Dict({"obs": Box(-1.0, 1.0, (3,)), "privileged": Box(-1.0, 1.0, (2,))})
    encoder = make_encoder(space)
    x, mask = encoder.encode({"obs": jnp.arange(3.0), "privileged": jnp.array([5.0, 6.0])})
    assert x.tolist() == [0.0, 1.0, 2.0, 5.0, 6.0] and mask is None
    model = make_model(space, Discrete(2), ppo.Config(hidden_sizes=(4,), critic_hidden_sizes=(6, 5)))
    params = jax.jit(model.init)(jax.random.key(0))
    shapes = {name: part["Dense_0"]["kernel"].shape for name, part in params["params"].items()}
    assert shapes["actor_torso"] == (3, 4) and shapes["critic_torso"] == (5, 6)
    assert shapes["critic_head"] == (5, 1)
    by_actor = jax.grad(lambda x: model.actor(params, x).log_prob(jnp.int32(0)))(x)
    by_critic = jax.grad(lambda x: model.critic(params, x))(x)
    assert by_actor[:3].any() and not by_actor[3:].any() and by_critic[3:].all()


@pytest.mark.parametrize(
    ("obs_space", "action_space", "fields", "message"),
    [
        (Dict({"action_mask": Box(0, 1, (2,), bool)}), Discrete(2), {}, "`obs_space` must hold something"),
        (
            Dict({"obs": Box(0, 1, (2,)), "action_mask": Box(0, 1, (3,), bool)}),
            Discrete(2),
            {},
            "'action_mask' must be a Box of 2 bools",
        ),
        (
            Dict({"obs": Box(0, 1, (2,)), "action_mask": Box(0, 1, (2,))}),
            Discrete(2),
            {},
            "'action_mask' must be a Box of 2 bools",
        ),
        (
            Dict({"obs": Box(0, 1, (2,)), "action_mask": Box(0, 1, (1,), bool)}),
            Box(-1, 1, (1,)),
            {},
            "'action_mask' cannot be observed where actions are a Box",
        ),
        (
            Dict({"obs": Box(0, 1, (9, 9, 1)), "privileged": Box(0, 1, (2,))}),
            Discrete(2),
            {"channels": (4,)},
            "`channels` must be empty where observations hold 'privileged'",
        ),
        (
            Box(-1.0, 1.0, (2,)),
            Box(-np.inf, np.inf, (1,)),
            {"squash_actions": True},
            "must have finite bounds",
        ),
    ],
)
def test_spaces_that_do_not_fit_are_named(obs_space, action_space, fields, message):
    with pytest.raises(ValueError, match=message):
        make_model(obs_space, action_space, ppo.Config(**fields))


def test_an_image_can_be_masked():
    space = Dict({"obs": Box(0, 1, (6, 6, 2)), "action_mask": Box(0, 1, (3,), bool)})
    encoder = make_encoder(space, channels=(4,))
    x, mask = encoder.encode({"obs": jnp.ones((5, 6, 6, 2)), "action_mask": jnp.ones((5, 3), bool)})
    assert x.shape == (5, 6, 6, 2) and mask.shape == (5, 3) and encoder.shape == (6, 6, 2)


def rough(params, seed=7):
    """Return parameters whose outputs differ from state to state."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    return jax.tree.unflatten(structure, [x + 0.5 * jax.random.normal(k, x.shape) for x, k in pairs])


RECURRENT = ppo.Config(
    num_envs=4,
    num_steps=16,
    segment_length=8,
    num_minibatches=2,
    num_epochs=1,
    memory="lstm",
    memory_size=8,
    hidden_sizes=(8,),
    learning_rate=0.0,
)


@pytest.fixture(scope="module", params=["gru", "lstm"])
def remembered(request):
    """A learner with a memory in the middle of episodes that end both ways, and its next rollout."""
    config = RECURRENT.replace(memory=request.param)
    env, params = envs.make("MaskedCartPole-v1")
    params = params.replace(max_steps=jnp.int32(9), angle_limit=jnp.float32(0.09))
    learner = on_policy.make(env, params, config)

    @jax.jit
    def run(key):
        keys = jax.random.split(key, 3)
        state = learner.init(keys[0], lambda params: ())
        state = state.replace(params=rough(state.params))
        middle, _ = learner.collect(keys[1], state)
        after, rollout = learner.collect(keys[2], middle)
        return middle, after, rollout, learner.values(middle.params, rollout)

    state, after, rollout, values = run(jax.random.key(3))
    assert rollout.terminated.any() and rollout.truncated.any()
    return config, (env, params), learner, state, after, rollout, values


def test_the_first_ratio_of_a_policy_with_a_memory_is_one(remembered):
    """Stretches that begin and end in the middle of episodes give the probabilities of the rollout."""
    _, _, learner, state, _, rollout, _ = remembered

    @jax.jit
    def log_ratio(x):
        log_prob = learner.model.actor(state.params, x).log_prob(learner.rows(rollout.action))
        return log_prob - learner.rows(rollout.log_prob)

    assert rollout.x.x.shape == (8, 8, 2) and rollout.reward.shape == (8, 8)
    np.testing.assert_allclose(log_ratio(rollout.x), 0.0, atol=5e-7)
    # What the test would not forgive: no reset, a reset one step late, a stretch begun with another memory.
    x = rollout.x
    late = jnp.roll(x.first, 1, axis=1)
    for wrong in (
        x.replace(first=jnp.zeros_like(x.first)),
        x.replace(first=late),
        x.replace(memory=jax.tree.map(jnp.zeros_like, x.memory)),
    ):
        assert np.abs(log_ratio(wrong)).max() > 1e-2


def test_values_of_other_parameters_remember_with_their_own_memory(remembered):
    """The critic of parameters that did not act has a memory of its own: V(s') is V of the next state."""
    _, _, learner, state, _, rollout, _ = remembered
    newer = rough(state.params, 1)
    value, next_value = jax.jit(learner.values)(newer, rollout)
    going = ~np.asarray(rollout.terminated | rollout.truncated)[:-1]
    np.testing.assert_array_equal(np.asarray(next_value)[:-1][going], np.asarray(value)[1:][going])
    stale = jax.jit(learner.model.value_after)(newer, rollout.memory_after, rollout.next_x)
    assert np.abs(np.asarray(stale - next_value)[:-1][going]).max() > 1e-2


def test_values_with_a_memory_equal_a_walk_step_by_step(remembered):
    """Also where the clock ended an episode: by the memory of that episode, not a cleared one.

    Nothing follows the end of the process, and no value of it is computed.
    """
    _, _, learner, state, after, rollout, (value, next_value) = remembered
    model, (steps, rows) = learner.model, rollout.reward.shape
    _, differentiable = learner.values(state.params, rollout, differentiable=True)
    x = rollout.x
    act, value_after = jax.jit(model.act), jax.jit(model.value_after)
    cleared = model.initial_memory((rows,))
    memory = x.memory
    for t in range(steps):
        clear = np.asarray(x.first[:, t])[:, None]
        memory = jax.tree.map(lambda zero, m, clear=clear: jnp.where(clear, zero, m), cleared, memory)
        np.testing.assert_allclose(value[t], value_after(state.params, memory, x.x[:, t]), atol=1e-5)
        memory, _ = act(state.params, memory, x.x[:, t])
        following = value_after(state.params, memory, rollout.next_x[t])
        counts = ~np.asarray(rollout.terminated[t])
        np.testing.assert_allclose(next_value[t][counts], following[counts], atol=1e-5)
        np.testing.assert_allclose(differentiable[t][counts], following[counts], atol=1e-5)
        forgotten = value_after(state.params, cleared, rollout.next_x[t])
        done = np.asarray(rollout.terminated[t] | rollout.truncated[t])
        assert (np.abs(following - forgotten)[done] > 1e-4).all()
    # The last segments end with the rollout: the state goes on with that memory, cleared where it ended.
    last = np.arange(rows // 2, rows)
    ended = done[last][:, None]
    for left, right in zip(jax.tree.leaves(after.memory), jax.tree.leaves(memory), strict=True):
        np.testing.assert_allclose(left, np.where(ended, 0.0, right[last]), atol=1e-6)


def test_minibatches_of_stretches_leave_the_first_epochs_ratio_at_one(remembered):
    """The whole step of PPO, with a learning rate of zero: no divergence in any minibatch."""
    config, world, _, state, _, _, _ = remembered
    algorithm = ppo.make(*world, config)
    begun = jax.jit(algorithm.init)(jax.random.key(0))
    state = begun.replace(params=state.params, memory=state.memory)
    after, metrics = jax.jit(algorithm.step)(state, jnp.int32(0))
    assert abs(float(metrics["approximate_kl"])) < 1e-7 and float(metrics["clip_fraction"]) == 0.0
    assert float(metrics["grad_norm"]) > 0
    after, metrics = jax.jit(algorithm.step)(after, jnp.int32(1))
    assert abs(float(metrics["approximate_kl"])) < 1e-7


def test_the_policy_remembers_from_step_to_step(remembered):
    config, world, _, state, _, _, _ = remembered
    policy = ppo.make(*world, config).policy(state)
    obs = jnp.array([0.3, -0.1])
    start = policy.init()
    _, memory = policy.act(obs, start, jax.random.key(0))
    assert jax.tree.structure(memory) == jax.tree.structure(start)
    assert all(np.abs(m).max() > 0 for m in jax.tree.leaves(memory))
    assert policy.value(obs, start) != policy.value(obs, memory)


def test_segments_are_cut_and_bootstrapped():
    """Advantages of two halves are those of rollouts of half the length."""
    env, params = envs.make("CartPole-v1")
    params = params.replace(max_steps=jnp.int32(9))
    config = a2c.Config(num_envs=3, num_steps=12, hidden_sizes=(8,))

    @jax.jit
    def run(key):
        results = []
        for length in (None, 6):
            learner = on_policy.make(env, params, config.replace(segment_length=length))
            state = learner.init(key, lambda params: ())
            _, rollout = learner.collect(key, state)
            value, next_value = learner.values(state.params, rollout)
            advantage, _ = on_policy.advantages(rollout, value, next_value, 0.9, 0.8)
            results.append((rollout, value, next_value, advantage))
        return results

    (whole, value, next_value, _), (cut, _, _, advantage) = run(jax.random.key(1))
    assert cut.reward.shape == (6, 6)
    whole, value, next_value = jax.tree.map(np.asarray, (whole, value, next_value))
    for half in range(2):
        part = jax.tree.map(lambda x, h=half: x[6 * h : 6 * h + 6], (whole.terminated, whole.truncated))
        rows = slice(6 * half, 6 * half + 6)
        for env_index in range(3):
            trace = 0.0
            for t in reversed(range(6)):
                ended, cut_off = part[0][t, env_index], part[1][t, env_index]
                bootstrap = 0.0 if ended else next_value[rows][t, env_index]
                delta = whole.reward[rows][t, env_index] + 0.9 * bootstrap - value[rows][t, env_index]
                trace = delta + (0.0 if ended or cut_off else 0.72) * trace
                np.testing.assert_allclose(advantage[t, 3 * half + env_index], trace, rtol=1e-4, atol=1e-5)


def test_rewards_are_scaled_and_their_values_scaled_back():
    env, params = envs.make("Pendulum-v1")
    config = a2c.Config(num_envs=4, num_steps=8, hidden_sizes=(8,))
    fields = ({}, {"reward_scale": 0.1}, {"normalize_rewards": True, "reward_scale": 3.0})

    @jax.jit
    def run(key):
        results = []
        for field in fields:
            learner = on_policy.make(env, params, config.replace(**field))
            state, rollout = learner.collect(key, learner.init(key, lambda params: ()))
            algorithm = a2c.make(env, params, config.replace(**field))
            worth = algorithm.policy(state).value(state.obs[0], ())
            results.append((state, rollout.reward, worth))
        return results

    (_, plain, value), (_, tenth, tenfold), (state, scaled, restored) = run(jax.random.key(0))
    np.testing.assert_allclose(tenth, 0.1 * plain, rtol=1e-6)
    np.testing.assert_allclose(tenfold, 10 * value, rtol=1e-5)
    sums, totals = np.zeros(4), []
    for reward in np.asarray(plain, np.float64):
        sums = 0.99 * sums + reward
        totals.append(sums)
    deviation = np.std(totals)
    np.testing.assert_allclose(scaled, 3.0 * plain / deviation, rtol=1e-4)
    np.testing.assert_allclose(restored, value * deviation / 3.0, rtol=1e-4)
    np.testing.assert_allclose(state.rewards.running, sums, rtol=1e-4)


def test_schedules_warm_up_anneal_and_shift_the_entropy_bonus():
    config = ppo.Config(
        learning_rate=1.0,
        total_steps=1000.0,
        warmup_steps=400.0,
        num_envs=4,
        num_steps=25,
        entropy_coefficient=0.1,
        entropy_coefficient_end=0.02,
    )
    learner = on_policy.make(*envs.make("CartPole-v1"), config)
    rates = [float(learner.learning_rate(jnp.int32(t), 1.0)) for t in (0, 1, 3, 5, 9, 12)]
    np.testing.assert_allclose(rates, [0.25, 0.9 * 0.5, 0.7, 0.5, 0.1, 0.0], atol=1e-6)
    bonus = [float(learner.entropy_coefficient(jnp.int32(t))) for t in (0, 5, 10, 20)]
    np.testing.assert_allclose(bonus, [0.1, 0.06, 0.02, 0.02], atol=1e-7)


@pytest.mark.parametrize(
    ("module", "fields", "message"),
    [
        (ppo, {"segment_length": 48}, "`segment_length` must divide num_steps = 128, got 48; try 32"),
        (ppo, {"segment_length": 16.0}, r"`segment_length` must be int \| None, got 16.0"),
        (ppo, {"segment_length": "16"}, r"`segment_length` must be int \| None, got '16'"),
        (ppo, {"axis_name": 5}, r"`axis_name` must be str \| None, got 5"),
        (ppo, {"normalize_own_rollout": True}, "`normalize_own_rollout` must be False without normalize_obs"),
        (ppo, {"memory": "rnn"}, "`memory` must be one of 'none', 'gru', 'lstm', got 'rnn'"),
        (
            ppo,
            {"memory": "gru", "num_minibatches": 8},
            r"`num_minibatches` must divide the number of stretches of 128 steps = 4, got 8; try 4",
        ),
        (trpo, {"num_minibatches": 7}, r"`num_minibatches` must divide num_envs . num_steps = 2048, got 7"),
        (ppo, {"warmup_steps": -1.0}, "`warmup_steps` must be at least 0, got -1"),
        (ppo, {"entropy_coefficient_end": float("nan")}, "`entropy_coefficient_end` must be finite, got nan"),
    ],
)
def test_bad_hyperparameters_are_named(module, fields, message):
    with pytest.raises(ValueError, match=message):
        module.make(*envs.make("CartPole-v1"), module.Config(**fields))


def test_an_update_may_count_its_own_rollout_in_the_statistics():
    """As Brax does; by default it does not, and then the ratios of the first pass are one."""
    world = envs.make("Pendulum-v1")
    config = ppo.Config(num_envs=4, num_steps=8, hidden_sizes=(8,), normalize_observations=True)
    for own in (False, True):
        learner = on_policy.make(*world, config.replace(normalize_own_rollout=own))

        @jax.jit
        def run(key, learner=learner):
            state = learner.init(key, lambda params: ())
            state, _ = learner.collect(key, state.replace(params=rough(state.params)))
            after, rollout = learner.collect(key, state)
            log_prob = learner.model.actor(state.params, rollout.x).log_prob(learner.rows(rollout.action))
            return state, after, rollout, log_prob - learner.rows(rollout.log_prob)

        state, after, rollout, log_ratio = run(jax.random.key(0))
        used = after.normalizer if own else state.normalizer
        first = normalize.normalize(used, state.obs)  # what the rollout began with
        np.testing.assert_allclose(rollout.x[:4], first, atol=1e-5)
        assert (np.abs(log_ratio).max() > 1e-2) == own
        assert int(after.normalizer.count) == 64
