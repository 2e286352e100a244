"""End-to-end reinforcement learning: agents as pure functions from a key to a trained state."""

import importlib
from types import ModuleType

from envs.core import unknown
from jaxrl.algorithm import Algorithm, Policy
from jaxrl.sweep import grid, sweep
from jaxrl.train import Episodes, History, evaluate, train

__all__ = [
    "Algorithm",
    "Episodes",
    "History",
    "Policy",
    "algorithm",
    "algorithms",
    "evaluate",
    "grid",
    "sweep",
    "train",
]

_ALGORITHMS = {
    "ppo": "jaxrl.agents.ppo",
    "a2c": "jaxrl.agents.a2c",
    "apg": "jaxrl.agents.apg",
    "impala": "jaxrl.agents.impala",
    "reinforce": "jaxrl.agents.reinforce",
    "trpo": "jaxrl.agents.trpo",
    "c51": "jaxrl.agents.c51",
    "dqn": "jaxrl.agents.dqn",
    "iqn": "jaxrl.agents.iqn",
    "pqn": "jaxrl.agents.pqn",
    "qr_dqn": "jaxrl.agents.qr_dqn",
    "r2d2": "jaxrl.agents.r2d2",
    "rainbow": "jaxrl.agents.rainbow",
    "ddpg": "jaxrl.agents.ddpg",
    "discrete_sac": "jaxrl.agents.discrete_sac",
    "sac": "jaxrl.agents.sac",
    "td3": "jaxrl.agents.td3",
    "double_q_learning": "jaxrl.tabular.control.double_q_learning",
    "dyna_q": "jaxrl.tabular.control.dyna_q",
    "dyna_q_plus": "jaxrl.tabular.control.dyna_q_plus",
    "expected_sarsa": "jaxrl.tabular.control.expected_sarsa",
    "monte_carlo": "jaxrl.tabular.control.monte_carlo",
    "n_step_sarsa": "jaxrl.tabular.control.n_step_sarsa",
    "prioritized_sweeping": "jaxrl.tabular.control.prioritized_sweeping",
    "q_learning": "jaxrl.tabular.control.q_learning",
    "sarsa": "jaxrl.tabular.control.sarsa",
    "sarsa_lambda": "jaxrl.tabular.control.sarsa_lambda",
    "watkins_q": "jaxrl.tabular.control.watkins_q",
    "ab_test": "jaxrl.bandits.ab_test",
    "epsilon_first": "jaxrl.bandits.epsilon_first",
    "epsilon_greedy": "jaxrl.bandits.epsilon_greedy",
    "exp3": "jaxrl.bandits.exp3",
    "gradient_bandit": "jaxrl.bandits.gradient_bandit",
    "kl_ucb": "jaxrl.bandits.kl_ucb",
    "linear_thompson": "jaxrl.bandits.linear_thompson",
    "linucb": "jaxrl.bandits.linucb",
    "logistic_thompson": "jaxrl.bandits.logistic_thompson",
    "moss": "jaxrl.bandits.moss",
    "neural_linear": "jaxrl.bandits.neural_linear",
    "softmax": "jaxrl.bandits.softmax",
    "thompson": "jaxrl.bandits.thompson",
    "ucb1": "jaxrl.bandits.ucb1",
}


def algorithms() -> list[str]:
    """Return the names of the algorithms.

    >>> "ppo" in algorithms()
    True
    """
    return sorted(_ALGORITHMS)


def algorithm(name: str) -> ModuleType:
    """Return an algorithm's module, which offers `Config` and `make(env, params, config)`.

    Raises:
      ValueError: for an unknown name; the closest ones are named.
    """
    if name not in _ALGORITHMS:
        raise ValueError(unknown("algorithm", name, algorithms()))
    return importlib.import_module(_ALGORITHMS[name])
