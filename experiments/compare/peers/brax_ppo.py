"""Brax's own PPO on one of its tasks: prints one JSON object. `physics.py` starts it, with our Python.

Brax 0.14.2 calls `jax.device_put_replicated`, which jax 0.10 removed; this script, and nothing else here,
puts a replacement in its place. Seconds are Brax's own "training/walltime", without evaluations. It compiles
within the first chunk between two evaluations: of that, what is above the mean of the others is compilation.
"""

import json
import sys
import warnings
from itertools import pairwise

from experiments.compare.physics import EVAL_EPISODES, EVALUATIONS


def main() -> None:
    """Train, and print seconds, steps/s and the curve."""
    wanted = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")

    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    def replicate(tree, devices):
        def one(x):
            sharding = NamedSharding(Mesh(devices, ("i",)), PartitionSpec("i"))
            return jax.device_put(jnp.stack([x] * len(devices)), sharding)

        return jax.tree.map(one, tree)

    jax.device_put_replicated = replicate
    import brax.envs
    from brax.training.agents.ppo import train as ppo

    curve, walls = [], []

    def progress(steps, metrics):
        curve.append(
            {
                "steps": int(steps),
                "mean": float(metrics["eval/episode_reward"]),
                "deviation": float(metrics["eval/episode_reward_std"]),
            }
        )
        walls.append(float(metrics.get("training/walltime", 0.0)))
        print(f"{steps:>12,} steps, {walls[-1]:8.1f} s, return {curve[-1]['mean']:.1f}", file=sys.stderr)

    names = ("num_timesteps", "reward_scaling", "unroll_length", "num_minibatches", "num_updates_per_batch")
    names += ("discounting", "learning_rate", "entropy_cost", "num_envs", "batch_size", "action_repeat")
    ppo.train(
        environment=brax.envs.get_environment(wanted["task"], backend=wanted["backend"]),
        **{name: wanted[name] for name in names},
        episode_length=1000,
        normalize_observations=True,
        num_evals=EVALUATIONS + 1,
        num_eval_envs=EVAL_EPISODES,
        deterministic_eval=True,
        seed=wanted["seed"],
        progress_fn=progress,
    )
    chunks = [after - before for before, after in pairwise(walls)]
    chunk = sum(chunks[1:]) / len(chunks[1:])
    report = {
        "compile_seconds": chunks[0] - chunk,
        "run_seconds": chunk * len(chunks),
        "steps": curve[-1]["steps"],
        "steps_per_second": curve[-1]["steps"] / (chunk * len(chunks)),
        "curve": curve,
        "device": jax.devices()[0].device_kind,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
