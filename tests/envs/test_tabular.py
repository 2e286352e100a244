"""Exact models: Gymnasium's tables, known optima by backward induction, and maps over parameters."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.tabular import HasModel, Outcomes, TabularMDP, extract


def best_return_within(mdp, steps):
    """Backward induction in NumPy: the best undiscounted return of `steps` steps, from the start."""
    P, R = np.asarray(mdp.P, np.float64), np.asarray(mdp.R, np.float64)
    values = np.zeros(len(P))
    for _ in range(steps):
        values = (R + P @ values).max(axis=1)
    return float(np.asarray(mdp.start) @ values)


@pytest.mark.parametrize(("id", "optimum"), [("FrozenLake4x4-v1", 0.7442), ("FrozenLake8x8-v1", 0.9132)])
def test_frozen_lake_has_the_known_optimum_within_its_limit(id, optimum):
    env, params = envs.make(id)
    mdp = extract(env, params)
    assert best_return_within(mdp, envs.time_limit(env, params)) == pytest.approx(optimum, abs=5e-5)
    calm = extract(env, params.replace(slip=jnp.float32(0.0)))
    shortest = 6 if id == "FrozenLake4x4-v1" else 14
    assert best_return_within(calm, shortest) == 1.0 and best_return_within(calm, shortest - 1) == 0.0


@pytest.mark.parametrize("size", ["4x4", "8x8"])
def test_arrays_equal_gymnasiums_table(size):
    reference = gymnasium.make("FrozenLake-v1", map_name=size, is_slippery=True).unwrapped
    mdp = extract(*envs.make(f"FrozenLake{size}-v1"))
    P, R = np.zeros(mdp.P.shape), np.zeros(mdp.R.shape)
    for state, actions in reference.P.items():
        for action, branches in actions.items():
            for probability, following, reward, _ in branches:
                P[state, action, following] += probability
                R[state, action] += probability * reward
    np.testing.assert_allclose(mdp.P, P, atol=1e-6)
    np.testing.assert_allclose(mdp.R, R, atol=1e-6)
    letters = reference.desc.ravel()
    assert np.array_equal(mdp.terminal, (letters == b"H") | (letters == b"G"))


@pytest.mark.parametrize("id", ["GridWorld-v1", "FourRooms-v1", "WindyGridWorld-v1", "BernoulliBandit-v1"])
def test_rows_are_distributions_and_ends_are_absorbing(id):
    env, params = envs.make(id)
    mdp = extract(env, params)
    S, A = env.num_states, env.action_space(params).n
    assert mdp.P.shape == (S, A, S) and mdp.R.shape == (S, A) and mdp.start.shape == (S,)
    assert {mdp.P.dtype, mdp.R.dtype, mdp.start.dtype} == {jnp.dtype("float32")}
    np.testing.assert_allclose(mdp.P.sum(-1), 1.0, atol=1e-6)
    assert np.all(np.asarray(mdp.P) >= 0) and float(mdp.start.sum()) == pytest.approx(1.0)
    terminal = np.asarray(mdp.terminal)
    assert np.all(np.asarray(mdp.R)[terminal] == 0)
    for state in np.flatnonzero(terminal):
        assert np.all(np.asarray(mdp.P)[state, :, state] == 1)
    assert not np.any(np.asarray(mdp.start)[terminal])


def test_models_are_mapped_over_parameters():
    env, params = envs.make("FrozenLake4x4-v1")
    slips = jnp.array([0.0, 0.2, 2 / 3], jnp.float32)
    axes = jax.tree.map(lambda _: None, params).replace(slip=0)
    batch = jax.jit(jax.vmap(lambda p: extract(env, p), (axes,)))(params.replace(slip=slips))
    assert isinstance(batch, TabularMDP) and batch.P.shape == (3, 16, 4, 16)
    optima = []
    for index, slip in enumerate(slips):
        alone = extract(env, params.replace(slip=slip))
        one = jax.tree.map(lambda leaf, index=index: leaf[index], batch)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), alone, one)
        optima.append(best_return_within(one, 100))
    assert optima[0] == 1.0 and optima[0] > optima[1] > optima[2]


class OneStep:
    """Ends on every branch with positive probability; the impossible branch must not mark its state."""

    id = "OneStep"
    num_states = 3

    def action_space(self, params):
        return envs.spaces.Discrete(2)

    def start_distribution(self, params):
        return jnp.array([1.0, 0.0, 0.0])

    def outcomes(self, state_index, action, params):
        at_end = state_index == 1
        return Outcomes(
            probability=jnp.array([1.0, 0.0]),
            next_state=jnp.where(at_end, jnp.array([1, 1]), jnp.array([1, 2])),
            reward=jnp.where(at_end, 0.0, jnp.array([1.0, 5.0]) + action),
            terminated=jnp.array([True, True]),
        )


def test_impossible_branches_do_not_count():
    mdp = extract(OneStep(), None)
    assert mdp.terminal.tolist() == [False, True, False]
    assert mdp.R[0].tolist() == [1.0, 2.0] and mdp.P[0, 0].tolist() == [0.0, 1.0, 0.0]


def test_environment_without_a_model_is_refused():
    env, params = envs.make("CartPole-v1")
    assert not isinstance(env, HasModel) and isinstance(envs.make("FourRooms-v1")[0], HasModel)
    with pytest.raises(
        ValueError, match=r"`env` must offer its exact model, got 'CartPole-v1' without num_states"
    ):
        extract(env, params)


def test_continuous_actions_are_refused():
    class Continuous(OneStep):
        def action_space(self, params):
            return envs.spaces.Box(-1.0, 1.0)

    with pytest.raises(ValueError, match="`env` must have Discrete actions, got Box"):
        extract(Continuous(), None)
