"""Our learners through `jaxrl.sweep`, as a process of its own: prints one JSON object a measurement.

One host device a core, as the command `jaxrl` sets it. The first call of each size compiles and trains for
one iteration a log point; the second, of the same length, compiles nothing; the third is what is timed. So
compile seconds are those of the first call less those of the second; they are near zero where an earlier size
has the same program (one seed is padded to one a device).
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from experiments.startup import prepare_jax

SETTINGS = ("cartpole", "breakout", "dqn", "sac")


def main() -> None:
    """Measure, and print a line for each number of seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", choices=SETTINGS, default="cartpole")
    parser.add_argument("--seeds", type=int, nargs="+", default=[8])
    parser.add_argument("--steps", type=int, default=524_288, help="environment steps of each seed")
    parser.add_argument("--evaluations", type=int, default=8)
    parser.add_argument("--eval-episodes", type=int, default=16)
    parser.add_argument("--log-points", type=int, default=None, help="10 for each evaluation by default")
    parser.add_argument("--devices", type=int, default=None, help="host devices; one a core by default")
    parser.add_argument("--repeats", type=int, default=1, help="rounds over all numbers of seeds")
    args = parser.parse_args()
    prepare_jax()
    for _ in range(args.repeats):
        for seeds in args.seeds:
            report = measure(
                args.setting,
                seeds,
                args.steps,
                args.evaluations,
                args.eval_episodes,
                args.log_points,
                args.devices,
            )
            print(json.dumps(report), flush=True)


def make_setting(name: str, total_steps: int) -> tuple[Callable, Any, Any, Any]:
    """Return `(make, env, params, config)` of one of `SETTINGS`.

    "cartpole" is PPO with CleanRL's settings, "breakout" PPO with PureJaxRL's; "dqn" on CartPole and "sac" on
    Pendulum have those of `peers/rejax_learner.py`.
    """
    import envs
    from jaxrl.agents import dqn, ppo, sac

    steps = float(total_steps)
    match name:
        case "cartpole":
            return ppo.make, *envs.make("CartPole-v1"), ppo.Config(total_steps=steps)
        case "breakout":
            config = ppo.Config(
                learning_rate=5e-3, total_steps=steps, num_envs=64, num_minibatches=8, activation="relu"
            )
            return ppo.make, *envs.make("gymnax/Breakout-MinAtar"), config
        case "dqn":
            config = dqn.Config(
                total_steps=steps,
                num_envs=10,
                buffer_size=10_000,
                learning_starts=1_000,
                batch_size=128,
                num_updates=5,
                double=True,
                learning_rate=1e-3,
                target_update_period=200,
                hidden_sizes=(64, 64),
            )
            return dqn.make, *envs.make("CartPole-v1"), config
        case "sac":
            config = sac.Config(
                learning_rate=1e-3,
                critic_learning_rate=1e-3,
                total_steps=steps,
                buffer_size=20_000,
                learning_starts=1_000,
                policy_delay=1,
                hidden_sizes=(64, 64),
            )
            return sac.make, *envs.make("Pendulum-v1"), config
    raise ValueError(f"`name` must be one of {', '.join(SETTINGS)}, got {name!r}")


def measure(
    setting: str,
    num_seeds: int,
    num_steps: int,
    evaluations: int,
    eval_episodes: int,
    log_points: int | None = None,
    num_devices: int | None = None,
) -> dict[str, Any]:
    """Return compile and run seconds and steps/s of one sweep over seeds."""
    import jax

    import jaxrl
    from jaxrl.parallel import cell_mesh
    from jaxrl.train import LOG_POINTS_PER_EVALUATION, num_iterations

    make, env, params, config = make_setting(setting, num_steps)
    keys = jax.vmap(jax.random.key)(jax.numpy.arange(num_seeds))
    mesh = cell_mesh(jax.devices()[:num_devices])
    per_iteration = config.num_envs * config.num_steps
    iterations = num_iterations(per_iteration, num_steps)
    points = log_points or evaluations * min(LOG_POINTS_PER_EVALUATION, iterations // evaluations)

    def run(steps):
        begun, used = time.perf_counter(), time.process_time()
        state, history = jaxrl.sweep(
            make,
            env,
            params,
            config,
            keys,
            steps,
            mesh=mesh,
            evaluations=evaluations,
            eval_episodes=eval_episodes,
            log_points=points,
        )
        jax.block_until_ready(state)
        return time.perf_counter() - begun, time.process_time() - used, history

    first, *_ = run(points * per_iteration)
    second, *_ = run(points * per_iteration)
    seconds, used, history = run(num_steps)
    steps = num_seeds * iterations * per_iteration
    return {
        "seeds": num_seeds,
        "devices": mesh.size,
        "compile_seconds": max(first - second, 0.0),
        "run_seconds": seconds,
        "cpu_seconds": used,
        "steps": steps,
        "steps_per_second": steps / seconds,
        "final_return": float(history.episode_return[:, :, -1].mean()),
        "evaluations": evaluations,
        "eval_episodes": eval_episodes,
    }


def training_program(
    setting: str, num_agents: int, num_steps: int, evaluations: int, eval_episodes: int
) -> tuple[Any, tuple]:
    """Return `(program, arguments)`: `jaxrl.train` over seeds and devices, to be compiled ahead of time.

    The number of agents is rounded up to a multiple of the devices.
    """
    import jax

    import jaxrl
    from jaxrl.parallel import cell_mesh, over_cells, pad

    make, env, params, config = make_setting(setting, num_steps)
    mesh = cell_mesh()
    keys = pad(jax.vmap(jax.random.key)(jax.numpy.arange(num_agents)), mesh.size)

    def cell(key, params):
        algorithm = make(env, params, config)
        return jaxrl.train(algorithm, key, num_steps, evaluations=evaluations, eval_episodes=eval_episodes)

    return jax.jit(over_cells(cell, mesh)), (keys, params)


if __name__ == "__main__":
    main()
