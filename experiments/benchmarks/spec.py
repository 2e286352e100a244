"""What a table consists of: `Benchmark`, read from a TOML file."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.core import unknown
from experiments import references
from experiments.references import Reference
from experiments.spec import RunSpec, SpecError

FOLDER = Path(__file__).parent
_FIELDS = ("title", "reference", "training_episodes", "notes", "shared", "runs")
_OWN = ("envs", "label", "wanted")


@dataclass(frozen=True)
class Entry:
    """One row of a table.

    Attributes:
      spec: what is run.
      wanted: the least that the training return should be; None if nothing is asked for.
      published: `(mean, standard deviation)` of the reference; None if it has none.
      label: what the algorithm is called; by default as in the spec.
    """

    spec: RunSpec
    wanted: float | None = None
    published: tuple[float, float] | None = None
    label: str = ""

    def __post_init__(self):
        object.__setattr__(self, "label", self.label or self.spec.algorithm)


@dataclass(frozen=True)
class Benchmark:
    """A table: its rows, and what they stand beside.

    Attributes:
      name: of its file.
      title: what it is called.
      entries: its rows.
      reference: whose scores stand beside ours; None if nobody's.
      training_episodes: a training return is the mean of at least so many last episodes of a seed.
      notes: what a reader must know.
    """

    name: str
    title: str
    entries: tuple[Entry, ...]
    reference: Reference | None = None
    training_episodes: int = 100
    notes: tuple[str, ...] = ()

    def select(self, only: Sequence[str]) -> list[Entry]:
        """Return the rows whose label is one of `only`, or whose environment contains one; all by default.

        With labels and environments, the rows that fit both.

        Raises:
          SpecError: if one of `only` fits no row.
        """

        def fits(text: str, entry: Entry) -> bool:
            return text.lower() == entry.label.lower() or text.lower() in entry.spec.env.lower()

        for text in only:
            if not any(fits(text, entry) for entry in self.entries):
                known = sorted({name for e in self.entries for name in (e.label, e.spec.env)})
                raise SpecError(unknown(f"row of {self.name}", text, known))
        labels = {entry.label.lower() for entry in self.entries}
        groups = [[t for t in only if (t.lower() in labels) is kind] for kind in (True, False)]
        return [e for e in self.entries if all(not g or any(fits(t, e) for t in g) for g in groups)]


def names(folder: Path = FOLDER) -> list[str]:
    """Return the tables there are, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load(name: str, folder: Path = FOLDER) -> Benchmark:
    """Return the table of this name.

    Raises:
      SpecError: if there is none (the closest names are told), or its file holds no table.

    >>> [(e.spec.algorithm, e.wanted) for e in load("classic").select(["cartpole", "dqn"])]
    [('dqn', 498.0)]
    """
    if name not in names(folder):
        raise SpecError(unknown("benchmark", name, names(folder)))
    path = folder / f"{name}.toml"
    try:
        return _benchmark(name, tomllib.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: {error}") from error


def _benchmark(name: str, content: Mapping[str, Any]) -> Benchmark:
    for field in content:
        if field not in _FIELDS:
            raise SpecError(unknown("field of a benchmark", field, list(_FIELDS)))
    for field in ("title", "runs"):
        if not content.get(field):
            raise SpecError(f"`{field}` must be given; a benchmark needs a title and runs")
    reference = references.load(content["reference"]) if "reference" in content else None
    episodes = content.get("training_episodes", 100)
    if not isinstance(episodes, int) or episodes < 1:
        raise SpecError(f"`training_episodes` must be a whole number of at least 1, got {episodes!r}")
    shared = content.get("shared", {})
    entries = tuple(entry for run in content["runs"] for entry in _entries(shared, run, reference))
    hashes = [entry.spec.hash() for entry in entries]
    if len(set(hashes)) < len(hashes):
        raise SpecError("`runs` must be different from each other; two rows are the same")
    return Benchmark(name, content["title"], entries, reference, episodes, tuple(content.get("notes", ())))


def _entries(
    shared: Mapping[str, Any], run: Mapping[str, Any], reference: Reference | None
) -> tuple[Entry, ...]:
    envs, wanted = run.get("envs", ()), run.get("wanted", {})
    if not isinstance(envs, list) or not envs:
        raise SpecError(f"`envs` must be a list of at least one environment, got {envs!r}")
    for env in wanted:
        if env not in envs:
            raise SpecError(f"`wanted` must be of the run's envs, {', '.join(envs)}, got {env!r}")
    fields = {**shared, **{name: value for name, value in run.items() if name not in _OWN}}
    if isinstance(fields.get("seeds"), int):
        fields["seeds"] = list(range(fields["seeds"]))
    if fields.get("grid"):
        raise SpecError("`grid` must be empty: a row is one configuration")
    specs = [RunSpec.from_dict({**fields, "env": env}) for env in envs]
    return tuple(
        Entry(
            spec=spec,
            wanted=float(wanted[spec.env]) if spec.env in wanted else None,
            published=reference.score(spec.env, spec.algorithm) if reference else None,
            label=run.get("label", ""),
        )
        for spec in specs
    )
