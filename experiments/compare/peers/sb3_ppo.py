"""stable-baselines3's PPO on CartPole with CleanRL's settings: one agent, 4 environments, CPU.

Runs with the Python of `.cache/peers/sb3`. Prints one JSON object. Nothing is evaluated, which favours it.
"""

import argparse
import json
import time
from importlib.metadata import version


def main() -> None:
    """Train, and print seconds and steps/s."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=51_200)
    parser.add_argument(
        "--threads", type=int, default=1, help="torch's; more of them collapse on a busy machine"
    )
    args = parser.parse_args()

    import torch  # pyright: ignore[reportMissingImports]
    from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.env_util import make_vec_env  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(args.threads)
    agent = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=4, seed=0),
        learning_rate=lambda remaining: 2.5e-4 * remaining,
        n_steps=128,
        batch_size=128,
        n_epochs=4,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        clip_range_vf=0.2,
        ent_coef=0.01,
        vf_coef=0.5,
        max_grad_norm=0.5,
        policy_kwargs={
            "net_arch": {"pi": [64, 64], "vf": [64, 64]},
            "activation_fn": torch.nn.Tanh,
            "optimizer_kwargs": {"eps": 1e-5},
        },
        device="cpu",
        seed=0,
    )
    agent.learn(512)
    begun, used = time.perf_counter(), time.process_time()
    agent.learn(args.steps)
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    steps = -(-args.steps // 512) * 512
    report = {
        "compile_seconds": 0.0,
        "run_seconds": seconds,
        "cpu_seconds": used,
        "steps": steps,
        "steps_per_second": steps / seconds,
        "threads": args.threads,
        "versions": {name: version(name) for name in ("stable-baselines3", "torch", "gymnasium", "numpy")},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
