"""One agent on bsuite, from the command line to files: trains what is missing, then reports on all of it."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bsuite import report, runner
from experiments.bsuite.scores import Log
from experiments.bsuite.suite import EXPERIMENTS, Group, groups, images
from experiments.spec import show
from experiments.store import StoreError, make_folder, write_json, write_text

Say = Callable[[str], None]


def run(
    agent_name: str,
    folder: Path,
    *,
    profile: str = "quick",
    names: Sequence[str] = (),
    source: str = "auto",
    values: Mapping[str, Any] | None = None,
    seed: int = 0,
    say: Say = print,
) -> str:
    """Train an agent on bsuite, write what came out into `folder`, and return the tables.

    Each experiment's logs are a file of their own, written as soon as it is trained. Experiments whose file
    is there are not trained again, so an interrupted run goes on, and a run may be made in parts. Writes
    `logs/NAME.json`, `bsuite.json`, `table.md` and `radar.png`.

    Args:
      agent_name: a registered algorithm that takes discrete actions.
      folder: where to.
      profile: "quick" or "full".
      names: of experiments; all by default.
      source: pictures for `mnist`, see `suite.images`.
      values: hyperparameters that are not default.
      seed: of the agents and the worlds.
      say: takes each line of progress.

    Raises:
      ValueError: before anything is trained, for an unknown name, or an agent that cannot play an experiment.
      StoreError: if `folder` holds logs of another agent, profile or seed.
    """
    agent = runner.agent(agent_name, values)
    pictures = images(source)
    about = {
        "agent": agent_name,
        "config": {name: show(value) for name, value in sorted(agent.chosen.items())},
        "profile": profile,
        "seed": seed,
        "images": None if pictures is None else pictures.name,
    }
    chosen = list(names) or list(EXPERIMENTS)
    todo = groups(chosen, profile, pictures)
    for group in todo:
        runner.check(agent, group)
    make_folder(folder / "logs")
    done = {
        name: _read(path, about)
        for name in EXPERIMENTS
        if (path := folder / "logs" / f"{name}.json").exists()
    }
    todo = [left for group in todo if (left := _without(group, done)) is not None]
    for number, group in enumerate(todo, 1):
        record = _train(agent, group, seed, about, say, f"{number} of {len(todo)}")
        for name, log in record.items():
            write_json(folder / "logs" / f"{name}.json", log)
        done |= record
    return _report(folder, about, done)


def _train(
    agent: runner.Agent, group: Group, seed: int, about: Mapping[str, Any], say: Say, number: str
) -> dict[str, dict[str, Any]]:
    names = list(dict.fromkeys(cell.experiment.name for cell in group.cells))
    say(f"[{number}] {', '.join(names)}: {len(group.cells)} settings, one program")
    begun = time.perf_counter()

    def progress(share: float) -> None:
        nonlocal begun
        if time.perf_counter() - begun > 30:
            begun = time.perf_counter()
            say(f"    {share:.0%} of the slowest setting's episodes")

    trained = runner.train(agent, group, seed, progress=progress)
    rate = trained.steps / max(trained.run_seconds, 1e-9)
    say(
        f"    {trained.steps:,} steps in {trained.run_seconds:.1f} s ({rate:,.0f}/s), "
        f"compiled in {trained.compile_seconds:.1f} s"
    )
    cost = {
        "group": names,
        "steps": trained.steps,
        "run_seconds": round(trained.run_seconds, 2),
        "compile_seconds": round(trained.compile_seconds, 2),
    }
    return {
        name: {
            **about,
            **cost,
            "logs": [
                {
                    "index": log.index,
                    "setting": dict(log.setting),
                    "episode": log.episode.tolist(),
                    "total": [round(float(x), 5) for x in log.total],
                    "good": log.good,
                }
                for log in logs
            ],
        }
        for name, logs in trained.logs.items()
    }


def _report(folder: Path, about: Mapping[str, Any], done: Mapping[str, Mapping[str, Any]]) -> str:
    logs = {
        name: [
            Log(log["index"], log["setting"], np.array(log["episode"]), np.array(log["total"]), log["good"])
            for log in record["logs"]
        ]
        for name, record in done.items()
    }
    table = report.rows(logs, about["images"])
    programs = list({tuple(record["group"]): record for record in done.values()}.values())
    cost = {
        "by_program": [
            {name: record[name] for name in ("group", "steps", "run_seconds", "compile_seconds")}
            for record in programs
        ],
        "programs": len(programs),
        "steps": sum(record["steps"] for record in programs),
        "run_seconds": round(sum(record["run_seconds"] for record in programs), 1),
        "compile_seconds": round(sum(record["compile_seconds"] for record in programs), 1),
    }
    text = report.markdown(table)
    write_json(folder / "bsuite.json", report.content(table, {**about, **cost}))
    write_text(folder / "table.md", text)
    means = {tag: mean for tag, (mean, _, _) in report.tags(table).items()}
    counted = sum(row.counts for row in table)
    label = f"{about['agent']} on bsuite, {about['profile']} profile, {counted} of {len(table)} experiments"
    report.radar({about["agent"]: means}, folder / "radar.png", label)
    foot = (
        f"{about['agent']} ({', '.join(f'{name}={value}' for name, value in about['config'].items())}), "
        f"{about['profile']} profile: {cost['steps']:,} steps in {cost['run_seconds']:.0f} s, "
        f"programs compiled in {cost['compile_seconds']:.0f} s: {cost['programs']}."
    )
    return f"{text}\n{foot}\n"


def _read(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}); remove it, and it is trained again") from error
    about = dict(about)
    if EXPERIMENTS[path.stem].family != "mnist":
        about.pop("images")
    for name, value in about.items():
        if record.get(name) != value:
            seen = f"{path.parent.parent} holds logs of {name} {record.get(name)}, not {value}"
            raise StoreError(f"{seen}; give another --out")
    return record


def _without(group: Group, done: Mapping[str, Any]) -> Group | None:
    left = tuple(cell for cell in group.cells if cell.experiment.name not in done)
    return replace(group, cells=left) if left else None
