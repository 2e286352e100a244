"""rejax's PPO and DQN on CartPole and SAC on Pendulum, as its README runs them: `jit(vmap(train))`.

Runs with the Python of `.cache/peers/rejax`. Prints one JSON object. The settings are those of
`experiments/compare/_ours.py`; evaluations are as many and as long, through rejax's `eval_callback`. What
cannot be set alike: rejax takes a time limit for a terminal state and has no metric but the evaluations; its
PPO does not anneal the learning rate and clips gradients element by element; its DQN acts at random until
the replay is filled and evaluates with epsilon 0.005; its SAC draws no random actions before it learns.
"""

import argparse
import json
import os
import time
from importlib.metadata import version

SETTINGS = {
    "PPO": {
        "env": "CartPole-v1",
        "agent_kwargs": {"activation": "tanh", "hidden_layer_sizes": (64, 64)},
        "num_envs": 4,
        "num_steps": 128,
        "num_epochs": 4,
        "num_minibatches": 4,
        "learning_rate": 2.5e-4,
        "max_grad_norm": 0.5,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "clip_eps": 0.2,
        "vf_coef": 0.5,
        "ent_coef": 0.01,
    },
    # Two layers of 64 units, which rejax does not let one choose; gradients of that norm are never clipped.
    "DQN": {
        "env": "CartPole-v1",
        "agent_kwargs": {"activation": "relu"},
        "num_envs": 10,
        "buffer_size": 10_000,
        "fill_buffer": 1_000,
        "batch_size": 128,
        "num_epochs": 5,
        "ddqn": True,
        "learning_rate": 1e-3,
        "max_grad_norm": 1e6,
        "gamma": 0.99,
        "polyak": 0.0,
        "target_update_freq": 200,
        "eps_start": 1.0,
        "eps_end": 0.05,
        "exploration_fraction": 0.5,
    },
    "SAC": {
        "env": "Pendulum-v1",
        "agent_kwargs": {"activation": "relu"},
        "hidden_layer_sizes": (64, 64),
        "num_envs": 1,
        "num_epochs": 1,
        "buffer_size": 20_000,
        "fill_buffer": 1_000,
        "batch_size": 256,
        "learning_rate": 1e-3,
        "gamma": 0.99,
        "polyak": 0.995,
        "target_update_freq": 1,
    },
}


def main() -> None:
    """Compile, run, and print seconds and steps/s."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("learner", choices=tuple(SETTINGS))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=524_288, help="environment steps of each seed")
    parser.add_argument("--evaluations", type=int, default=8)
    parser.add_argument("--eval-episodes", type=int, default=16)
    parser.add_argument("--devices", type=int, default=1, help="host devices to spread the seeds over")
    args = parser.parse_args()
    if args.devices > 1:
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={args.devices}"

    import jax
    import rejax  # pyright: ignore[reportMissingImports]
    from jax.sharding import AxisType, PartitionSpec
    from rejax.evaluate import evaluate  # pyright: ignore[reportMissingImports]

    algorithm = getattr(rejax, args.learner).create(
        **SETTINGS[args.learner],
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
        return (state.q_ts if args.learner == "DQN" else state.actor_ts).params, returns

    if args.devices > 1:
        mesh = jax.make_mesh((args.devices,), ("seed",), axis_types=(AxisType.Auto,))
        spec = PartitionSpec("seed")
        train = jax.shard_map(train, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
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
