"""The loop in which every replay is timed: add a step of ten environments and draw 256 transitions.

It is one program, so that calls from Python are not measured, and its state is donated, so that a replay can
be written in place. Both our process and the peers' run it, hence it imports nothing but jax.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

NUM_ENVS = 10
BATCH_SIZE = 256
FRAME = (84, 84, 4)
MAX_SECONDS = 10.0
PRIORITY_EXPONENT = 0.6
IMPORTANCE_EXPONENT = 0.4


def arguments(description: str | None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--capacity", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--kinds", nargs="+", default=["uniform", "prioritized"])
    parser.add_argument("--frames", type=int, default=0, help="only the bytes of so many 84 x 84 x 4 frames")
    parser.add_argument("--iterations", type=int, default=200, help="of a call")
    parser.add_argument("--calls", type=int, default=10, help="at most; the fastest is reported")
    return parser.parse_args()


def example(obs_shape: tuple[int, ...], obs_dtype: str) -> dict[str, Any]:
    """Return one step of one environment."""
    import jax.numpy as jnp

    return {
        "obs": jnp.zeros(obs_shape, obs_dtype),
        "action": jnp.int32(0),
        "reward": jnp.float32(0),
        "done": jnp.zeros((), bool),
    }


def run(args: argparse.Namespace, make: Callable, packages: tuple[str, ...]) -> None:
    """Time a replay in every size asked for and print one JSON object a line.

    Args:
      args: as `arguments` returned them.
      make: `(kind, capacity, obs_shape, obs_dtype) -> (init, add_and_draw)`, of one seed: `init()` is a
        full replay, and `add_and_draw(state, key, steps, t) -> (state, drawn)` adds steps of `NUM_ENVS`
        environments, draws `BATCH_SIZE` transitions and, if prioritised, sets their priorities. t counts
        steps and is shared.
      packages: whose versions are reported.
    """
    import jax

    versions = {name: version(name) for name in packages}
    if args.frames:
        state = jax.eval_shape(make("uniform", args.frames, FRAME, "uint8")[0])
        state_bytes = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))
        print(
            json.dumps({"frames": args.frames, "state_bytes": state_bytes, "versions": versions}), flush=True
        )
        return
    for kind in args.kinds:
        for capacity in args.capacity:
            for seeds in args.seeds:
                report = {"kind": kind, "capacity": capacity, "seeds": seeds}
                init, add_and_draw = make(kind, capacity, (4,), "float32")
                report |= measure(init, add_and_draw, capacity, seeds, args.iterations, args.calls)
                print(json.dumps(report | {"versions": versions}), flush=True)


def measure(
    init: Callable, add_and_draw: Callable, capacity: int, seeds: int, iterations: int, calls: int
) -> dict[str, Any]:
    """Return microseconds of one `add_and_draw` of all seeds, wall and CPU, and the program's bytes.

    After `MAX_SECONDS` no further call begins, but for the second.
    """
    import jax
    import jax.numpy as jnp

    def program(state, key, start):
        keys = jax.random.split(key, (iterations, seeds))
        one = jax.tree.map(
            lambda x: jnp.zeros((seeds, NUM_ENVS, *x.shape), x.dtype), example((4,), "float32")
        )

        def body(i, loop):
            state, total = loop
            number = (i % 7).astype(jnp.float32)
            steps = one | {"obs": one["obs"] + number, "reward": one["reward"] + number}
            state, drawn = jax.vmap(add_and_draw, in_axes=(0, 0, 0, None))(state, keys[i], steps, start + i)
            # Every number drawn is used, or the compiler would not draw it.
            return state, total + sum(jnp.sum(x, dtype=jnp.float32) for x in jax.tree.leaves(drawn))

        return jax.lax.fori_loop(0, iterations, body, (state, jnp.float32(0)))

    start = jnp.int32(capacity // NUM_ENVS)
    state = jax.jit(jax.vmap(lambda _: init()))(jnp.arange(seeds))
    begun = time.perf_counter()
    compiled = jax.jit(program, donate_argnums=0).lower(state, jax.random.key(0), start).compile()
    compile_seconds = time.perf_counter() - begun
    wall, cpu = [], []
    for i in range(calls):
        if i > 1 and sum(wall) > MAX_SECONDS:
            break
        before = time.perf_counter(), time.process_time()
        state, _ = jax.block_until_ready(compiled(state, jax.random.key(i), start))
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
    memory: Any = compiled.memory_analysis()
    return {
        "compile_seconds": compile_seconds,
        "microseconds": min(wall) / iterations * 1e6,
        "cpu_microseconds": min(cpu) / iterations * 1e6,
        "state_bytes": sum(x.nbytes for x in jax.tree.leaves(state)),
        "temporary_bytes": memory.temp_size_in_bytes,
    }
