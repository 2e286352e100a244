"""One tiny experiment that the tests of this folder share, so that it is compiled once."""

import pytest

from experiments import runner
from experiments.spec import RunSpec

TINY = {
    "algorithm": "ppo",
    "env": "CartPole-v1",
    "total_steps": 16 * 8,
    "seeds": (3, 5),
    "env_params": {"max_steps": 20},
    "config": {"num_envs": 2, "num_steps": 8, "num_epochs": 1, "num_minibatches": 2, "hidden_sizes": (4,)},
    "grid": {"learning_rate": (1e-3, 1e-2)},
    "evaluations": 2,
    "eval_episodes": 4,
    "name": "tiny",
}


@pytest.fixture(scope="session")
def tiny() -> RunSpec:
    """8 iterations of 16 steps, 8 chunks, 2 evaluations, 2 configurations x 2 seeds."""
    return RunSpec(**TINY)


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory):
    """The folder of a run that was never interrupted."""
    outcome = runner.run(tiny, tmp_path_factory.mktemp("runs"))
    assert outcome.status == "finished"
    return outcome.path
