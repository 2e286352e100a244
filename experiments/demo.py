"""`python -m experiments.demo`: from nothing to a trained sweep with a table, a picture and a film.

PPO on CartPole-v1, 16 seeds x 4 learning rates in one compiled program.
"""

import sys
import time
from pathlib import Path

FOLDER = Path("runs/demo")


def main(folder: Path = FOLDER, total_steps: int = 100_000, num_seeds: int = 16) -> int:
    """Train, print the table, write it, two pictures and a film into `folder`, and return the exit code."""
    begun = time.perf_counter()
    from rich.console import Console

    from experiments import plots, record, results, runner, tables, trained
    from experiments.progress import Progress
    from experiments.spec import RunSpec
    from experiments.store import write_text

    console = Console()
    spec = RunSpec(
        algorithm="ppo",
        env="CartPole-v1",
        total_steps=total_steps,
        seeds=tuple(range(num_seeds)),
        grid={"learning_rate": (1e-4, 3e-4, 1e-3, 3e-3)},
        name="sweep",
    )
    console.print(f"PPO on CartPole-v1: {num_seeds} seeds x 4 learning rates, one compiled program")
    outcome = runner.run(spec, folder, progress=Progress(console))
    if outcome.status == runner.INTERRUPTED:
        console.print("stopped; run the same command again to go on")
        return outcome.exit_code
    if outcome.was_finished:
        console.print(f"trained already; remove {folder} to train again", highlight=False)
    result = results.load(outcome.path)
    table = tables.rows([result])
    console.print(tables.for_terminal(table))
    write_text(folder / "table.md", tables.markdown(table))
    plots.learning_curves([result], folder / "curves.png")
    plots.hyperparameters(result, folder / "learning_rate.png")
    agents = trained.load(outcome.path)
    best = result.best()
    policy = agents.policy(*best)
    record.record(
        policy, agents.experiment.env, agents.experiment.params, folder / "policy.gif", max_steps=300
    )
    for what, name in (
        ("table", "table.md"),
        ("learning curves", "curves.png"),
        ("learning rates", "learning_rate.png"),
        ("the best agent", "policy.gif"),
    ):
        console.print(f"{what:>16}: {folder / name}", highlight=False)
    console.print(f"{'run folder':>16}: {outcome.path}", highlight=False)
    console.print(f"done in {time.perf_counter() - begun:.0f} s", highlight=False)
    return 0


if __name__ == "__main__":
    from experiments.startup import prepare_jax

    prepare_jax()
    sys.exit(main())
