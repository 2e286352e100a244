"""rejax's SAC on Pendulum, as its README runs it: `jit(vmap(train))` over seeds.

Runs with the Python of `.cache/peers/rejax`. Prints one JSON object. Networks, batch, replay and the number
of updates are ours (`experiments/compare/_ours_sac.py`). What cannot be set alike: rejax takes a time limit
for a terminal state, and draws no random actions before it learns. Evaluations are as many and as long.
"""

import argparse
import json
import time
from importlib.metadata import version


def main() -> None:
    """Compile, run, and print seconds and steps/s."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps of each seed")
    parser.add_argument("--evaluations", type=int, default=1)
    parser.add_argument("--eval-episodes", type=int, default=16)
    args = parser.parse_args()

    import jax
    from rejax import SAC  # pyright: ignore[reportMissingImports]
    from rejax.evaluate import evaluate  # pyright: ignore[reportMissingImports]

    algorithm = SAC.create(
        env="Pendulum-v1",
        agent_kwargs={"activation": "relu"},
        hidden_layer_sizes=(64, 64),
        num_envs=1,
        num_epochs=1,
        buffer_size=20_000,
        fill_buffer=1_000,
        batch_size=256,
        learning_rate=1e-3,
        gamma=0.99,
        polyak=0.995,
        target_update_freq=1,
        total_timesteps=args.steps,
        eval_freq=args.steps // args.evaluations,
        skip_initial_evaluation=True,
    )

    def eval_callback(algo, state, rng):
        limit = algo.env_params.max_steps_in_episode
        return evaluate(algo.make_act(state), rng, algo.env, algo.env_params, args.eval_episodes, limit)

    algorithm = algorithm.replace(eval_callback=eval_callback)

    def train(keys):
        state, (_, returns) = jax.vmap(algorithm.train)(keys)
        return state.actor_ts.params, returns

    keys = jax.random.split(jax.random.PRNGKey(0), args.seeds)
    begun = time.perf_counter()
    program = jax.jit(train).lower(keys).compile()
    compiled, used = time.perf_counter(), time.process_time()
    _, returns = jax.block_until_ready(program(keys))
    done, used = time.perf_counter(), time.process_time() - used
    steps = args.seeds * args.steps
    report = {
        "compile_seconds": compiled - begun,
        "run_seconds": done - compiled,
        "cpu_seconds": used,
        "steps": steps,
        "steps_per_second": steps / (done - compiled),
        "final_return": float(returns[:, -1].mean()),
        "evaluations": int(returns.shape[1]),
        "eval_episodes": int(returns.shape[2]),
        "versions": {name: version(name) for name in ("rejax", "gymnax", "jax", "flax", "optax")},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
