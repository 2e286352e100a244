"""What the textbook says of its figures holds in ours."""

import numpy as np
import pytest

from experiments import figures
from experiments.figures import cliff, dyna_maze, n_step_walk, random_walk

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["cliff", "dyna_maze", "n_step_walk", "random_walk"])
def test_figures_are_drawn(name, tmp_path):
    path = figures.draw(name, tmp_path, quick=True)
    assert path == tmp_path / f"{name}.png" and path.read_bytes().startswith(b"\x89PNG")


def test_temporal_differences_beat_monte_carlo_on_the_walk():
    _, beliefs, errors = random_walk.simulate(200)
    assert beliefs.shape == (101, 5) and not np.isnan(errors["TD"]).any()
    assert errors["TD"][:, -1].max() < errors["Monte Carlo"][:, -1].min()


def test_four_steps_are_best_on_the_long_walk():
    errors = n_step_walk.simulate(100)
    assert n_step_walk.NS[np.argmin(errors.min(axis=1))] == 4
    # Without learning the error is that of the values k / 10, k = -9, ..., 9.
    np.testing.assert_allclose(errors[:, 0], np.sqrt(np.mean((np.arange(-9, 10) / 10) ** 2)), rtol=1e-5)


def test_sarsa_earns_more_along_the_cliff_and_q_learning_walks_its_edge():
    runs = {name: cliff.simulate(name, 100) for name in cliff.METHODS.values()}
    late = {name: np.nanmean(run.returns[:, -100:]) for name, run in runs.items()}
    assert late["q_learning"] < -40 and late["sarsa"] > -32 and late["expected_sarsa"] > late["sarsa"]
    assert runs["q_learning"].visited[2].min() > 0.9 and runs["sarsa"].visited[2, 1:-1].max() < 0.3


def test_planning_shortens_the_search_and_a_bonus_notices_the_change():
    lengths = {n: dyna_maze.simulate_maze(n, 30).mean(axis=0) for n in dyna_maze.PLANNING_STEPS}
    assert lengths[50][3:].mean() < 20 and lengths[0][3] > 5 * lengths[50][3]
    assert lengths[5][3] > lengths[50][3]
    rewards = {name: dyna_maze.simulate_change(name, 30)[:, -1] for name in ("dyna_q", "dyna_q_plus")}
    assert rewards["dyna_q_plus"].mean() > 1.5 * rewards["dyna_q"].mean()
