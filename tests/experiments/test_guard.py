"""Seeds that went wrong are named, with the step and the metric."""

import io

import numpy as np
import pytest
from rich.console import Console

from experiments import guard, runner, store
from experiments.progress import Progress
from experiments.spec import RunSpec

SPEC = RunSpec("dqn", "CartPole-v1", 3_000, seeds=(3, 5), grid={"learning_rate": (0.001, 0.01)})
STEPS = np.array([100, 2_000, 3_000])


def test_divergence_is_pinned_to_the_seed_the_step_and_the_metric():
    finite, loss, q = np.ones((4, 3), bool), np.ones((4, 3)), np.ones((4, 3))
    finite[2, 1:], finite[3, 2:] = False, False
    loss[2, 1:] = np.inf
    q[2, 2] = np.nan
    metrics = {"loss": loss, "q_mean": q, "episode_return": np.full((4, 3), np.nan)}
    lines = guard.describe_divergence(SPEC, finite, STEPS, metrics)
    assert lines == ("learning_rate=0.01: seeds 3 (by step 2,000: loss), 5 (by step 3,000: parameters)",)
    assert guard.describe_divergence(SPEC, finite, STEPS) == (
        "learning_rate=0.01: seeds 3 (by step 2,000), 5 (by step 3,000)",
    )
    assert guard.describe_divergence(SPEC, np.ones((4, 3), bool), STEPS, metrics) == ()


@pytest.mark.parametrize("sign", [1, -1])
def test_values_beyond_all_returns_have_exploded(sign):
    q, returns = np.full((4, 3), 900.0), np.array([[-10.0], [np.nan], [3.0], [0.0]])
    assert guard.describe_explosions(SPEC, q, returns, STEPS) == ()
    q[1, 1:] = sign * 1001
    (line,) = guard.describe_explosions(SPEC, q, returns, STEPS)
    assert line == f"learning_rate=0.001: seed 5 (q_max {sign * 1e3:.3g} by step 2,000, no return beyond 10)"


def test_values_are_compared_with_one_where_nothing_was_earned():
    q = np.full((4, 3), 99.0)
    assert guard.describe_explosions(SPEC, q, np.full((4, 2), np.nan), STEPS) == ()
    assert len(guard.describe_explosions(SPEC, 1.1 * q, np.zeros((4, 2)), STEPS)) == 2


def test_a_run_warns_of_the_seeds_whose_values_exploded(tmp_path):
    """A step size of 100,000 makes values of millions, where a return is at most 500."""
    config = {"num_envs": 4, "batch_size": 8, "learning_starts": 20, "buffer_size": 80, "hidden_sizes": (8,)}
    config["activation"] = "tanh"  # of which no unit can die
    spec = RunSpec(
        "dqn",
        "CartPole-v1",
        400,
        seeds=(0, 1),
        evaluations=1,
        eval_episodes=2,
        config=config,
        grid={"learning_rate": (1e-3, 1e5)},
    )
    text = io.StringIO()
    outcome = runner.run(spec, tmp_path, progress=Progress(Console(file=text, width=200)))
    (line,) = store.read_manifest(outcome.path)["exploded"]
    assert line.startswith("learning_rate=100000: seeds 0 (q_max ") and ", 1 (q_max " in line, line
    assert f"warning: action values exploded: {line}" in text.getvalue()
    assert outcome.status == "finished"
    excess = store.read_arrays(outcome.path / "metrics.npz")["metrics/episode_overestimation"]
    assert np.all(np.isnan(excess[..., :-1])) and np.all(np.isfinite(excess[..., -1]))
    assert np.all(np.abs(excess[0, :, -1]) < 20) and np.all(np.abs(excess[1, :, -1]) > 1000)


def test_a_run_warns_of_simulations_that_diverged_and_goes_on(tmp_path):
    """A hopper whose joints are damped 400-fold blows up at once; the seed learns from what was sound."""
    spec = RunSpec(
        "ppo",
        "PlanarHopper-v1",
        128,
        seeds=(4,),
        evaluations=1,
        eval_episodes=1,
        env_params={"damping": 400.0},
        config={"num_envs": 4, "num_steps": 16, "hidden_sizes": (8,), "normalize_observations": True},
    )
    text = io.StringIO()
    outcome = runner.run(spec, tmp_path, progress=Progress(Console(file=text, width=200)))
    (line,) = store.read_manifest(outcome.path)["contained"]
    assert line.startswith("the configuration: seed 4 (") and "episodes, from step" in line, line
    assert f"warning: simulations diverged, and were truncated: {line}" in text.getvalue()
    assert outcome.status == "finished" and not outcome.diverged
