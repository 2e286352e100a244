"""What papers say of replay and of double targets holds in our figures of them."""

import numpy as np
import pytest

from experiments import figures
from experiments.figures import blind_cliff, overestimation, sparse_grid
from jaxrl import stats


def test_the_memory_of_the_blind_walk_holds_all_that_chance_does():
    state, action, reward, terminated = blind_cliff.experience(4)
    assert len(state) == 2**5 - 2 and reward.sum() == 1
    assert terminated.sum() == 2**4  # each sequence of actions is an episode
    assert state[np.argmax(reward)] == 3 and action[np.argmax(reward)] == 1
    np.testing.assert_array_equal(state[np.append(True, terminated[:-1])], 0)


@pytest.mark.slow
def test_prioritised_replay_needs_fewer_updates_the_longer_the_walk(tmp_path):
    counts = {
        method: [blind_cliff.simulate(length, method, 10) for length in (4, 8)]
        for method in ("uniform", "prioritized", "oracle")
    }
    for uniform, prioritised, oracle in zip(*counts.values(), strict=True):
        assert oracle.max() < prioritised.min() and prioritised.max() < uniform.min()
    ratios = [np.mean(u) / np.mean(p) for u, p in zip(counts["uniform"], counts["prioritized"], strict=True)]
    assert ratios[1] > 1.5 * ratios[0] > 3


def test_the_table_that_is_right_for_a_walk_is_a_fixed_point_and_what_was_not_seen_is_worth_nothing():
    (state, action, reward, terminated), exact = sparse_grid.experience(400)
    assert reward.sum() == terminated.sum() >= 1 and set(reward) == {0.0, 1.0}
    assert len(state) == 401
    later = np.where(terminated[:-1], 0.0, exact.max(axis=1)[state[1:]])
    np.testing.assert_allclose(exact[state, action][:-1], reward[:-1] + 0.95 * later, atol=1e-6)
    assert np.count_nonzero(exact) <= len(set(zip(state[:-1].tolist(), action[:-1].tolist(), strict=True)))


@pytest.mark.slow
def test_prioritised_replay_beats_uniform_replay_on_a_sparse_grid():
    uniform, prioritised = (
        stats.stratified_bootstrap(sparse_grid.simulate(2_000, method, 10))
        for method in ("uniform", "prioritized")
    )
    assert prioritised.high < 0.7 * uniform.low


@pytest.mark.slow
def test_double_targets_lower_the_overestimation_and_nothing_is_to_be_earned():
    errors = []
    for double in overestimation.METHODS.values():
        predicted, realised = overestimation.simulate(double, overestimation.STEPS, 10)
        np.testing.assert_allclose(realised, 0)
        errors.append(stats.mean_interval(predicted[:, overestimation.POINTS // 2 :].mean(axis=1)))
    single, double = errors
    assert single.low > 0.5 and double.low > -0.3 and double.high < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blind_cliff", "overestimation", "sparse_grid"])
def test_figures_are_drawn(name, tmp_path):
    path = figures.draw(name, tmp_path, quick=True)
    assert path == tmp_path / f"{name}.png" and path.read_bytes().startswith(b"\x89PNG")
