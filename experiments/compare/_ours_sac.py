"""Our SAC on Pendulum through `jaxrl.sweep`, as a process of its own: prints one JSON object.

The settings are those of `peers/rejax_sac.py`; timed as `_ours` times PPO.
"""

import argparse
import json

from experiments.compare import _ours
from experiments.startup import prepare_jax


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps of each seed")
    parser.add_argument("--evaluations", type=int, default=1)
    parser.add_argument("--eval-episodes", type=int, default=16)
    parser.add_argument("--devices", type=int, default=None, help="host devices; one a core by default")
    args = parser.parse_args()
    prepare_jax()

    import envs
    from jaxrl.agents import sac

    config = sac.Config(
        learning_rate=1e-3,
        critic_learning_rate=1e-3,
        total_steps=float(args.steps),
        buffer_size=20_000,
        learning_starts=1_000,
        policy_delay=1,
        hidden_sizes=(64, 64),
    )
    report = _ours.time_sweep(
        sac.make,
        *envs.make("Pendulum-v1"),
        config,
        num_seeds=args.seeds,
        num_steps=args.steps,
        evaluations=args.evaluations,
        eval_episodes=args.eval_episodes,
        num_devices=args.devices,
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
