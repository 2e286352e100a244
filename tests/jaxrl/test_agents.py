"""What every algorithm must do, as tables over `jaxrl.algorithms()`: a new one gets every check by name."""

import dataclasses
import itertools
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import jaxrl
from envs import probes
from envs.mdps import ExplicitMDP, explicit
from envs.spaces import Box
from envs.tabular import extract
from jaxrl.config import is_traced, validate
from jaxrl.tabular import planning
from jaxrl.train import run_interval

GAMMA = 0.5


@dataclass(frozen=True)
class Case:
    """How an algorithm is tested.

    Attributes:
      small: fields of a configuration that compiles and runs fast.
      probe: fields with which it solves every probe; none if those are not for it.
      probe_steps: environment steps that this takes.
      value: `(algorithm, state, obs, config) -> V(obs)`; obs is `[1]` float, or `[]` int32 for tables.
      world: an environment that it serves.
      sees: "vectors", "numbers" if it needs observations that are states' numbers, as tables do, or "arms" if
        it takes steps to be unrelated, so that the probes are not for it.
      acts: "numbers", or "levels" if its actions are in [-1, 1]; then it does more or less of two actions.
    """

    small: dict[str, Any]
    probe: dict[str, Any]
    probe_steps: int
    value: Any
    world: str = "CartPole-v1"
    sees: str = "vectors"
    acts: str = "numbers"


def critic_value(algorithm, state, obs, config):
    from jaxrl.agents import actor_critic

    env, params = algorithm.env, algorithm.params
    model = actor_critic.make_model(env.observation_space(params), env.action_space(params), config)
    return model.critic(state.params, obs)


def on_policy(small, probe, steps=25_600):
    """Return the case of a learner from its own rollouts."""
    shapes = {"num_envs": 2, "num_steps": 8, "hidden_sizes": (8,)}
    solving = {
        "num_envs": 8,
        "num_steps": 16,
        "hidden_sizes": (16,),
        "learning_rate": 1e-2,
        "entropy_coefficient": 0.0,
        "total_steps": float(steps),
    }
    return Case(small=shapes | small, probe=solving | probe, probe_steps=steps, value=critic_value)


def deep_q_value(algorithm, state, obs, config):
    from jaxrl.agents import deep_q

    outputs = 1
    if hasattr(config, "num_atoms"):
        outputs = config.num_atoms
    elif hasattr(config, "num_quantiles"):
        outputs = config.num_quantiles
    q = deep_q.network(algorithm.env, algorithm.params, config, outputs).outputs(state.params, obs)
    if hasattr(config, "num_atoms"):
        return jnp.max(jax.nn.softmax(q) @ jnp.linspace(config.min_value, config.max_value, outputs))
    return jnp.max(jnp.mean(q, axis=-1))


def iqn_value(algorithm, state, obs, config):
    from jaxrl.nets import ImplicitQuantileNetwork

    module = ImplicitQuantileNetwork(2, hidden_sizes=config.hidden_sizes)
    levels = (jnp.arange(4) + 0.5) / 4
    return jnp.max(jnp.mean(module.apply(state.params, obs, levels), axis=-1))


def replay_critic_value(algorithm, state, obs, config):
    """Return the least of the critics' values of the greedy action."""
    from jaxrl.agents import replay_actor_critic as shared
    from jaxrl.ops.values import select

    action = algorithm.policy(state).act(obs, (), jax.random.key(0))[0][None]
    if jnp.issubdtype(action.dtype, jnp.integer):
        q = shared.make_critics(config, (1,), 2, per_action=True).values(state.params.critic, obs[None])
        return jnp.min(jax.vmap(select, in_axes=(0, None))(q, action))
    critics = shared.make_critics(config, (1,), 1, per_action=False)
    return jnp.min(critics.values(state.params.critic, obs[None], action))


def remembered_value(algorithm, state, obs, config):
    """Return V(obs) as it is met: where the probe leads from 0 to 1, with the memory of having seen 0."""
    policy = algorithm.policy(state)
    _, memory = policy.act(jnp.zeros(1), policy.init(), jax.random.key(0))
    follows = (obs[0] == 1) & (algorithm.params.P[1, 0, 2] > 0)
    return jnp.where(follows, policy.value(obs, memory), policy.value(obs, policy.init()))


def table_value(algorithm, state, obs, config):
    q = getattr(state.tables, "q", state.tables)
    return jnp.max(q[obs] if q.ndim == 2 else jnp.mean(q[:, obs], axis=0))


def deep_q(**fields):
    """Return the case of a relative of DQN."""
    shapes = {"num_envs": 4, "hidden_sizes": (8,), "batch_size": 8, "learning_starts": 16, **fields}
    probe = {
        "num_envs": 8,
        "hidden_sizes": (32,),
        "batch_size": 64,
        "buffer_size": 4000,
        "learning_starts": 400,
        "learning_rate": 3e-3,
        "target_update_period": 80,
        "num_updates": 2,
        "epsilon_start": 1.0,
        "epsilon_end": 1.0,
        "total_steps": 6400.0,
    }
    return Case(
        small={"buffer_size": 64, "target_update_period": 8, **shapes},
        probe=probe | fields,
        probe_steps=6400,
        value=deep_q_value,
    )


def replay_actor_critic(world="Pendulum-v1", acts="levels", **fields):
    """Return the case of an actor with critics from replay."""
    small = deep_q().small | {"target_update_period": 8}
    probe = {name: deep_q().probe[name] for name in ("num_envs", "hidden_sizes", "batch_size", "buffer_size")}
    probe |= {"learning_starts": 400, "num_updates": 2, "polyak_tau": 0.05, "target_update_period": 8}
    probe |= {"learning_rate": 3e-3, "critic_learning_rate": 3e-3, **fields}
    if acts == "levels":
        del small["target_update_period"], probe["target_update_period"]
    return Case(small, probe, probe_steps=6400, value=replay_critic_value, world=world, acts=acts)


def table(**fields):
    """Return the case of a tabular method."""
    return Case(
        small={"num_steps": 8, **fields},
        probe={"num_steps": 100, "total_steps": 3000.0, **fields},
        probe_steps=3000,
        value=table_value,
        world="FrozenLake4x4-v1",
        sees="numbers",
    )


# A softmax comes close to certainty slowly, and values between its ends need it.
CATEGORICAL = {"num_atoms": 21, "min_value": -2.0, "max_value": 2.0, "learning_rate": 1e-2}


REMEMBERING = {"burn_in": 1, "sequence_length": 3, "n_step": 2, "memory_size": 8, "head_sizes": (8,)}
REMEMBERING |= {"adam_epsilon": 1e-8}


def arms(**fields):
    """Return the case of a bandit policy."""
    small = {"num_steps": 8, **fields}
    return Case(small=small, probe={}, probe_steps=0, value=None, world="BernoulliBandit-v1", sees="arms")


CASES = {
    "ppo": on_policy({"num_epochs": 2, "num_minibatches": 2}, {"clip_value": False}),
    "a2c": on_policy({}, {"num_steps": 4, "anneal_learning_rate": True}, steps=51_200),
    "apg": replace(on_policy({"num_epochs": 2, "num_minibatches": 2}, {}), probe={}, world="Pendulum-v1"),
    "impala": on_policy({"lag": 2}, {"num_steps": 4}, steps=51_200),
    "reinforce": on_policy(
        {"num_epochs": 2, "num_minibatches": 2},
        {"num_epochs": 4, "baseline_learning_rate": 1e-2, "anneal_learning_rate": True},
    ),
    "trpo": on_policy(
        {"num_epochs": 2, "num_minibatches": 2, "cg_steps": 3, "line_search_steps": 3},
        {"num_epochs": 4, "num_minibatches": 4, "anneal_learning_rate": True},
    ),
    "dqn": deep_q(double=True),
    "c51": deep_q(**CATEGORICAL),
    "qr_dqn": deep_q(num_quantiles=5),
    "iqn": replace(deep_q(num_quantiles=4, num_acting_quantiles=4, hidden_sizes=(16, 16)), value=iqn_value),
    # Without noise: a softmax of the mean weights is not the mean of the softmaxes that are trained.
    "rainbow": replace(deep_q(**CATEGORICAL), probe=deep_q(**CATEGORICAL).probe | {"noisy": False}),
    "r2d2": replace(
        deep_q(**REMEMBERING, learning_starts=20),
        probe=deep_q(**REMEMBERING).probe,
        value=remembered_value,
    ),
    "pqn": Case(
        small={"num_envs": 2, "num_steps": 8, "num_epochs": 2, "num_minibatches": 2, "hidden_sizes": (8,)},
        probe={
            "num_envs": 8,
            "num_steps": 16,
            "hidden_sizes": (32,),
            "learning_rate": 1e-2,
            "epsilon_end": 0.5,
            "total_steps": 12_800.0,
        },
        probe_steps=12_800,
        value=deep_q_value,
    ),
    "sac": replay_actor_critic(learn_temperature=False, temperature=0.02),
    # Where the observation is 0, biases alone turn the dial, and a tanh comes close to its end slowly.
    "td3": replay_actor_critic(learning_rate=1e-2, policy_delay=1),
    "ddpg": replay_actor_critic(learning_rate=1e-2, policy_delay=1),
    "discrete_sac": replay_actor_critic(
        "CartPole-v1", "numbers", learn_temperature=False, temperature=0.05, num_steps=1, adam_epsilon=1e-8
    ),
    "double_q_learning": table(),
    "dyna_q": table(planning_steps=3),
    "dyna_q_plus": table(planning_steps=3),
    "expected_sarsa": table(),
    "monte_carlo": table(),
    "n_step_sarsa": table(n=2),
    "prioritized_sweeping": table(planning_steps=3),
    "q_learning": table(),
    "sarsa": table(),
    "sarsa_lambda": table(trace="dutch"),
    "watkins_q": table(),
    "ab_test": arms(),
    "epsilon_first": arms(),
    "epsilon_greedy": arms(),
    "exp3": arms(),
    "gradient_bandit": arms(),
    "kl_ucb": arms(),
    "linear_thompson": arms(),
    "linucb": arms(),
    "logistic_thompson": arms(),
    "moss": arms(),
    "neural_linear": arms(hidden_sizes=(8,)),
    "softmax": arms(),
    "thompson": arms(),
    "ucb1": arms(),
}


def make(name, env, params, **fields):
    module = jaxrl.algorithm(name)
    config = module.Config(**fields)
    return module.make(env, params, config), config


def test_every_algorithm_is_in_the_table():
    assert sorted(CASES) == jaxrl.algorithms()


def test_unknown_algorithms_name_the_closest():
    with pytest.raises(ValueError, match="unknown algorithm 'pppo'; did you mean 'ppo'"):
        jaxrl.algorithm("pppo")


# What V(-1), V(0), V(1) are under the optimal policy; None where the observation does not occur.
EXPECTED = {
    "ConstantReward": (None, 1.0, None),
    "RewardByObservation": (-1.0, None, 1.0),
    "DelayedReward": (None, GAMMA, 1.0),
    "ActionMatters": (None, 1.0, None),
    "ActionByObservation": (1.0, None, 1.0),
}


def as_mdp(probe):
    """Return the parameters of a probe as a process of 4 states: observation -1, 0, 1, and the end."""
    P, R = np.zeros((4, 2, 4)), np.zeros((4, 2, 4))
    P[3, :, 3] = 1
    for obs in (-1, 0, 1):
        for action in range(2):
            before = probes.ProbeState(signal=jnp.float32(obs), t=jnp.int32(obs == probe.num_steps - 1))
            out = probe.step(jax.random.key(0), before, action, probe.default_params())[1]
            after = 3 if out.terminated else int(out.obs[0]) + 1
            P[obs + 1, action, after], R[obs + 1, action, after] = 1, out.reward
    start = np.array([0.5, 0, 0.5, 0] if probe.random else [0, 1, 0, 0])
    return explicit(P, R, terminal=np.arange(4) == 3, start=start)[1]


@partial(jax.jit, static_argnums=0)
def exact_values(env, worlds, actions):
    """Return what the policies `actions` [P, S, states] are worth in the worlds [P], in every state."""

    def value(params, actions):
        return planning.evaluate(extract(env, params), jax.nn.one_hot(actions, 2), GAMMA)

    return jax.vmap(jax.vmap(value, in_axes=(None, 0)))(worlds, actions)


@dataclass(frozen=True)
class Signals(ExplicitMDP):
    """The same process, observed as the probes are: state 0, 1, 2 as the vector [-1], [0], [1]."""

    def observation_space(self, params):
        return Box(-1.0, self.num_states - 2.0, (1,))

    def reset(self, key, params):
        state, obs = super().reset(key, params)
        return state, obs[None] - 1.0

    def step(self, key, state, action, params):
        state, out = super().step(key, state, action, params)
        return state, out.replace(obs=out.obs[None] - 1.0)


class Dial(Signals):
    """The same process, turned by a dial in [-1, 1] from action 0 to action 1: half-way, half of each."""

    def action_space(self, params):
        return Box(-1.0, 1.0, (1,))

    def outcomes(self, state_index, action, params):
        share = 0.5 * (1.0 + action[0])
        parts = [ExplicitMDP.outcomes(self, state_index, number, params) for number in range(2)]
        return parts[0]._replace(
            probability=(1 - share) * parts[0].probability + share * parts[1].probability,
            reward=(1 - share) * parts[0].reward + share * parts[1].reward,
        )


# More than 30 seconds each; their relatives among the others share their loops.
SLOW_PROBES = ("c51", "ddpg", "iqn", "r2d2", "rainbow", "td3")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW_PROBES else ())
        for name, case in CASES.items()
        if case.probe
    ],
)
def test_probes_are_solved(name):
    """All probes in one program; one with a single action has two that do the same."""
    case, module = CASES[name], jaxrl.algorithm(name)
    vectors = Dial if case.acts == "levels" else Signals
    world, model = (kind(num_states=4, num_actions=2) for kind in (vectors, ExplicitMDP))
    env = world if case.sees == "vectors" else model
    config = module.Config(gamma=GAMMA, **case.probe)
    worlds = jax.tree.map(lambda *xs: jnp.stack(xs), *map(as_mdp, probes.ALL))

    def run(params, key):
        algorithm = module.make(env, params, config)
        iterations = case.probe_steps // algorithm.steps_per_iteration
        state, _ = run_interval(algorithm, algorithm.init(key), 0, iterations)
        policy, obs = algorithm.policy(state), jnp.arange(4)
        if case.sees == "vectors":
            obs = obs[:, None] - 1.0
        actions = jax.vmap(lambda obs: policy.act(obs, policy.init(), key)[0])(obs)
        if case.acts == "levels":
            actions = (actions[:, 0] > 0).astype(jnp.int32)
        return jnp.stack([case.value(algorithm, state, o, config) for o in obs[:3]]), actions

    over_seeds = jax.vmap(run, in_axes=(None, 0))
    keys = jax.vmap(jax.random.key)(jnp.arange(8))
    learned, actions = jax.jit(jax.vmap(over_seeds, in_axes=(0, None)))(worlds, keys)
    values = exact_values(model, worlds, actions)
    for p, probe in enumerate(probes.ALL):
        for i, expected in enumerate(EXPECTED[probe.id]):
            if expected is not None:
                np.testing.assert_allclose(learned[p, :, i], expected, atol=0.05, err_msg=probe.id)
                np.testing.assert_allclose(values[p, :, i], expected, atol=1e-6, err_msg=probe.id)


@pytest.fixture(scope="module", params=jaxrl.algorithms())
def small(request):
    case = CASES[request.param]
    algorithm, _ = make(request.param, *envs.make(case.world), **case.small)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    return algorithm, state


def interval(algorithm):
    """Return `(state, start, stop) -> state`, compiled; the tests share it through the compilation cache."""
    return jax.jit(lambda state, start, stop: run_interval(algorithm, state, start, stop)[0])


def test_a_step_keeps_the_types_of_the_state(small):
    algorithm, state = small
    after, metrics = jax.eval_shape(algorithm.step, state, jnp.int32(0))
    before = jax.eval_shape(lambda: state)
    assert jax.tree.structure(after) == jax.tree.structure(before)

    def same(a, b):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)

    jax.tree.map(same, jax.eval_shape(algorithm.init, jax.random.key(0)), after)
    assert all(x.shape == () and x.dtype == jnp.float32 for x in metrics.values())
    assert {"episodes", "episode_return", "episode_length"} <= set(metrics)


def test_seeds_start_from_different_parameters(small):
    """Once a published implementation gave all seeds the same network and the same keys."""
    algorithm, state = small
    other = jax.jit(algorithm.init)(jax.random.key(1))
    for a, b in zip(*(jax.tree.leaves(getattr(s, "params", ())) for s in (state, other)), strict=True):
        if a.ndim > 1 and np.ptp(a) > 0:  # a kernel; biases, tables and scales of noise start equal
            assert np.abs(a - b).max() > 0
    keys = [
        [x for x in jax.tree.leaves(s) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)]
        for s in (state, other)
    ]
    assert keys[0] and not any(
        np.array_equal(jax.random.key_data(a), jax.random.key_data(b)) for a, b in zip(*keys, strict=True)
    )


def test_keys_are_used_once(small):
    algorithm, state = small
    with jax.debug_key_reuse(True):
        state = interval(algorithm)(jax.jit(algorithm.init)(jax.random.key(1)), 0, 2)
        memory = algorithm.policy(state).init()
        jax.jit(lambda s, k: algorithm.policy(s).act(state.obs[0], memory, k))(state, jax.random.key(2))


def test_resumed_equals_uninterrupted(small):
    """A state that went to the host and back as NumPy arrays continues bit for bit."""
    algorithm, state = small
    run = interval(algorithm)

    def to_host_and_back(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(np.asarray(jax.random.key_data(x))))
        return jnp.asarray(np.asarray(x))

    whole = run(state, 0, 6)
    halves = run(jax.tree.map(to_host_and_back, run(state, 0, 2)), 2, 6)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(halves), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def test_the_policy_serves_one_observation(small):
    algorithm, state = small
    policy = algorithm.policy(state)
    obs = algorithm.env.reset(jax.random.key(0), algorithm.params)[1]
    action, carry = policy.act(obs, policy.init(), jax.random.key(0))
    assert algorithm.env.action_space(algorithm.params).contains(action)
    assert jax.tree.structure(carry) == jax.tree.structure(policy.init())


@pytest.mark.parametrize("name", jaxrl.algorithms())
def test_every_field_is_documented_and_its_default_valid(name):
    import ast
    import inspect

    Config = jaxrl.algorithm(name).Config
    validate(Config())
    documented = set()
    for kind in Config.__mro__[:-1]:  # fields may be inherited
        body = ast.parse(inspect.getsource(kind)).body[0].body
        for field, following in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(following, ast.Expr):
                assert isinstance(following.value, ast.Constant)
                documented.add(field.target.id)
    assert documented == {field.name for field in dataclasses.fields(Config)}


@pytest.mark.parametrize("name", jaxrl.algorithms())
def test_every_traced_field_refuses_nan(name):
    module = jaxrl.algorithm(name)
    env, params = envs.make(CASES[name].world)
    for field in dataclasses.fields(module.Config):
        if is_traced(field):
            config = module.Config().replace(**{field.name: float("nan")})
            with pytest.raises(ValueError, match=f"`{field.name}` must be .*, got nan"):
                module.make(env, params, config)
