"""Symptoms of a training that goes wrong, reproduced, and what cures them: `python -m experiments.debugging`.

jaxrl/agents/DEBUGGING.md is the guide. Each of its rows is a case here, which trains twice on a small world,
before and after one change, and reports the metric that tells the difference. A name, as in `python -m
experiments.debugging q_explodes`, runs one, in a minute or two; without a name all are run.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_SEEDS = 8


@dataclass(frozen=True)
class Case:
    """A symptom and its cure.

    Attributes:
      symptom: what one sees.
      metric: what to look at.
      change: what to change.
      measure: `number of seeds -> (before, after)`, the metric of each seed, `[S]` each.
      falls: whether the cure lowers the metric.
    """

    symptom: str
    metric: str
    change: str
    measure: Callable[[int], tuple[np.ndarray, np.ndarray]]
    falls: bool = False


# CartPole's rewards are 1 a step, so that no value can be above 1 / (1 - 0.99) = 100.
_DQN: dict[str, Any] = {
    "num_envs": 8,
    "batch_size": 64,
    "buffer_size": 8_000,
    "learning_starts": 128,
    "target_update_period": 8,  # after every update, for there are eight steps an update
    "hidden_sizes": (32, 32),
}


def q_explodes(num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """DQN on CartPole with a large step size, its target copied at each update or following slowly."""
    fields = _DQN | {"learning_rate": 5e-3}
    history = _grid("dqn", _world("CartPole-v1"), 16_000, num_seeds, fields, polyak_tau=[1.0, 0.01])
    before, after = np.asarray(history.metrics["q_max"]).max(axis=-1)
    return before, after


def dead_units(num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """DQN on CartPole with a step size that kills rectified units, or a thirtieth of it."""
    fields = _DQN | {"polyak_tau": 0.01}
    history = _grid("dqn", _world("CartPole-v1"), 16_000, num_seeds, fields, learning_rate=[3e-2, 1e-3])
    before, after = np.asarray(history.metrics["dead_units"])[..., -1]
    return before, after


def reward_flat(num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """DQN on the frozen lake without slipping, where exploration begins at 2 %, or at 100 %."""
    fields = _DQN | {"learning_rate": 1e-3, "polyak_tau": 0.05, "epsilon_end": 0.02}
    history = _grid("dqn", _lake(), 32_000, num_seeds, fields, epsilon_start=[0.02, 1.0])
    before, after = np.asarray(history.metrics["episode_return"])[..., -1]
    return before, after


def stuck(num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Q-learning on RiverSwim, content with the small reward nearby unless what is untried looks better."""
    fields = {"gamma": 0.99, "epsilon_start": 0.05, "num_steps": 100}
    history = _grid(
        "q_learning", _world("RiverSwim-v1"), 40_000, num_seeds, fields, initial_value=[0.0, 20.0]
    )
    before, after = np.asarray(history.episode_return)[..., -1, :].mean(axis=-1)
    return before, after


def never_improves(num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Q-learning in a corridor of 40 cells with the only reward at its end, or a potential on the way."""
    import jax.numpy as jnp

    from envs.wrappers import wrap

    env, params = _world("GridWorld-v1", map=("S" + 38 * "." + "G",))
    params = params.replace(
        slip=jnp.float32(0),
        step_reward=jnp.float32(0),
        goal_reward=jnp.float32(1),
        max_steps=jnp.int32(100),
    )
    shaped = wrap(env, params, "potential_shaping", potential=_nearness, gamma=0.99)
    fields = {"gamma": 0.99, "epsilon_start": 0.2, "epsilon_end": 0.2, "num_steps": 100}
    found = []
    for world in ((env, params), shaped):
        history = _train("q_learning", world, 20_000, num_seeds, fields, eval_env=(env, params))
        found.append(np.asarray(history.episode_return)[:, -1].mean(axis=-1))
    return found[0], found[1]


def replay_homogeneous(num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """DQN on the frozen lake, replaying the latest 128 steps, or the latest 8,000."""
    fields = _DQN | {"learning_rate": 1e-3, "polyak_tau": 0.05}
    found = []
    for buffer_size in (128, 8_000):
        history = _train("dqn", _lake(), 24_000, num_seeds, fields | {"buffer_size": buffer_size})
        found.append(np.asarray(history.metrics["replay_diversity"])[:, -1])
    return found[0], found[1]


def slow(num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps a second of A2C on CartPole with one environment, or 256, beside each other; compiling apart."""
    import jax
    import jax.numpy as jnp

    import jaxrl

    found, num_steps = [], 262_144
    for num_envs in (1, 256):
        module = jaxrl.algorithm("a2c")
        algorithm = module.make(*_world("CartPole-v1"), module.Config(num_envs=num_envs))

        def run(key, algorithm=algorithm):
            return jaxrl.train(algorithm, key, num_steps, evaluations=1, eval_episodes=1)[1]

        compiled = jax.jit(run).lower(jax.random.key(0)).compile()
        rates = []
        for seed in range(num_seeds):
            start = time.perf_counter()
            jax.block_until_ready(compiled(jax.random.key(jnp.uint32(seed))))
            rates.append(num_steps / (time.perf_counter() - start))
        found.append(np.array(rates))
    return found[0], found[1]


CASES = {
    "q_explodes": Case(
        symptom="action values explode, the loss grows or turns to NaN",
        metric="q_max",
        change="a target network that follows slowly (polyak_tau 1 to 0.01, or a longer period)",
        measure=q_explodes,
        falls=True,
    ),
    "dead_units": Case(
        symptom="learning stops early, values are nearly the same everywhere",
        metric="dead_units",
        change="a smaller step size (0.03 to 0.001)",
        measure=dead_units,
        falls=True,
    ),
    "reward_flat": Case(
        symptom="the reward is flat from the beginning",
        metric="episode_return",
        change="explore more at the beginning (epsilon_start 0.02 to 1)",
        measure=reward_flat,
    ),
    "stuck": Case(
        symptom="stuck in a policy that is good, but not the best",
        metric="evaluation return",
        change="try what was not tried (initial_value 0 to 20; with networks more epsilon or entropy)",
        measure=stuck,
    ),
    "never_improves": Case(
        symptom="training goes on for ever without improvement: no reward is ever seen",
        metric="evaluation return",
        change="shape the reward by a potential, which leaves the best policy the best",
        measure=never_improves,
    ),
    "replay_homogeneous": Case(
        symptom="what was learned is forgotten again",
        metric="replay_diversity",
        change="a larger buffer (128 to 8,000 steps)",
        measure=replay_homogeneous,
    ),
    "slow": Case(
        symptom="few steps a second",
        metric="steps_per_second",
        change="more environments in one program (num_envs 1 to 256)",
        measure=slow,
    ),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the cases named on the command line, or all, and print what each metric was before and after."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.debugging", description="Reproduce symptoms and cures."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS)
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in CASES]:
        parser.error(f"unknown case {unknown[0]!r}; known are: {', '.join(CASES)}")
    for name in options.names or CASES:
        print(describe(name, *CASES[name].measure(options.seeds)), flush=True)


def describe(name: str, before: np.ndarray, after: np.ndarray) -> str:
    """Return what a case showed, as text.

    >>> print(describe("slow", np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])))
    slow: few steps a second
      steps_per_second: 2 [1, 3] before, 20 [10, 30] after (median and range of 3 seeds)
      change: more environments in one program (num_envs 1 to 256)
    """
    case = CASES[name]
    shown = [f"{np.median(x):.4g} [{x.min():.4g}, {x.max():.4g}]" for x in (before, after)]
    return (
        f"{name}: {case.symptom}\n"
        f"  {case.metric}: {shown[0]} before, {shown[1]} after (median and range of {len(before)} seeds)\n"
        f"  change: {case.change}"
    )


def _world(name: str, **options: Any) -> tuple[Any, Any]:
    import envs

    return envs.make(name, **options)


def _lake() -> tuple[Any, Any]:
    import jax.numpy as jnp

    env, params = _world("FrozenLake8x8-v1")
    return env, params.replace(slip=jnp.float32(0))


def _nearness(state: Any, params: Any) -> Any:
    """Return a potential that grows with every cell to the right."""
    return state.position / params.cells.size


def _keys(num_seeds: int) -> Any:
    import jax
    import jax.numpy as jnp

    return jax.vmap(jax.random.key)(jnp.arange(num_seeds))


def _grid(
    name: str, world: tuple[Any, Any], num_steps: int, num_seeds: int, fields: dict[str, Any], **values: Any
) -> Any:
    """Return the histories, leaves `[2, S, ...]`, for two values of a traced field, in one program."""
    import jaxrl

    module = jaxrl.algorithm(name)
    configs = jaxrl.grid(module.Config(total_steps=float(num_steps), **fields), **values)
    return jaxrl.sweep(module.make, *world, configs, _keys(num_seeds), num_steps, evaluations=2)[1]


def _train(
    name: str,
    world: tuple[Any, Any],
    num_steps: int,
    num_seeds: int,
    fields: dict[str, Any],
    eval_env: tuple[Any, Any] | None = None,
) -> Any:
    """Return the histories, leaves `[S, ...]`, of one configuration."""
    import jax

    import jaxrl

    module, env = jaxrl.algorithm(name), world[0]
    config = module.Config(total_steps=float(num_steps), **fields)

    def run(params, key):
        algorithm = module.make(env, params, config)
        return jaxrl.train(algorithm, key, num_steps, evaluations=2, eval_env=eval_env)[1]

    return jax.jit(jax.vmap(run, in_axes=(None, 0)))(world[1], _keys(num_seeds))


if __name__ == "__main__":
    from experiments.startup import prepare_jax

    prepare_jax()
    main()
