"""What bsuite says of an agent: a table of experiments, one of tags, JSON, and a radar plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bsuite.scores import Log, score, tag_scores
from experiments.bsuite.suite import EXPERIMENTS, TAGS
from experiments.plots import COLORS, STYLE
from experiments.store import make_folder, write_atomic

NO_IMAGES = "not run: bsuite's pictures are MNIST; give its folder with --images"


@dataclass(frozen=True)
class Row:
    """The score of one experiment.

    Attributes:
      name: the experiment, with "(digits)" if other pictures took MNIST's place.
      score: None if it was not run.
      counts: whether it counts to its tags, which a stand-in does not.
      settings: how many of the published ones were run.
      episodes: of each.
      note: what differs from the published protocol, or why it was not run.
    """

    name: str
    score: float | None
    counts: bool
    settings: int
    episodes: int
    note: str


def rows(logs: Mapping[str, Sequence[Log]], images: str | None) -> list[Row]:
    """Return a row for each of the 23 experiments, in the order of `EXPERIMENTS`.

    Args:
      logs: of the experiments that were run.
      images: what `mnist` was run with: "mnist", "digits" or None.
    """
    made = []
    for name, experiment in EXPERIMENTS.items():
        if not logs.get(name):
            why = NO_IMAGES if experiment.family == "mnist" and images is None else "not run"
            made.append(Row(name, None, False, 0, 0, why))
            continue
        done = logs[name]
        episodes = max(int(log.episode.max()) for log in done)
        stand_in = experiment.family == "mnist" and images != "mnist"
        notes = []
        if len(done) < len(experiment.settings):
            notes.append(f"{len(done)} of {len(experiment.settings)} settings")
        if episodes < experiment.episodes:
            notes.append(f"{episodes:,} of {experiment.episodes:,} episodes")
        if stand_in:
            notes.append(f"8x8 {images} in place of MNIST: counts to no tag")
        shown = f"{name} ({images})" if stand_in else name
        row = Row(shown, score(experiment, done), not stand_in, len(done), episodes, "; ".join(notes))
        made.append(row)
    return made


def tags(table: Sequence[Row]) -> dict[str, tuple[float, int, int]]:
    """Return for each tag its score, and how many of how many experiments that is the mean of."""
    counted = {row.name: row.score for row in table if row.counts and row.score is not None}
    means = tag_scores(counted)
    return {
        tag: (
            means[tag],
            sum(tag in EXPERIMENTS[name].tags for name in counted),
            sum(tag in experiment.tags for experiment in EXPERIMENTS.values()),
        )
        for tag in TAGS
    }


def markdown(table: Sequence[Row]) -> str:
    """Return both tables as Markdown."""
    experiments = [("experiment", "score", "tags", "note")]
    for row in table:
        shown = "-" if row.score is None else f"{row.score:.2f}"
        own = EXPERIMENTS[row.name.split(" ")[0]].tags
        experiments.append((row.name, shown, ", ".join(own).replace("_", " "), row.note))
    by_tag = [("tag", "score", "experiments")]
    for tag, (mean, done, total) in tags(table).items():
        shown = "-" if np.isnan(mean) else f"{mean:.2f}"
        by_tag.append((tag.replace("_", " "), shown, f"{done} of {total}"))
    return _aligned(experiments) + "\n" + _aligned(by_tag)


def content(table: Sequence[Row], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the JSON file holds: `about`, the experiments and the tags."""
    return {
        **about,
        "experiments": {
            row.name: {
                "score": row.score,
                "settings": row.settings,
                "episodes": row.episodes,
                "counts": row.counts,
                "note": row.note,
            }
            for row in table
        },
        "tags": {
            tag: {"score": None if np.isnan(mean) else mean, "experiments": done, "of": total}
            for tag, (mean, done, total) in tags(table).items()
        },
    }


def radar(means: Mapping[str, Mapping[str, float]], path: Path, title: str) -> Path:
    """Draw the tags' scores of one or more agents into the PNG `path`, and return it.

    Args:
      means: of each agent, the score of each tag; one that is not a number is drawn as a gap.
      path: the file.
      title: above the plot.

    Raises:
      ValueError: if there is no agent.
      StoreError: if the file cannot be written.
    """
    if not means:
        raise ValueError("`means` must hold at least one agent")
    import matplotlib
    from matplotlib.figure import Figure

    angles = np.linspace(0, 2 * np.pi, len(TAGS), endpoint=False)
    closed = np.append(angles, angles[0])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 6.0))
        axis: Any = figure.add_axes((0.19, 0.1, 0.62, 0.7233), projection="polar")
        axis.set_theta_offset(np.pi / 2)
        axis.set_theta_direction(-1)
        for (name, scores), color in zip(means.items(), COLORS, strict=False):
            values = np.array([scores.get(tag, np.nan) for tag in TAGS], float)
            values = np.append(values, values[0])
            axis.plot(closed, values, "-o", color=color, markersize=6, label=name, clip_on=False, zorder=3)
            axis.fill(closed, np.nan_to_num(values), color=color, alpha=0.18)
            if len(means) == 1:
                for angle, value in zip(angles, values, strict=False):
                    shown = "not run" if np.isnan(value) else f"{value:.2f}"
                    at = 0.12 if np.isnan(value) else min(value + 0.1, 0.92)
                    axis.annotate(
                        shown, (angle, at), ha="center", va="center", fontsize=9.5, color="#262626", zorder=4
                    )
        axis.set_ylim(0, 1)
        axis.set_yticks([0.25, 0.5, 0.75, 1.0], ["", "0.5", "", "1"], color="#7f7f7f", fontsize=9)
        axis.set_rlabel_position(180 / len(TAGS))
        axis.set_xticks(angles, [tag.replace("_", "\n") for tag in TAGS])
        for label, angle in zip(axis.get_xticklabels(), angles, strict=True):
            side = np.sin(angle)
            label.set_horizontalalignment("center" if abs(side) < 0.5 else "left" if side > 0 else "right")
        axis.tick_params(axis="x", pad=8)
        axis.spines["polar"].set_color("#bfbfbf")
        figure.suptitle(title, x=0.02, y=0.975, ha="left", fontweight="bold")
        if len(means) > 1:
            axis.legend(loc="upper left", bbox_to_anchor=(-0.28, 1.14))
        make_folder(Path(path).parent)
        write_atomic(Path(path), lambda file: figure.savefig(file, format="png", facecolor="white"))
    return Path(path)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]

    def text(cells: Sequence[str]) -> str:
        shown = (
            c.rjust(w) if i == 1 else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join(shown) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i == 1 else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([text(lines[0]), rule, *map(text, lines[1:])]) + "\n"
