"""`python -m experiments.compare.physics [TASK ...]`: PPO on Brax's robots, ours beside Brax's own.

Both learn with the settings that Brax publishes for a task, scaled alike: `--scale 8`, the default without an
accelerator, divides environments and minibatches by 8 and leaves their number, passes and networks. On a GPU
one command fills the whole table: `python -m experiments.compare.physics all --seeds 0 1 2 3 4 --scale 1`.
Every run is a process of its own and its result is kept under `.cache/compare/physics`, so that what was
interrupted goes on; `--fresh` begins anew. Prints a Markdown table, writes `results/physics-<task>.json`.
`--speed` compares steps/s alone: short runs, in turn, to be started on a quiet machine; it writes
`results/physics-<task>-speed.json`.

Scores are means over episodes of the greedy policy and over seeds, the last with its 95 % interval; seconds
and steps/s are those of training alone. Compilation is counted apart: of Brax as the seconds before its
first update that are no evaluation.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.compare import _report
from jaxrl import stats

ROOT = Path(__file__).resolve().parents[2]
KEPT = _report.QUICK_RESULTS / "physics"
CONTESTANTS = ("jaxrl", "brax")
EVALUATIONS = 8
EVAL_EPISODES = 32


@dataclass(frozen=True)
class Setting:
    """What Brax publishes for a task, in Brax's words, and the length of the run.

    Attributes:
      num_timesteps: environment steps, those of repeated actions included.
      reward_scaling: factor of every reward.
      unroll_length: steps over which advantages are estimated.
      num_minibatches: of one pass.
      num_updates_per_batch: passes over a batch.
      discounting: gamma.
      learning_rate: of Adam.
      entropy_cost: weight of the entropy bonus.
      num_envs: environments.
      batch_size: unrolls in a minibatch.
      action_repeat: steps for which an action is held.
      backend: the engine.
    """

    num_timesteps: int
    reward_scaling: float
    unroll_length: int
    num_minibatches: int
    num_updates_per_batch: int
    discounting: float
    learning_rate: float
    entropy_cost: float
    num_envs: int
    batch_size: int
    action_repeat: int = 1
    backend: str = "spring"

    @property
    def steps_per_iteration(self) -> int:
        """Environment steps of one rollout."""
        return self.batch_size * self.num_minibatches * self.unroll_length * self.action_repeat

    def scaled(self, scale: int) -> "Setting":
        """Return the setting with environments and minibatches smaller by `scale`.

        Raises:
          ValueError: if `scale` does not divide both.
        """
        if scale < 1 or self.num_envs % scale or self.batch_size % scale:
            sizes = f"num_envs = {self.num_envs} and batch_size = {self.batch_size}"
            raise ValueError(f"`scale` must divide {sizes}, got {scale}")
        return replace(self, num_envs=self.num_envs // scale, batch_size=self.batch_size // scale)


# Source: Brax, notebooks/training.ipynb, which trains all with PPO but hopper and walker2d, for which it has
# settings of SAC only: these two get PPO with the settings of halfcheetah.
SETTINGS = {
    "inverted_pendulum": Setting(2_000_000, 10, 5, 32, 4, 0.97, 3e-4, 1e-2, 2048, 1024),
    "inverted_double_pendulum": Setting(20_000_000, 10, 5, 32, 4, 0.97, 3e-4, 1e-2, 2048, 1024),
    "ant": Setting(50_000_000, 10, 5, 32, 4, 0.97, 3e-4, 1e-2, 4096, 2048),
    "halfcheetah": Setting(50_000_000, 1, 20, 32, 8, 0.95, 3e-4, 1e-3, 2048, 512),
    "hopper": Setting(50_000_000, 1, 20, 32, 8, 0.95, 3e-4, 1e-3, 2048, 512),
    "walker2d": Setting(50_000_000, 1, 20, 32, 8, 0.95, 3e-4, 1e-3, 2048, 512),
    "reacher": Setting(50_000_000, 5, 50, 32, 8, 0.95, 3e-4, 1e-3, 2048, 256, action_repeat=4),
    "pusher": Setting(50_000_000, 5, 30, 16, 8, 0.95, 3e-4, 1e-2, 2048, 512),
    "humanoid": Setting(50_000_000, 0.1, 10, 32, 8, 0.97, 3e-4, 1e-3, 2048, 1024),
    "humanoidstandup": Setting(100_000_000, 0.1, 15, 32, 8, 0.97, 6e-4, 1e-2, 2048, 1024),
}


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, print a table a task and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=["ant", "halfcheetah"], metavar="TASK")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=CONTESTANTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="0; with --speed 0, 1 and 2")
    parser.add_argument(
        "--steps", type=_report.positive, default=None, help="those that Brax publishes by default"
    )
    parser.add_argument("--scale", type=int, default=None, help="8 without an accelerator, else 1")
    parser.add_argument("--backend", default=None, help="the engine, for all tasks")
    parser.add_argument("--fresh", action="store_true", help="forget the runs that are kept")
    parser.add_argument("--speed", action="store_true", help="short runs anew, one for each of three seeds")
    parser.add_argument("--quick", action="store_true", help="two rollouts: does it run?")
    args = parser.parse_args(arguments)
    tasks = list(SETTINGS) if args.tasks == ["all"] else args.tasks
    if unknown := [task for task in tasks if task not in SETTINGS]:
        print(f"TASK must be among all, {', '.join(SETTINGS)}, got {unknown[0]!r}", file=sys.stderr)
        return 2
    scale = args.scale or (1 if _has_accelerator() else 8)
    seeds = args.seeds or ([0, 1, 2] if args.speed else [0])
    for task in tasks:
        setting = SETTINGS[task].scaled(scale)
        setting = replace(setting, backend=args.backend or setting.backend)
        shortest = EVALUATIONS * setting.steps_per_iteration
        steps = 2 * shortest if args.quick else args.steps or (shortest if args.speed else None)
        setting = replace(setting, num_timesteps=steps or setting.num_timesteps)
        runs: dict[str, list[Any]] = {}
        try:
            for seed in seeds:
                for contestant in args.contestants:
                    result = run(contestant, task, setting, seed, args.fresh or args.speed)
                    runs.setdefault(contestant, []).append(result)
        except subprocess.CalledProcessError as error:
            print(f"{' '.join(map(str, error.cmd))} failed:\n{(error.stderr or '')[-3000:]}", file=sys.stderr)
            return 1
        results = {"setting": asdict(setting), "scale": scale, "seeds": seeds, "runs": runs}
        report(task, results)
        if args.speed and set(runs) == set(CONTESTANTS):
            results["ratio"] = ratio(runs)
        _report.write(f"physics-{task}{'-speed' * args.speed}", results, args.quick)
    return 0


def run(contestant: str, task: str, setting: Setting, seed: int, fresh: bool = False) -> dict[str, Any]:
    """Return the result of one run, kept or made now by a process of its own.

    Raises:
      subprocess.CalledProcessError: if that process failed.
    """
    path = (
        KEPT / f"{contestant}-{task}-{setting.backend}-{setting.num_envs}-{setting.num_timesteps}-{seed}.json"
    )
    wanted = {"task": task, "seed": seed, **asdict(setting)}
    if path.exists() and not fresh:
        kept = json.loads(path.read_text())
        if kept["wanted"] == wanted:
            return kept
    print(f"{contestant} on {task}, seed {seed} ...", file=sys.stderr, flush=True)
    module = {"jaxrl": "experiments.compare._physics", "brax": "experiments.compare.peers.brax_ppo"}
    command = (sys.executable, "-m", module[contestant], json.dumps(wanted))
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result = _report.last_json(done.stdout) | {"wanted": wanted}
    KEPT.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result))
    return result


def report(task: str, results: dict[str, Any]) -> None:
    """Print the table of a task."""
    setting, runs = results["setting"], results["runs"]
    header = ("", "compile s", "training s", "steps/s", *(_millions(x) for x in _steps(runs)))
    rows = [_row(name, own) for name, own in runs.items()]
    seeds = f"{len(results['seeds'])} seeds"
    title = f"{task} on {setting['backend']}, {setting['num_envs']} environments, {seeds}"
    print(f"\n### {title}: mean return by million steps\n\n{_report.table(header, rows)}\n", flush=True)


def ratio(runs: dict[str, list[Any]]) -> dict[str, float]:
    """Return, and print, our steps/s over Brax's in the run that came next: median, least and greatest."""
    speeds = ([run["steps_per_second"] for run in runs[contestant]] for contestant in CONTESTANTS)
    ratios = sorted(ours / theirs for ours, theirs in zip(*speeds, strict=True))
    middle = _report.median(ratios)
    print(f"ours runs at {middle:.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f}) Brax's steps/s")
    return {"median": middle, "min": ratios[0], "max": ratios[-1]}


def _row(name: str, own: list[dict[str, Any]]) -> tuple[str, ...]:
    def middle(key: str) -> float:
        return _report.median([result[key] for result in own])

    curve = np.array([[point["mean"] for point in result["curve"]] for result in own])
    last = stats.mean_interval(curve[:, -1])
    bounds = "" if len(own) == 1 else f" [{last.low:.0f}, {last.high:.0f}]"
    return (
        name,
        f"{middle('compile_seconds'):.0f}",
        f"{middle('run_seconds'):.0f}",
        f"{middle('steps_per_second'):,.0f}",
        *(f"{mean:.0f}" for mean in curve.mean(axis=0)[:-1]),
        f"{last.estimate:.0f}{bounds}",
    )


def _steps(runs: dict[str, list[Any]]) -> list[int]:
    return [point["steps"] for point in next(iter(runs.values()))[0]["curve"]]


def _millions(steps: int) -> str:
    return f"{steps / 1e6:.2g}"


def _has_accelerator() -> bool:
    import jax

    return jax.default_backend() != "cpu"


if __name__ == "__main__":
    sys.exit(main())
