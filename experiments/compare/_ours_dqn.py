"""Our DQN on CartPole through `jaxrl.train`, as a process of its own: prints one JSON object.

The settings are those of `peers/rejax_dqn.py`. One host device a core, as the command `jaxrl` sets it.
"""

import argparse
import json
import time

from experiments.startup import prepare_jax


def main() -> None:
    """Compile, run, and print seconds and steps/s."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100_000, help="environment steps of each seed")
    parser.add_argument("--evaluations", type=int, default=4)
    parser.add_argument("--eval-episodes", type=int, default=16)
    parser.add_argument("--devices", type=int, default=None, help="host devices; one a core by default")
    args = parser.parse_args()
    prepare_jax()

    import jax

    import envs
    import jaxrl
    from jaxrl.agents import dqn
    from jaxrl.parallel import cell_mesh, over_cells, pad

    env, params = envs.make("CartPole-v1")
    config = dqn.Config(
        total_steps=float(args.steps),
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
    mesh = cell_mesh(jax.devices()[: args.devices])
    keys = pad(jax.vmap(jax.random.key)(jax.numpy.arange(args.seeds)), mesh.size)

    def cell(key, params):
        algorithm = dqn.make(env, params, config)
        return jaxrl.train(
            algorithm, key, args.steps, evaluations=args.evaluations, eval_episodes=args.eval_episodes
        )

    begun = time.perf_counter()
    program = jax.jit(over_cells(cell, mesh)).lower(keys, params).compile()
    compiled, used = time.perf_counter(), time.process_time()
    _, history = jax.block_until_ready(program(keys, params))
    done, used = time.perf_counter(), time.process_time() - used
    steps = args.seeds * args.steps
    report = {
        "compile_seconds": compiled - begun,
        "run_seconds": done - compiled,
        "cpu_seconds": used,
        "steps": steps,
        "steps_per_second": steps / (done - compiled),
        "devices": mesh.size,
        "final_return": float(history.episode_return[: args.seeds, -1].mean()),
        "evaluations": args.evaluations,
        "eval_episodes": args.eval_episodes,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
