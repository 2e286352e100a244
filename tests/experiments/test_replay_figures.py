"""What papers say of replay and of double targets holds in our figures of them."""

import numpy as np
import pytest

from experiments import figures
from experiments.figures import blind_cliff, overestimation
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
@pytest.mark.parametrize("name", ["blind_cliff", "overestimation"])
def test_figures_are_drawn(name, tmp_path):
    path = figures.draw(name, tmp_path, quick=True)
    assert path == tmp_path / f"{name}.png" and path.read_bytes().startswith(b"\x89PNG")
