"""`python -m experiments.compare.envs [--quick] [--only ID ...]`: steps/s of every native environment.

Two sections. "speed": each native environment in a `VecEnv` at 1, 64 and 1,024 instances, beside the same
one of gymnax, stepped with its own auto-reset; where there is only a similar one (navix), the row says so.
The two do the same work: where gymnax draws a bandit's arms for each episode, or shows a picture, the ratio
is that of ours set up to do so too ("alike"); where ours draws its start and gymnax can, it is asked to.
"resets": pool mode beside fresh mode where first states are random. Actions are drawn beforehand. Every step
keeps the observation that a policy would read and the true next one, and sums rewards and ends; so nothing
that a user would read is optimised away. Contestants take turns in one process; a ratio is the median over
rounds.

A peer that is not installed is left out, and the script says so. Prints Markdown tables, and writes
`results/envs.json`: rows that were measured replace their older selves there, the others stay.
"""

import argparse
import contextlib
import fnmatch
import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.compare import _report

SIZES = (1, 64, 1024)
SECTIONS = ("speed", "resets")
NUM_ACTIONS = 64

# The same environment elsewhere: our id, the peer's package, its id, its options; "params" are gymnax's.
PEERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Acrobot-v1": ("gymnax", "Acrobot-v1", {}),
    "BernoulliBandit-v1": ("gymnax", "BernoulliBandit-misc", {}),
    "CartPole-v1": ("gymnax", "CartPole-v1", {}),
    "Catch-bsuite-v1": ("gymnax", "Catch-bsuite", {}),
    "DeepSea-v1": ("gymnax", "DeepSea-bsuite", {"size": 10}),
    "DiscountingChain-bsuite-v1": ("gymnax", "DiscountingChain-bsuite", {}),
    # Ours starts anywhere. By default gymnax's start is a constant, and the drawing of one is compiled away.
    "FourRooms-v1": ("gymnax", "FourRooms-misc", {"params": {"resample_init_pos": True}}),
    "FrozenLake4x4-v1": ("gymnax", "FrozenLake-misc", {"map_name": "4x4"}),
    "FrozenLake8x8-v1": ("gymnax", "FrozenLake-misc", {"map_name": "8x8"}),
    "GaussianBandit-v1": ("gymnax", "GaussianBandit-misc", {}),
    "MemoryChain-v1": ("gymnax", "MemoryChain-bsuite", {"params": {"memory_length": 10}}),
    "MinAtar-Asterix-v1": ("gymnax", "Asterix-MinAtar", {}),
    "MinAtar-Breakout-v1": ("gymnax", "Breakout-MinAtar", {}),
    "MinAtar-Freeway-v1": ("gymnax", "Freeway-MinAtar", {}),
    "MinAtar-Seaquest-v1": ("gymnax", "Seaquest-MinAtar", {}),
    "MinAtar-SpaceInvaders-v1": ("gymnax", "SpaceInvaders-MinAtar", {}),
    "MountainCar-v1": ("gymnax", "MountainCar-v0", {}),
    "MountainCarContinuous-v1": ("gymnax", "MountainCarContinuous-v0", {}),
    "Pendulum-v1": ("gymnax", "Pendulum-v1", {}),
    "SimpleBandit-bsuite-v1": ("gymnax", "SimpleBandit-bsuite", {}),
    "UmbrellaChain-bsuite-v1": (
        "gymnax",
        "UmbrellaChain-bsuite",
        {"n_distractor": 20, "params": {"chain_length": 20}},
    ),
    # Not the same: navix follows MiniGrid, with an agent that turns, sees a part of the grid, and picks up.
    "KeyDoor-v1": ("navix", "Navix-DoorKey-6x6-v0", {}),
}
# Ours as the peer has it, where ours by itself does less: our options, and what draws an episode's params.
ALIKE: dict[str, tuple[dict[str, Any], Callable | None]] = {
    "BernoulliBandit-v1": ({"num_arms": 2}, lambda env: env.draw),
    "DeepSea-v1": ({"observation": "image"}, None),
    "GaussianBandit-v1": ({"num_arms": 2}, lambda env: env.draw),
    "SimpleBandit-bsuite-v1": ({}, lambda env: _shuffled),
}
WANTED = dict.fromkeys(("Asterix", "Seaquest", "SpaceInvaders"), 2.0)
NOTES = {
    "KeyDoor-v1": "similar, not the same",
}


@dataclass(frozen=True)
class World:
    """A batch of environments, ours or a peer's, that reset by themselves.

    Attributes:
      reset: `(key) -> (state, obs)`.
      step: `(key, state, action) -> (state, (obs, next_obs), (reward, done))`.
      actions: `(key) -> [NUM_ACTIONS, N, ...]` random actions.
    """

    reset: Callable[[Any], Any]
    step: Callable[[Any, Any, Any], Any]
    actions: Callable[[Any], Any]


def main() -> int:
    """Measure, print the tables, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short: does it run?")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--only", nargs="+", default=["*"], help="ids, or patterns such as 'MinAtar-*'")
    parser.add_argument("--rounds", type=_report.positive, default=None, help="7, or 2 with --quick")
    parser.add_argument("--show", action="store_true", help="measure nothing, print what is stored")
    args = parser.parse_args()
    rounds = args.rounds or (2 if args.quick else 7)
    seconds = 0.005 if args.quick else 0.04
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    import envs

    jax.config.update("jax_enable_compilation_cache", False)
    stored = _stored(args.quick)
    missing = {package for package, _, _ in PEERS.values() if importlib.util.find_spec(package) is None}
    for package in sorted(missing):
        print(f"{package} is not installed: its columns stay empty\n", flush=True)

    def wanted(name: str) -> bool:
        return not args.show and any(fnmatch.fnmatchcase(name, pattern) for pattern in args.only)

    sections: dict[str, dict[str, Callable]] = {
        "speed": dict.fromkeys(envs.names("native"), _speed_programs),
        "resets": dict.fromkeys(_RESETS, _reset_programs),
    }
    for section in args.sections:
        for name, programs in sections[section].items():
            if wanted(name):
                row = _measure(programs(name, missing), rounds, seconds)
                stored = _stored(args.quick)  # read anew, for another process may have added to it
                rows = {**stored.get(section, {}), name: row}
                stored[section] = {name: rows[name] for name in sections[section] if name in rows}
                print(f"{section} {name}: {_summary(row)}", file=sys.stderr, flush=True)
                # Written after each row, so that what was measured outlives an interruption.
                with contextlib.redirect_stdout(sys.stderr):
                    _report.write("envs", stored, args.quick)
    print(speed_table(stored.get("speed", {})), "\n")
    print(resets_table(stored.get("resets", {})))
    return 0


# What is measured ----------------------------------------------------------------------------------------


def native(name: str, num_envs: int, mode: Any = "auto", draw: Callable | None = None, **options) -> World:
    """Return our environment in a `VecEnv`; with `draw`, each episode has other parameters."""
    import envs

    env, params = envs.make(name, **options)
    return _vec_world(envs.VecEnv(env, num_envs, reset=mode, params_dist=draw and draw(env)), params)


def _vec_world(vec: Any, params: Any) -> World:
    def step(key, state, action):
        state, out = vec.step(key, state, action, params)
        return state, (out.obs, out.next_obs), (out.reward, out.episode.done)

    space = vec.action_space(params)
    return World(
        reset=lambda key: vec.reset(key, params), step=step, actions=_sampler(space.sample, vec.num_envs)
    )


def gymnax(name: str, num_envs: int, options: Mapping[str, Any]) -> World:
    """Return gymnax's environment under `vmap`, with the reset that its `step` has."""
    import gymnax as package
    import jax

    changes = options.get("params", {})
    env, params = package.make(name, **{key: x for key, x in options.items() if key != "params"})
    params = params.replace(**changes)

    def reset(key):
        obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, num_envs), params)
        return state, obs

    def step(key, state, action):
        keys = jax.random.split(key, num_envs)
        obs, state, reward, terminated, truncated, info = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            keys, state, action, params
        )
        return state, (obs, info["final_observation"]), (reward, terminated | truncated)

    return World(reset=reset, step=step, actions=_sampler(env.action_space(params).sample, num_envs))


def navix(name: str, num_envs: int, options: Mapping[str, Any]) -> World:
    """Return navix's environment under `vmap`, with the reset that its `step` has."""
    import jax

    env = importlib.import_module("navix").make(name, **options)

    def reset(key):
        timestep = jax.vmap(env.reset)(jax.random.split(key, num_envs))
        return timestep, timestep.observation

    def step(key, state, action):
        state = jax.vmap(env.step)(state, action)
        return state, (state.observation, state.observation), (state.reward, state.step_type > 0)

    return World(reset=reset, step=step, actions=_sampler(env.action_space.sample, num_envs))


def _sampler(sample: Callable, num_envs: int) -> Callable:
    import jax

    return lambda key: jax.vmap(jax.vmap(sample))(jax.random.split(key, (NUM_ACTIONS, num_envs)))


def program(world: World) -> Callable:
    """Return `(key, actions, num_steps) -> what was read`; the number of steps is traced."""
    import jax
    import jax.numpy as jnp

    def run(key, actions, num_steps):
        key_reset, key = jax.random.split(key)
        state, obs = world.reset(key_reset)
        actions_of = jax.tree.map(lambda x: x[0], actions)
        types = jax.eval_shape(world.step, key, state, actions_of)[1:]
        first = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), types)
        sums = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), types[1])

        def step(i, loop):
            state, _, sums = loop
            action = jax.tree.map(lambda x: x[i % NUM_ACTIONS], actions)
            state, seen, read = world.step(jax.random.fold_in(key, i), state, action)
            state = jax.tree.map(lambda new, old: new.astype(old.dtype), state, loop[0])
            return state, seen, jax.tree.map(lambda s, x: s + x, sums, read)

        _, seen, sums = jax.lax.fori_loop(0, num_steps, step, (state, first[0], sums))
        return seen, sums, obs

    return run


def _speed_programs(name: str, missing: set[str]) -> dict[tuple[str, int], Callable]:
    makers: dict[str, Callable[[int], World]] = {"ours": lambda n: native(name, n)}
    package, id, options = PEERS.get(name, ("", "", {}))
    if package and package not in missing:
        peer = {"gymnax": gymnax, "navix": navix}[package]
        makers[package] = lambda n: peer(id, n, options)
        if name in ALIKE:
            own, draw = ALIKE[name]
            makers["alike"] = lambda n: native(name, n, draw=draw, **own)
    return {(who, n): lambda make=make, n=n: make(n) for n in SIZES for who, make in makers.items()}


def _shuffled(key: Any, params: Any) -> Any:
    import jax

    return params.replace(rewards=jax.random.permutation(key, params.rewards))


def _own_draw(env: Any) -> Callable:
    return env.draw


def _random_lake(env: Any) -> Callable:
    from envs.gridworlds import random_lake

    return random_lake


# Our id, and what draws the parameters of each episode.
_RESETS: dict[str, tuple[str, Callable | None]] = {
    "CartPole-v1": ("CartPole-v1", None),
    "FrozenLake8x8-v1, a random map an episode": ("FrozenLake8x8-v1", _random_lake),
    "KeyDoor-v1, a random maze an episode": ("KeyDoor-v1", _own_draw),
    "MultiRoom-v1, random rooms an episode": ("MultiRoom-v1", _own_draw),
}


def _reset_programs(name: str, missing: set[str]) -> dict[tuple[str, int], Callable]:
    id, draw = _RESETS[name]
    n = SIZES[-1]
    programs: dict[tuple[str, int], Callable] = {
        (mode, n): lambda mode=mode: native(id, n, mode, draw) for mode in ("pool", "fresh", "first")
    }
    if draw is None and "gymnax" not in missing:
        programs["gymnax", n] = lambda: gymnax(PEERS[id][1], n, PEERS[id][2])
    return programs


# Measuring -----------------------------------------------------------------------------------------------


def _measure(programs: dict[tuple[str, int], Callable], rounds: int, seconds: float) -> dict[str, Any]:
    """Return, for each size and contestant, steps/s of every round, and seconds of compilation."""
    import jax

    sizes: dict[str, Any] = {}
    for n in sorted({n for _, n in programs}):
        runs: dict[str, Callable[[int], float]] = {}
        compile_seconds = {}
        for who in [who for who, size in programs if size == n]:
            runs[who], compile_seconds[who] = _compiled(programs[who, n]())
        lengths = {who: _length(run, seconds) for who, run in runs.items()}
        speeds: dict[str, list[float]] = {who: [] for who in runs}
        for i in range(rounds):
            for who in runs if i % 2 else reversed(runs):
                speeds[who].append(n * lengths[who] / runs[who](lengths[who]))
        sizes[str(n)] = {
            who: {"steps_per_second": speeds[who], "compile_seconds": compile_seconds[who]} for who in runs
        }
        jax.clear_caches()
    return {"load_average": round(os.getloadavg()[0], 2), "sizes": sizes}


def _compiled(world: World) -> tuple[Callable[[int], float], float]:
    """Return `(number of steps) -> seconds that they take`, and the seconds of compilation."""
    import jax

    key = jax.random.key(0)
    actions = jax.jit(world.actions)(jax.random.key(1))
    begun = time.perf_counter()
    compiled = jax.jit(program(world)).lower(key, actions, 1).compile()
    compile_seconds = time.perf_counter() - begun

    def run(num_steps: int) -> float:
        begun = time.perf_counter()
        jax.block_until_ready(compiled(key, actions, num_steps))
        return time.perf_counter() - begun

    return run, compile_seconds


def _length(run: Callable[[int], float], seconds: float) -> int:
    """Return how many steps take about so many seconds."""
    run(1)
    length = 8
    while (taken := run(length)) < seconds / 4 and length < 10**6:
        length *= 4
    return max(1, round(length * seconds / taken))


# Tables --------------------------------------------------------------------------------------------------


def speed_table(rows: Mapping[str, Any]) -> str:
    """Return a Markdown table of the section "speed"."""
    header = [
        "",
        *(f"{n:,}" for n in SIZES),
        "beside",
        *(f"ratio at {n:,}" for n in SIZES),
        "wanted",
        "compile",
    ]
    lines = []
    for name, row in rows.items():
        ours = [row["sizes"][str(n)]["ours"] for n in SIZES]
        contestants = row["sizes"][str(SIZES[0])]
        peer = next((who for who in contestants if who not in ("ours", "alike")), "")
        same = "alike" if "alike" in contestants else "ours"
        ratios = [f"{ratio(row['sizes'][str(n)], same, peer):.2f}" if peer else "" for n in SIZES]
        least = next((f"{x:.0f}" for part, x in WANTED.items() if part in name), "1" if peer else "")
        beside = f"{peer} ({NOTES[name]})" if peer and name in NOTES else peer
        speeds = (f"{_report.median(x['steps_per_second']):,.0f}" for x in ours)
        lines.append((name, *speeds, beside, *ratios, least, f"{ours[-1]['compile_seconds']:.1f} s"))
    return _report.table(header, lines)


def resets_table(rows: Mapping[str, Any]) -> str:
    """Return a Markdown table of the section "resets"."""
    n = str(SIZES[-1])
    header = (
        f"{SIZES[-1]:,} environments, steps/s",
        "pool",
        "fresh",
        "first",
        "gymnax",
        "pool x fresh",
        "x gymnax",
    )
    lines = []
    for name, row in rows.items():
        modes = row["sizes"][n]
        speeds = (
            f"{_report.median(modes[who]['steps_per_second']):,.0f}" if who in modes else ""
            for who in header[1:5]
        )
        beside = f"{ratio(modes, 'pool', 'gymnax'):.2f}" if "gymnax" in modes else ""
        lines.append((name, *speeds, f"{ratio(modes, 'pool', 'fresh'):.2f}", beside))
    return _report.table(header, lines)


def ratio(contestants: Mapping[str, Any], ours: str, other: str) -> float:
    """Return the median over rounds of how many times as fast `ours` is as `other`.

    >>> ratio({"a": {"steps_per_second": [2, 6]}, "b": {"steps_per_second": [1, 2]}}, "a", "b")
    2.5
    """
    pairs = zip(contestants[ours]["steps_per_second"], contestants[other]["steps_per_second"], strict=True)
    return _report.median([a / b for a, b in pairs])


def _summary(row: Mapping[str, Any]) -> str:
    def one(size: str, who: str) -> str:
        return f"{who} x{size} {_report.median(row['sizes'][size][who]['steps_per_second']):,.0f}"

    return ", ".join(one(size, who) for size in row["sizes"] for who in row["sizes"][size])


def _stored(quick: bool) -> dict[str, Any]:
    path = (_report.QUICK_RESULTS if quick else _report.RESULTS) / "envs.json"
    return {k: v for k, v in json.loads(path.read_text()).items() if k in SECTIONS} if path.exists() else {}


if __name__ == "__main__":
    sys.exit(main())
