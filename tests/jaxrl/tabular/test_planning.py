"""The exact solvers against each other, linear programming, published optima and hand numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.tabular import TabularMDP, extract
from jaxrl.tabular import linear, planning

NUM_MDPS, S, A = 1000, 6, 3


def random_mdp(key):
    """Return a dense model whose last state is terminal."""
    key_P, key_R = jax.random.split(key)
    terminal = jnp.arange(S) == S - 1
    # Few large probabilities and many small ones.
    weights = jax.random.exponential(key_P, (S, A, S)) ** 3
    P = weights / jnp.sum(weights, axis=-1, keepdims=True)
    stay = jnp.broadcast_to(jnp.eye(S)[:, None], (S, A, S))
    return TabularMDP(
        P=jnp.where(terminal[:, None, None], stay, P),
        R=jnp.where(terminal[:, None], 0.0, jax.random.normal(key_R, (S, A))),
        terminal=terminal,
        start=jnp.full(S, 1 / S),
    )


@pytest.fixture(scope="module")
def mdps():
    return jax.jit(jax.vmap(random_mdp))(jax.random.split(jax.random.key(0), NUM_MDPS))


@pytest.fixture(scope="module")
def discounts():
    return jnp.linspace(0.0, 0.95, NUM_MDPS)


def solutions(mdp, gamma):
    """Return the optimal values by four ways, and a best policy's by two."""
    best = planning.policy_iteration(mdp, gamma)
    return {
        "value iteration": planning.value_iteration(mdp, gamma).value,
        "policy iteration": best.value,
        "modified policy iteration": planning.modified_policy_iteration(mdp, gamma, sweeps=5).value,
        "linear solve": planning.evaluate(mdp, best.policy, gamma),
        "iterative evaluation": planning.evaluate_iteratively(mdp, best.policy, gamma),
    }


def test_all_solvers_agree_on_a_thousand_models(mdps, discounts):
    solved = jax.jit(jax.vmap(solutions))(mdps, discounts)
    models = [jax.tree.map(lambda x, i=i: np.asarray(x[i]), mdps) for i in range(NUM_MDPS)]
    expected = np.stack(
        [planning.linear_programme(m, float(g))[0] for m, g in zip(models, discounts, strict=True)]
    )
    assert np.abs(expected).max() > 5
    for name, values in solved.items():
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5, err_msg=name)


@functools.cache
def model(id):
    return extract(*envs.make(id))


EXACT = [id for id in envs.names("native") if hasattr(envs.make(id)[0], "outcomes")]


def padded(mdp, num_states, num_actions):
    """Return the same model with more terminal states and copies of its last action, as NumPy arrays."""
    P, R, terminal, start = (np.asarray(x) for x in (mdp.P, mdp.R, mdp.terminal, mdp.start))
    more, copies = num_states - len(R), num_actions - R.shape[1]
    P = np.pad(np.pad(P, ((0, 0), (0, copies), (0, 0)), mode="edge"), ((0, more), (0, 0), (0, more)))
    P[len(R) :] = np.eye(num_states)[len(R) :, None]
    R = np.pad(np.pad(R, ((0, 0), (0, copies)), mode="edge"), ((0, more), (0, 0)))
    terminal, start = np.pad(terminal, (0, more), constant_values=True), np.pad(start, (0, more))
    return TabularMDP(P=P, R=R, terminal=terminal, start=start)


@pytest.mark.parametrize("large", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_all_solvers_agree_on_every_exact_environment(large):
    """One program for all of them (a second one for those of more than 80 states)."""
    found = {id: model(id) for id in EXACT if (envs.make(id)[0].num_states > 80) == large}
    assert len(found) >= (4 if large else 10)
    shape = np.max([mdp.R.shape for mdp in found.values()], axis=0)
    batch = jax.tree.map(lambda *xs: np.stack(xs), *(padded(mdp, *shape) for mdp in found.values()))
    solved = jax.jit(jax.vmap(solutions, in_axes=(0, None)))(batch, 0.95)
    for i, (id, mdp) in enumerate(found.items()):
        planning.validate(mdp, 0.99)
        expected, _ = planning.linear_programme(mdp, 0.95)
        scale = max(np.abs(expected).max(), 1.0)
        for name, values in solved.items():
            np.testing.assert_allclose(
                values[i, : len(expected)], expected, rtol=1e-5, atol=1e-5 * scale, err_msg=f"{id}: {name}"
            )


def graph(seed):
    """Return a random deterministic graph with rewards 0 and -1 and a way to the end from everywhere."""
    rng = np.random.default_rng(seed)
    following = rng.integers(0, S, (S, A))
    following[:, 0] = np.minimum(np.arange(S) + 1, S - 1)
    reward = -rng.integers(0, 2, (S, A)).astype(np.float32)
    following[-1], reward[-1] = S - 1, 0.0
    P = np.eye(S, dtype=np.float32)[following]
    start = np.full(S, 1 / S, np.float32)
    return TabularMDP(P=P, R=reward, terminal=np.arange(S) == S - 1, start=start)


def test_undiscounted_solvers_agree_on_graphs_or_refuse():
    """Value iteration finds the optimum of all policies; the other one refuses where no end is the best."""
    mdps = [graph(seed) for seed in range(300)]
    batch = jax.tree.map(lambda *xs: jnp.stack(xs), *mdps)
    solve = jax.jit(
        jax.vmap(lambda m: (planning.policy_iteration(m, 1.0).value, planning.value_iteration(m, 1.0).value))
    )
    by_policies, by_values = (np.asarray(x) for x in solve(batch))
    agree = np.all(np.abs(by_policies - by_values) < 1e-5, axis=1)
    assert 50 < agree.sum() < 300
    ending = np.stack([planning.linear_programme(mdp, 1.0)[0] for mdp in mdps])
    np.testing.assert_allclose(by_policies, ending, atol=1e-5)
    for i in np.flatnonzero(~agree)[:5]:
        with pytest.raises(
            ValueError, match=r"`gamma` = 1 needs .* got state .* which never ending is better"
        ):
            planning.policy_iteration(mdps[i], 1.0)
    planning.policy_iteration(mdps[np.flatnonzero(agree)[0]], 1.0)


def test_undiscounted_solvers_agree_on_every_exact_environment():
    """Wherever every state leads to an end and value iteration settles; one program for all of them."""
    found = {id: model(id) for id in EXACT if envs.make(id)[0].num_states <= 80}
    shape = np.max([mdp.R.shape for mdp in found.values()], axis=0)
    batch = jax.tree.map(lambda *xs: np.stack(xs), *(padded(mdp, *shape) for mdp in found.values()))
    solve = jax.jit(jax.vmap(lambda m: (planning.policy_iteration(m, 1.0), planning.value_iteration(m, 1.0))))
    by_policies, by_values = solve(batch)
    checked = set()
    for i, (id, mdp) in enumerate(found.items()):
        try:
            planning.validate(mdp, 1.0)
        except ValueError:
            continue
        expected = by_values.value[i]
        scale = max(np.abs(expected).max(), 1.0)
        if by_values.residual[i] <= 1e-6 * scale:
            np.testing.assert_allclose(by_policies.value[i], expected, atol=1e-4 * scale, err_msg=id)
            checked.add(id)
    assert len(checked) >= 8 and {"DynaMaze-v1", "FrozenLake4x4-v1"} <= checked
    assert np.isfinite(planning.policy_iteration(model("DynaMaze-v1"), 1.0).value).all()


def test_a_policy_that_never_ends_is_not_met():
    """Staying in state 0 costs nothing and the end costs 1: no policy that ends is the best."""
    P = jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    terminal, start = jnp.array([False, True]), jnp.array([1.0, 0.0])
    mdp = TabularMDP(P=P, R=jnp.array([[0.0, -1.0], [0.0, 0.0]]), terminal=terminal, start=start)
    assert jax.jit(planning.policy_iteration)(mdp, 1.0).value.tolist() == [-1.0, 0.0]
    with pytest.raises(ValueError, match="got state 0, which never ending is better for; use gamma < 1"):
        planning.policy_iteration(mdp, 1.0)
    for solve in (planning.value_iteration, planning.modified_policy_iteration, planning.policy_iteration):
        with pytest.raises(ValueError, match="`gamma` = 1 needs that every policy that never ends is worth"):
            solve(mdp.replace(R=mdp.R.at[0, 0].set(1.0)), 1.0)


@pytest.mark.parametrize(("id", "best"), [("FrozenLake4x4-v1", 0.7442), ("FrozenLake8x8-v1", 0.9132)])
def test_backward_induction_finds_the_published_optimum(id, best):
    mdp, horizon = model(id), envs.time_limit(envs.make(id)[0])
    value, q = jax.jit(lambda mdp: planning.backward_induction(mdp, horizon))(mdp)
    assert value.shape == (horizon + 1, 16 if "4x4" in id else 64) and q.shape == (horizon, *mdp.R.shape)
    np.testing.assert_allclose(value[0] @ mdp.start, best, atol=5e-5)
    np.testing.assert_array_equal(value[:-1], q.max(axis=-1))


def test_occupancy_is_the_dual_of_the_linear_programme_and_gives_the_return(mdps):
    mdp = jax.tree.map(lambda x: x[7], mdps)
    weights = np.asarray(mdp.start, np.float64)
    value, visits = planning.linear_programme(mdp, 0.9, weights)
    best = planning.policy_iteration(mdp, 0.9)
    ours = planning.occupancy(mdp, best.policy, 0.9)
    np.testing.assert_allclose(ours, visits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.sum(ours * mdp.R), weights @ value, rtol=1e-5)
    never_ends = mdp.replace(terminal=jnp.zeros(S, bool))
    total = planning.occupancy(never_ends, planning.uniform_policy(mdp), 0.9).sum()
    np.testing.assert_allclose(total, 10.0, rtol=1e-5)


def test_evaluation_against_simulation_free_power_series(mdps):
    """The value is the sum over time of discounted rewards, added up step by step in float64."""
    mdp = jax.tree.map(lambda x: np.asarray(x[3], np.float64), mdps)
    policy = np.random.default_rng(0).dirichlet(np.ones(A), S)
    flow, reward = np.einsum("sa,sat->st", policy, mdp.P), np.sum(policy * mdp.R, axis=1)
    value, reach = np.zeros(S), np.eye(S)
    for _ in range(2000):
        value, reach = value + reach @ reward, 0.95 * reach @ flow
    single = jax.tree.map(lambda x: x[3], mdps)
    policy = jnp.asarray(policy, jnp.float32)
    np.testing.assert_allclose(planning.evaluate(single, policy, 0.95), value, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        planning.evaluate_iteratively(single, policy, 0.95), value, rtol=1e-5, atol=2e-5
    )


def test_an_undiscounted_walk_has_its_textbook_values():
    """Sutton and Barto (2018), example 6.2: k / 6 for the k-th of five states; 1 is paid at the right end."""
    P = np.zeros((7, 1, 7), np.float32)
    for state in range(1, 6):
        P[state, 0, [state - 1, state + 1]] = 0.5
    P[[0, 6], 0, [0, 6]] = 1.0
    R = np.zeros((7, 1), np.float32)
    R[5, 0] = 0.5
    terminal = np.isin(np.arange(7), [0, 6])
    mdp = TabularMDP(P=jnp.asarray(P), R=jnp.asarray(R), terminal=jnp.asarray(terminal), start=jnp.eye(7)[3])
    planning.validate(mdp, 1.0)
    expected = np.array([0, 1, 2, 3, 4, 5, 0]) / 6
    np.testing.assert_allclose(planning.evaluate(mdp, jnp.ones((7, 1)), 1.0), expected, atol=1e-6)


def test_soft_solutions_satisfy_their_equations_and_approach_the_hard_one(mdps):
    mdp = jax.tree.map(lambda x: x[11], mdps)
    solution = planning.soft_value_iteration(mdp, 0.9, 0.5)
    entropy = -jnp.sum(solution.policy * jnp.log(solution.policy), axis=-1)
    # The value of the soft policy, rewarded for its entropy, is the soft value.
    paid = mdp.replace(R=mdp.R + jnp.where(mdp.terminal, 0.0, 0.5 * entropy)[:, None])
    np.testing.assert_allclose(planning.evaluate(paid, solution.policy, 0.9), solution.value, rtol=1e-5)
    hard = planning.value_iteration(mdp, 0.9).value
    cold = planning.soft_value_iteration(mdp, 0.9, 1e-4).value
    np.testing.assert_allclose(cold, hard, atol=2e-4 * np.log(A) / (1 - 0.9))
    assert np.all(solution.value[:-1] > hard[:-1])


def test_epsilon_soft_optimum_is_the_fixed_point_of_the_mixed_backup(mdps):
    mdp = jax.tree.map(lambda x: x[5], mdps)
    value = planning.value_iteration(planning.epsilon_soft(mdp, 0.3), 0.9).value
    q = planning.q_from_v(mdp, value, 0.9)
    np.testing.assert_allclose(0.7 * q.max(axis=1) + 0.3 * q.mean(axis=1), value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 5, 64, 100])
def test_linear_equations_against_numpy(size):
    rng = np.random.default_rng(size)
    matrix = np.eye(size) - 0.97 * rng.dirichlet(np.full(size, 0.3), (4, size))
    right = rng.normal(size=(4, size))
    solve = jax.jit(jax.vmap(linear.solve))
    for system in (matrix, matrix.swapaxes(1, 2)):
        found = solve(jnp.asarray(system, jnp.float32), jnp.asarray(right, jnp.float32))
        expected = np.linalg.solve(system, right[..., None])[..., 0]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def broken(**changes):
    mdp = planning._chain()
    return mdp.replace(**{name: change(getattr(mdp, name)) for name, change in changes.items()})


@pytest.mark.parametrize(
    ("mdp", "gamma", "message"),
    [
        (broken(P=lambda P: P.at[1, 0, 1].set(0.9)), 0.9, "sum to 1, got 0.9 for state 1, action 0"),
        (
            broken(P=lambda P: P.at[1, 1].set(jnp.array([-0.25, 0.25, 1.0]))),
            0.9,
            "`mdp.P` must not be negative, got -0.25 for state 1, action 1, next state 0",
        ),
        (broken(), 1.5, "`gamma` must be at least 0 and at most 1, got 1.5"),
        (broken(), float("nan"), "`gamma` must be at least 0 and at most 1, got nan"),
        (broken(R=lambda R: R.at[2, 1].set(3.0)), 0.9, "`mdp.R` must be 0 in a terminal state, got 3"),
        (broken(P=lambda P: P.at[2, 0].set(P[0, 0])), 0.9, "keep a terminal state .* got 0 for state 2"),
        (broken(start=lambda x: 0.5 * x), 0.9, "`mdp.start` must sum to 1, got 0.5"),
        (
            broken(P=lambda P: P.at[1].set(P[0])),
            1.0,
            "`gamma` must be less than 1 .* got 1.0 and state 0, which leads to no terminal state",
        ),
        (
            broken(P=lambda P: P.at[1].set(P[1, :1])),
            1.0,
            "got 1.0 and state 1, which is absorbing without being terminal",
        ),
        (broken(P=lambda P: P[:2]), 0.9, r"`mdp.P` must be \[S, A, S\]"),
    ],
)
def test_validate_names_row_and_value(mdp, gamma, message):
    with pytest.raises(ValueError, match=message):
        planning.validate(mdp, gamma)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mdp: planning.value_iteration(mdp, -0.1), "`gamma` must be at least 0"),
        (lambda mdp: planning.backward_induction(mdp, 0), "`horizon` must be at least 1"),
        (lambda mdp: planning.backward_induction(mdp, 2.5), "`horizon` must be .* an integer, got 2.5"),
        (
            lambda mdp: planning.backward_induction(mdp, 2, final_value=jnp.full(3, jnp.nan)),
            "`final_value` must be",
        ),
        (
            lambda mdp: planning.occupancy(mdp, planning.uniform_policy(mdp), 0.9, jnp.array([2.0, -1.0, 0])),
            "start` must not be negative, got -1",
        ),
        (lambda mdp: planning.soft(mdp.R, 0.0), "`temperature` must be .* greater than 0 .* got 0.0"),
        (lambda mdp: planning.soft(mdp.R, -1.0), "`temperature` must be .* greater than 0 .* got -1.0"),
        (lambda mdp: planning.epsilon_soft(mdp, 2.0), "`epsilon` must be at least 0 and at most 1, got 2"),
        (lambda mdp: planning.value_iteration(mdp, 0.9, float("nan")), "`tolerance` must be .* got nan"),
        (lambda mdp: planning.value_iteration(mdp, "a"), "`gamma` must be a number in .* got 'a'"),
        (lambda mdp: planning.evaluate(mdp, mdp.R, jnp.ones(2)), "`gamma` must be a number in .* vmap"),
        (lambda mdp: planning.modified_policy_iteration(mdp, 0.9, sweeps=0), "`sweeps` must be at least 1"),
        (lambda mdp: planning.soft_value_iteration(mdp, 0.9, 0.0), "`temperature` must be .* greater than 0"),
        (
            lambda mdp: planning.linear_programme(
                # Staying for ever pays for ever.
                mdp.replace(R=mdp.R.at[0, 0].set(1.0)),
                1.0,
            ),
            "`mdp` must have a finite optimum",
        ),
    ],
)
def test_refuses_what_makes_no_sense(call, message):
    with pytest.raises(ValueError, match=message):
        call(planning._chain())


@pytest.mark.parametrize(
    ("solve", "message"),
    [
        (lambda mdp: planning.value_iteration(mdp, 0.9), "sum to 1, got 0.9 for state 1, action 0"),
        (lambda mdp: planning.policy_iteration(mdp, 0.9), "sum to 1, got 0.9 for state 1, action 0"),
        (lambda mdp: planning.evaluate(mdp, planning.uniform_policy(mdp), 0.9), "got 0.9 for state 1"),
        (lambda mdp: planning.backward_induction(mdp, 3), "sum to 1, got 0.9 for state 1, action 0"),
        (lambda mdp: jax.jit(lambda g: planning.value_iteration(mdp, g))(0.9), "got 0.9 for state 1"),
    ],
)
def test_solvers_validate_what_is_concrete(solve, message):
    with pytest.raises(ValueError, match=message):
        solve(broken(P=lambda P: P.at[1, 0, 1].set(0.9)))


@pytest.mark.parametrize(
    ("policy", "gamma", "message"),
    [
        ([[1, 0], [0.5, 0.4], [0, 0]], 0.9, "`policy` must have rows that sum to 1, got 0.9 for state 1"),
        ([[1, 0], [-0.5, 1.5], [0, 0]], 0.9, "probabilities, got -0.5 for state 1, action 0"),
        ([[1, 0], [0, 1]], 0.9, r"`policy` must be \[S, A\] = \(3, 2\), got shape \(2, 2\)"),
        ([[1, 0], [0, 1], [0, 0]], 1.0, "1.0 and state 0, which leads to no terminal state under `policy`"),
    ],
)
def test_policies_are_validated(policy, gamma, message):
    mdp, policy = planning._chain(), jnp.asarray(policy, jnp.float32)
    for solve in (planning.evaluate, planning.evaluate_iteratively):
        with pytest.raises(ValueError, match=message):
            solve(mdp, policy, gamma)
    with pytest.raises(ValueError, match=message):
        planning.occupancy(mdp, policy, gamma)


def test_no_second_compile_for_other_models_rewards_and_discounts(mdps):
    compiled = jax.jit(planning.value_iteration)
    for i, gamma in enumerate((0.5, 0.9, 0.99)):
        compiled(jax.tree.map(lambda x, i=i: x[i], mdps), jnp.float32(gamma))
    assert compiled._cache_size() == 1
