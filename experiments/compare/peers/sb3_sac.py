"""stable-baselines3's SAC on Pendulum with the settings of `rejax_learner.py`: one agent, on the CPU.

Runs with the Python of `.cache/peers/sb3`. Prints one JSON object. Nothing is evaluated, which favours it.
"""

import argparse
import json
import time
from importlib.metadata import version


def main() -> None:
    """Train, and print seconds and steps/s."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5_000, help="environment steps, the first 1,000 random")
    parser.add_argument(
        "--threads", type=int, default=1, help="torch's; more of them collapse on a busy machine"
    )
    args = parser.parse_args()

    import torch  # pyright: ignore[reportMissingImports]
    from stable_baselines3 import SAC  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.env_util import make_vec_env  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(args.threads)
    agent = SAC(
        "MlpPolicy",
        make_vec_env("Pendulum-v1", n_envs=1, seed=0),
        learning_rate=1e-3,
        buffer_size=20_000,
        learning_starts=1_000,
        batch_size=256,
        tau=0.005,
        gamma=0.99,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": [64, 64]},
        device="cpu",
        seed=0,
    )
    begun, used = time.perf_counter(), time.process_time()
    agent.learn(args.steps)
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    report = {
        "compile_seconds": 0.0,
        "run_seconds": seconds,
        "cpu_seconds": used,
        "steps": args.steps,
        "steps_per_second": args.steps / seconds,
        "threads": args.threads,
        "versions": {name: version(name) for name in ("stable-baselines3", "torch", "gymnasium", "numpy")},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
