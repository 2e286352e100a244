"""The command `jaxrl`: a function for each of its subcommands, from `jaxrl list` to `jaxrl benchmark`.

What the user got wrong is one line on stderr and exit code 2. jax is imported by the commands that
need it, after `experiments.startup.prepare_jax`, so `jaxrl --help` answers at once.
"""

import difflib
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional, arg

from experiments.options import (
    Count,
    File,
    Flag,
    Folder,
    Metric,
    Pairs,
    Run,
    Runs,
    SweepOptions,
    TrainOptions,
    UsageError,
    options_class,
    parse_arguments,
    to_spec,
)
from experiments.spec import RunSpec, SpecError, load, show
from experiments.startup import prepare_jax
from experiments.store import StoreError

EXIT_USER_ERROR = 2
_TRAINING = ("train", "sweep")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 1 a benchmark's score falls short, 2 user error, 3 seeds diverged, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if "jax" not in sys.modules:
        prepare_jax()
    try:
        return _dispatch(arguments)
    except BrokenPipeError:  # for instance `jaxrl list | head`
        sys.stderr.close()
        return 0
    except (UsageError, SpecError, StoreError, ImportError, OSError, ValueError) as error:
        if os.environ.get("JAXRL_TRACEBACK"):  # for whoever looks for the cause in the code
            raise
        print(f"jaxrl: error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("jaxrl: stopped; `jaxrl resume RUN` goes on from the last checkpoint", file=sys.stderr)
        return 130


def list_(
    what: Positional[Literal["all", "algorithms", "envs", "runs"]] = "all", *, runs: Folder = Path("runs")
) -> int:
    """Show the algorithms, the environments, or the stored runs.

    Args:
        what: What to show; "all" shows algorithms and environments.
        runs: Where runs are stored.
    """
    if what == "runs":
        return _list_runs(runs)
    import envs
    import jaxrl

    if what in ("all", "algorithms"):
        print("algorithms")
        width = max(map(len, jaxrl.algorithms()))
        for name in jaxrl.algorithms():
            print(f"  {name:<{width}}  {(jaxrl.algorithm(name).__doc__ or '').strip().splitlines()[0]}")
    if what in ("all", "envs"):
        from envs.core import missing_extra, suites

        for suite in ("native", *suites()):
            extra, ids = missing_extra(suite), envs.names(suite)
            needs = f"  (needs `pip install 'jaxrl[{extra}]'`)" if extra else ""
            print(f"environments: {suite}{'' if suite == 'native' else '/...'}{needs}")
            for id in ids or [f"{suite}/ID for any ID that {suite} knows"]:
                print(f"  {id}")
    return 0


def _list_runs(root: Path) -> int:
    from experiments import store

    for path in store.all_runs(root):
        if store.status(path) == "damaged":
            print(f"{path.parent.name:<28} {path.name}  damaged")
            continue
        manifest = store.read_manifest(path)
        steps = f"{manifest.get('steps', 0):,} steps"
        print(f"{path.parent.name:<28} {path.name}  {manifest['status']:<12} {steps:>18}")
    return 0


def run_(
    spec: Annotated[Positional[Path], arg(metavar="SPEC.toml")],
    *,
    runs: Folder = Path("runs"),
    save_every: Annotated[float, arg(metavar="SECONDS")] = 30.0,
    quiet: Flag = False,
) -> int:
    """Run a spec file, as `--dry-run` prints it and every run folder holds it.

    Args:
        spec: The file.
        runs: Where runs are stored.
        save_every: Least time between two checkpoints; one is always written at the end, and on Ctrl-C.
        quiet: Print nothing but errors.
    """
    return _execute(load(spec), runs, save_every, quiet)


def resume(
    run: Run,
    *,
    runs: Folder = Path("runs"),
    save_every: Annotated[float, arg(metavar="SECONDS")] = 30.0,
    quiet: Flag = False,
) -> int:
    """Continue an interrupted run where its last checkpoint is, bit for bit.

    Args:
        run: A run folder, a run's name, or the beginning of its hash.
        runs: Where runs are stored.
        save_every: Least time between two checkpoints; one is always written at the end, and on Ctrl-C.
        quiet: Print nothing but errors.
    """
    from experiments import runner, store

    path = store.find_one(runs, run, statuses=("interrupted", "running"))
    return _report(runner.resume(path, save_every=save_every, progress=_progress(quiet)), quiet)


def table(
    runs_: Runs,
    *,
    runs: Folder = Path("runs"),
    metric: Metric = None,
    total: Flag = False,
    format: Literal["auto", "terminal", "markdown", "csv"] = "auto",
    output: File = None,
) -> int:
    """Print runs as a table: IQM of the last evaluation with its 95 % interval, seeds, steps, seconds.

    Args:
        runs_: Run folders, names of runs, or beginnings of hashes.
        runs: Where runs are stored.
        metric: Show the mean of this training metric at the end instead, for instance the regret of a bandit.
        total: Sum the metric over the steps so far.
        format: Markdown, a terminal table, or every learning curve as CSV (needs pandas); by default a
            terminal table on a terminal, else Markdown.
        output: Write to this file instead.
    """
    from rich.console import Console

    from experiments import store, tables

    results = _results(runs, runs_)
    _check_total(metric, total)
    if format == "csv" and metric is not None:
        raise UsageError("`--metric` has no CSV, which holds the evaluations; leave one of both out")
    if format == "auto":
        format = "terminal" if sys.stdout.isatty() and output is None else "markdown"
    if format == "terminal" and output is None:
        Console().print(tables.for_terminal(tables.rows(results, metric, total)))
        return 0
    text = (
        tables.frame(results).to_csv(index=False)
        if format == "csv"
        else tables.markdown(tables.rows(results, metric, total))
    )
    if output is None:
        print(text, end="")
    else:
        store.make_folder(output.parent)
        store.write_text(output, text)
        print(output)
    return 0


def plot(
    runs_: Runs,
    *,
    runs: Folder = Path("runs"),
    metric: Metric = None,
    total: Flag = False,
    output: File = None,
) -> int:
    """Draw learning curves with 95 % bands as PNG and, for a sweep, what its hyperparameters do.

    Args:
        runs_: Run folders, names of runs, or beginnings of hashes.
        runs: Where runs are stored.
        metric: Draw this training metric instead, for instance the regret of a bandit.
        total: Sum the metric over the steps so far.
        output: The picture of the learning curves; by default `curves.png` (or `METRIC.png`) in the (first)
            run's folder. That of the hyperparameters lies beside it.
    """
    from experiments import plots

    results = _results(runs, runs_)
    _check_total(metric, total)
    path = output or results[0].path / f"{metric or 'curves'}.png"
    if path.suffix.lower() != ".png":
        raise UsageError(f"`--output` must end in .png, got {path}")
    print(plots.learning_curves(results, path, metric, total))
    for result in results:
        if result.spec.grid and metric is None:
            beside = (
                f"{path.stem}-{result.spec.hash()[:6]}-grid.png"
                if len(results) > 1
                else f"{path.stem}-grid.png"
            )
            print(plots.hyperparameters(result, path.with_name(beside)))
    return 0


def eval_(
    run: Run, *, episodes: Annotated[int, arg(metavar="N")] = 100, seed: int = 0, runs: Folder = Path("runs")
) -> int:
    """Evaluate the trained agents of a run anew and print their returns.

    Args:
        run: A run folder, a run's name, or the beginning of its hash.
        episodes: Episodes of each agent.
        seed: Of the episodes; every agent meets the same ones.
        runs: Where runs are stored.
    """
    import numpy as np

    from experiments import tables, trained
    from jaxrl import stats

    if episodes < 1:
        raise UsageError(f"`--episodes` must be at least 1, got {episodes}")
    _check_seed(seed)
    agents = trained.load(_trained(runs, run))
    spec = agents.experiment.spec
    returns = agents.evaluate(episodes, seed).mean(axis=-1)
    print(
        f"{spec.algorithm} on {spec.env}: return over {episodes} episodes, "
        f"IQM [95 %] over {len(spec.seeds)} seeds"
    )
    for configuration, row, finite in zip(spec.configurations(), returns, agents.finite, strict=True):
        label = ", ".join(f"{name}={show(value)}" for name, value in configuration.items())
        kept = row[finite & np.isfinite(row)]
        shown = tables.show_interval(stats.stratified_bootstrap(kept)) if kept.size else "diverged"
        lost = f" ({row.size - kept.size} of {row.size} seeds diverged)" if kept.size < row.size else ""
        print(f"  {label + ': ' if label else ''}{shown}{lost}")
    return 0


def record(
    run: Run,
    *,
    config: Annotated[int | None, arg(metavar="INDEX")] = None,
    seed: Annotated[int | None, arg(metavar="ID")] = None,
    episode: Annotated[int, arg(metavar="SEED")] = 0,
    max_steps: Annotated[int, arg(metavar="N")] = 500,
    fps: float = 30.0,
    output: File = None,
    runs: Folder = Path("runs"),
) -> int:
    """Film one episode of a trained agent.

    Args:
        run: A run folder, a run's name, or the beginning of its hash.
        config: Which configuration of the sweep, counted from 0 as in `jaxrl table`; by default the best.
        seed: Which seed, by its id; by default the best.
        episode: Seed of the episode.
        max_steps: Where to cut an episode that is longer.
        fps: Frames a second, at most 50.
        output: Where to (.gif, .html or .png); by default `policy.gif` in the run's folder.
        runs: Where runs are stored.
    """
    import numpy as np

    from experiments import record as recording
    from experiments import results, trained

    path = _trained(runs, run)
    output = output or path / "policy.gif"
    if output.suffix.lower() not in (".gif", ".html", ".png"):
        raise UsageError(f"`--output` must end in .gif, .html or .png, got {output}")
    if max_steps < 1:
        raise UsageError(f"`--max-steps` must be at least 1, got {max_steps}")
    if not 0 < fps <= 50:
        raise UsageError(f"`--fps` must be above 0 and at most 50, got {fps:g}")
    _check_seed(episode)
    result = results.load(path)
    spec, final = result.spec, result.final_returns
    if config is not None and not 0 <= config < len(final):
        raise UsageError(f"`--config` must be from 0 to {len(final) - 1}, got {config}")
    if seed is not None and seed not in spec.seeds:
        raise UsageError(f"`--seed` must be one of the run's seeds ({show(spec.seeds)}), got {seed}")
    chosen = np.full(final.shape, -np.inf)
    rows = slice(None) if config is None else slice(config, config + 1)
    columns = slice(None) if seed is None else slice(spec.seeds.index(seed), spec.seeds.index(seed) + 1)
    chosen[rows, columns] = np.nan_to_num(final[rows, columns], nan=-1e38)
    config, column = (int(i) for i in np.unravel_index(chosen.argmax(), chosen.shape))
    if not result.finite[config, column]:
        raise StoreError(
            f"{result.label(config)}, seed {spec.seeds[column]} diverged, so there is no policy to film; "
            f"choose another with `--config` and `--seed`"
        )
    agents = trained.load(path)
    written, total, length = recording.record(
        agents.policy(config, column),
        agents.experiment.env,
        agents.experiment.params,
        output,
        seed=episode,
        max_steps=max_steps,
        fps=fps,
    )
    print(
        f"{written}: {result.label(config)}, seed {spec.seeds[column]}, return {total:.1f} in {length} steps"
    )
    return 0


def figures(
    names: Annotated[Positional[tuple[str, ...]], arg(metavar="NAME...")],
    *,
    output: Folder = Path("runs/figures"),
    quick: Flag = False,
) -> int:
    """Compute and draw figures of textbooks and papers anew, each as NAME.png.

    Args:
        names: Figures; without any, what there is.
        output: Where to.
        quick: Choose sizes that only show that it works.
    """
    from experiments import figures

    known = figures.names()
    if not names:
        raise UsageError(f"give at least one NAME: {', '.join(known)}")
    for name in names:
        figures.check(name)
    for name in names:
        print(figures.draw(name, output, quick), flush=True)
    return 0


def watch(
    algorithm: Positional[str] = "q_learning",
    *,
    env: Annotated[str | None, arg(metavar="ID")] = None,
    episodes: Count = 200,
    seed: int = 0,
    env_options: Pairs = (),
    env_params: Pairs = (),
    config: Pairs = (),
    output: Annotated[Path, arg(metavar="FILE")] = Path("watch.html"),
) -> int:
    """Train a table on a grid world and write a page with a slider over its episodes.

    Args:
        algorithm: A method of tabular control.
        env: A grid world whose states are its cells; by default a small maze.
        episodes: How many to train for, as 200 or 2k.
        seed: Of the learner.
        env_options: What sets shapes in the environment, for instance map=..#G,S..H.
        env_params: Numbers of the environment that differ from its defaults.
        config: Hyperparameters that differ from the defaults; schedules count episodes here.
        output: Where to (.html).
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"`--output` must end in .html, got {output}")
    _check_seed(seed)
    from experiments import watch as watching
    from experiments.options import pairs

    watched = watching.watch(
        algorithm,
        env,
        episodes,
        seed=seed,
        env_options=pairs("--env-options", env_options),
        env_params=pairs("--env-params", env_params),
        config=pairs("--config", config),
    )
    print(f"{watched.save(output)}: {watched.summary}")
    return 0


def bsuite(
    agent: Annotated[Positional[str], arg(metavar="AGENT")],
    *,
    profile: Literal["quick", "full"] = "quick",
    out: Annotated[Path | None, arg(metavar="FOLDER")] = None,
    experiments: Annotated[tuple[str, ...], arg(metavar="NAME...")] = (),
    images: Annotated[str, arg(metavar="FOLDER")] = "auto",
    config: Pairs = (),
    seed: int = 0,
    quiet: Flag = False,
) -> int:
    """Train an agent on bsuite's 23 experiments; print its scores and draw them as a radar plot.

    Args:
        agent: An algorithm that takes discrete actions.
        profile: All 468 settings, or a part of them with fewer episodes where episodes are long.
        out: Where logs, tables and the picture go, by default runs/bsuite/AGENT-PROFILE; experiments whose
            logs are there are not trained again.
        experiments: Train only these.
        images: Folder with MNIST's files for `mnist`; "digits" for scikit-learn's, which count to no score,
            "none" for neither, "auto" for the digits if scikit-learn is there.
        config: Hyperparameters that differ from the defaults; num_envs is 1 and nothing is annealed.
        seed: Of agents and worlds.
        quiet: Print no progress.
    """
    _check_seed(seed)
    from experiments.bsuite import session
    from experiments.options import pairs

    folder = out or Path("runs") / "bsuite" / f"{agent}-{profile}"

    def say(line: str) -> None:
        if not quiet:
            print(line, file=sys.stderr, flush=True)

    tables = session.run(
        agent,
        folder,
        profile=profile,
        names=experiments,
        source=images,
        values=pairs("--config", config),
        seed=seed,
        say=say,
    )
    print(f"{tables}{folder / 'radar.png'}")
    return 0


def benchmark(
    names: Annotated[Positional[tuple[str, ...]], arg(metavar="NAME...")],
    *,
    only: Annotated[tuple[str, ...], arg(metavar="NAME...")] = (),
    stored: Flag = False,
    quick: Flag = False,
    output: Annotated[Path | None, arg(metavar="FOLDER")] = None,
    runs: Folder = Path("runs"),
    quiet: Flag = False,
) -> int:
    """Compute published tables anew: train what the run store lacks, and print scores with intervals.

    Exit code 1 if a score falls short of what the table wants.

    Args:
        names: Tables; without any, what there is.
        only: Only the rows of these algorithms (as the table calls them) and environments (a part will do).
        stored: Print the stored results and run nothing.
        quick: Choose sizes that only show that it works.
        output: Where results go, by default beside the tables (with `--quick` into the folder of the runs).
        runs: Where runs are stored.
        quiet: Print no progress.
    """
    from experiments.benchmarks import report, session
    from experiments.benchmarks import spec as benchmarks

    known = benchmarks.names()
    if not names:
        raise UsageError(f"give at least one NAME: {', '.join(known)}")
    tables = [benchmarks.load(name) for name in names]
    folder = output or (runs / "quick" if quick else report.RESULTS)
    for table in tables:
        table.select(only)
    met = True
    for table in map(session.quick, tables) if quick else tables:
        rows, status = report.read(table, folder), ""
        if not stored:
            rows, status = session.run(
                table,
                runs,
                only=only,
                output=folder,
                say=lambda line: None if quiet else print(line, file=sys.stderr, flush=True),
                progress=lambda: _progress(quiet),
            )
        print(report.markdown(table, rows))
        if status == "interrupted":
            print(f"jaxrl: interrupted; `jaxrl benchmark {table.name}` goes on", file=sys.stderr)
            return 130
        met = met and all(row["met"] != "no" for row in rows)
    return 0 if met else 1


_COMMANDS: dict[str, Callable[..., int]] = {
    "list": list_,
    "run": run_,
    "resume": resume,
    "table": table,
    "plot": plot,
    "eval": eval_,
    "record": record,
    "watch": watch,
    "figures": figures,
    "bsuite": bsuite,
    "benchmark": benchmark,
}


def _train_help() -> int:
    """Train one configuration of an algorithm: `jaxrl train ALGORITHM --env ID ...`."""
    return 0


def _sweep_help() -> int:
    """Train a grid of configurations over many seeds in one program: `jaxrl sweep ALGORITHM --env ID ...`."""
    return 0


def _dispatch(arguments: list[str]) -> int:
    known = [*_TRAINING, *_COMMANDS]
    command = arguments[0] if arguments else "--help"
    if not command.startswith("-") and command not in known:
        close = difflib.get_close_matches(command, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known)}"
        raise UsageError(f"unknown command {command!r}; {hint}")
    if command in _TRAINING:
        return _train(command, arguments[1:])
    commands = {"train": _train_help, "sweep": _sweep_help, **_COMMANDS}
    call = parse_arguments(
        lambda args: tyro.extras.subcommand_cli_from_dict(
            {name: _deferred(command) for name, command in commands.items()},
            prog="jaxrl",
            description="Reinforcement learning: from seeds to a table in one compiled program.",
            args=args,
        ),
        arguments or ["--help"],
    )
    return call()


def _deferred(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """Return a function that only binds the arguments of `command`: parsing ends before work begins."""

    @functools.wraps(command)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], int]:
        return functools.partial(command, *args, **kwargs)

    return bind


def _train(command: str, arguments: list[str]) -> int:
    from jaxrl import algorithms

    options = SweepOptions if command == "sweep" else TrainOptions
    if not arguments or arguments[0] in ("-h", "--help"):
        asked = bool(arguments)
        if not asked:
            raise UsageError(f"`jaxrl {command}` needs an algorithm: {', '.join(algorithms())}")
        print(f"usage: jaxrl {command} ALGORITHM [OPTIONS]\n\nALGORITHM is one of: {', '.join(algorithms())}")
        print(f"`jaxrl {command} ALGORITHM --help` also shows its hyperparameters, each an option.\n")
        parse_arguments(
            lambda args: tyro.cli(options, prog=f"jaxrl {command} ALGORITHM", args=args), ["--help"]
        )
    algorithm = arguments[0]
    if algorithm.startswith("-"):
        raise UsageError(
            f"`jaxrl {command}` needs the algorithm first: jaxrl {command} {algorithms()[0]} ..."
        )
    parser = options_class(command, algorithm, options)
    chosen = parse_arguments(
        lambda args: tyro.cli(
            parser, prog=f"jaxrl {command} {algorithm}", args=args, config=(OmitArgPrefixes,)
        ),
        arguments[1:],
    )
    spec = to_spec(algorithm, chosen.run, chosen.hyperparameters)
    if chosen.run.dry_run:
        from experiments.experiment import resolve

        print(resolve(spec).spec.to_toml(), end="")
        return 0
    return _execute(spec, chosen.run.runs, chosen.run.save_every, chosen.run.quiet)


def _execute(spec: RunSpec, root: Path, save_every: float, quiet: bool) -> int:
    from experiments import runner

    if not save_every >= 0:
        raise UsageError(f"`--save-every` must be at least 0 seconds, got {save_every}")
    return _report(runner.run(spec, root, save_every=save_every, progress=_progress(quiet)), quiet)


def _report(outcome: Any, quiet: bool) -> int:
    """Say how a run ended and return its exit code."""
    from experiments import results, runner, tables

    for line in outcome.diverged:
        print(f"jaxrl: diverged: {line}", file=sys.stderr)
    if quiet:
        return outcome.exit_code
    if outcome.status == runner.INTERRUPTED:
        print(f"interrupted; `jaxrl resume {outcome.path}` goes on")
        return outcome.exit_code
    if outcome.was_finished:
        print(f"{outcome.path} was finished already; nothing to do")
        return outcome.exit_code
    from rich.console import Console

    Console().print(tables.for_terminal(tables.rows([results.load(outcome.path)])))
    print(f"{outcome.path}\nnext: `jaxrl plot {outcome.path.name}`, `jaxrl record {outcome.path.name}`")
    return outcome.exit_code


def _results(root: Path, texts: Sequence[str]) -> list[Any]:
    from experiments import results, store

    if not texts:
        raise UsageError("give at least one RUN: a run folder, a run's name, or the beginning of its hash")
    loaded = {}
    for text in texts:
        runs = store.find(root, text)
        for path in runs:
            try:
                loaded[path] = results.load(path)
            except StoreError as error:
                if len(runs) == 1:
                    raise
                print(f"jaxrl: left out: {error}", file=sys.stderr)
    if not loaded:
        raise StoreError(f"no run of {', '.join(map(repr, texts))} can be shown")
    return list(loaded.values())


def _trained(root: Path, text: str) -> Path:
    """Return the run to show the agents of: of several with the same name the newest finished one."""
    from experiments import store

    path = store.find_newest(root, text, statuses=("finished", "diverged"))
    if len(store.find(root, text)) > 1:
        print(
            f"jaxrl: {text!r} names several runs; this is {path.name} ({store.status(path)})", file=sys.stderr
        )
    if store.status(path) == "diverged":
        print("jaxrl: some seeds of this run diverged; `jaxrl table` marks them", file=sys.stderr)
    return path


def _progress(quiet: bool) -> Any:
    from rich.console import Console

    from experiments.progress import Progress

    return Progress(None if quiet else Console(stderr=True))


def _check_total(metric: str | None, total: bool) -> None:
    if total and metric is None:
        raise UsageError("`--total` sums a training metric; name it with `--metric`, for instance regret")


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise UsageError(f"a seed must be from 0 to 2**32 - 1, got {seed}")


if __name__ == "__main__":
    sys.exit(main())
