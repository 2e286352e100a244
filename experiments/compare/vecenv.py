"""`python -m experiments.compare.vecenv [--quick]`: `VecEnv.step` beside vmapped gymnax `env.step`.

CartPole, 1,024 environments, random actions drawn beforehand, one device; each program is a scan whose
results are all summed, so that nothing that a user would read is optimised away. The programs alternate
within one process. Prints a Markdown table, writes `results/vecenv.json`.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from experiments.compare import _report

WANTED = 2.0


def main() -> int:
    """Measure, print the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few steps: does it run?")
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument(
        "--steps", type=int, default=None, help="of each environment; 2,000, or 200 with --quick"
    )
    parser.add_argument("--rounds", type=int, default=None, help="9, or 3 with --quick")
    args = parser.parse_args()
    num_steps = args.steps or (200 if args.quick else 2_000)
    rounds = args.rounds or (3 if args.quick else 9)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jax.numpy as jnp

    actions = jax.random.randint(jax.random.key(1), (num_steps, args.num_envs), 0, 2, jnp.int32)
    programs = {"gymnax `env.step`": gymnax_program(args.num_envs)}
    for name in ("CartPole-v1", "gymnax/CartPole-v1"):
        for mode in ("auto", "pool", "fresh", "first"):
            programs[f"{name}, {mode}"] = vec_program(name, args.num_envs, mode)
    compiled = {
        name: jax.jit(fn).lower(jax.random.key(0), actions).compile() for name, fn in programs.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for i in range(rounds + 1):
        for name in programs if i % 2 else reversed(programs):
            begun = time.perf_counter()
            jax.block_until_ready(compiled[name](jax.random.key(i), actions))
            if i > 0:
                seconds[name].append(time.perf_counter() - begun)
    base = next(iter(seconds.values()))
    rows, results = [], []
    for name, own in seconds.items():
        speed = num_steps * args.num_envs / _report.median(own)
        ratio = _report.median([a / b for a, b in zip(base, own, strict=True)])
        wanted = WANTED if name.endswith("auto") else None
        rows.append((name, f"{speed:,.0f}", f"{ratio:.2f}", "" if wanted is None else f"{wanted:.0f}"))
        results.append(
            {"name": name, "steps_per_second": speed, "ratio": ratio, "wanted": wanted, "seconds": own}
        )
    print(_report.table((f"{args.num_envs:,} environments", "steps/s", "x gymnax", "wanted"), rows))
    _report.write("vecenv", {"num_steps": num_steps, "rows": results}, args.quick)
    return 0


def vec_program(name: str, num_envs: int, mode: Any) -> Callable:
    """Return `(key, actions [T, N]) -> sums` of our `VecEnv` in a reset mode."""
    import jax
    import jax.numpy as jnp

    import envs
    from envs.vector import VecEnv

    env, params = envs.make(name)
    vec = VecEnv(env, num_envs, reset=mode)

    def program(key, actions):
        key_reset, key = jax.random.split(key)
        state, obs = vec.reset(key_reset, params)

        def step(loop, now):
            state, sums = loop
            key, action = now
            state, out = vec.step(key, state, action, params)
            ended = jnp.where(out.episode.done, out.episode.return_, 0)
            read = (out.obs, out.next_obs, out.reward, out.terminated, out.truncated, ended)
            return (state, jax.tree.map(lambda s, x: s + x, sums, read)), None

        zeros = jnp.zeros(num_envs)
        sums = (jnp.zeros_like(obs), jnp.zeros_like(obs), zeros, zeros, zeros, zeros)
        (_, sums), _ = jax.lax.scan(step, (state, sums), (jax.random.split(key, len(actions)), actions))
        return sums

    return program


def gymnax_program(num_envs: int) -> Callable:
    """Return `(key, actions [T, N]) -> sums` of gymnax's own step under `vmap`, which resets by itself."""
    import gymnax
    import jax
    import jax.numpy as jnp

    env, params = gymnax.make("CartPole-v1")

    def program(key, actions):
        key_reset, key = jax.random.split(key)
        obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key_reset, num_envs), params)

        def step(loop, now):
            state, sums = loop
            key, action = now
            obs, state, reward, terminated, truncated, _ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
                jax.random.split(key, num_envs), state, action, params
            )
            read = (obs, reward, terminated, truncated)
            return (state, jax.tree.map(lambda s, x: s + x, sums, read)), None

        zeros = jnp.zeros(num_envs)
        sums = (jnp.zeros_like(obs), zeros, zeros, zeros)
        (_, sums), _ = jax.lax.scan(step, (state, sums), (jax.random.split(key, len(actions)), actions))
        return sums

    return program


if __name__ == "__main__":
    sys.exit(main())
