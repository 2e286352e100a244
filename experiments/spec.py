"""What a run is: `RunSpec`, a frozen and hashable description that TOML can hold.

A spec names everything that decides the numbers of a run and nothing else: where it is stored, on
which devices it runs and how often it is saved are no part of it. So equal hashes mean equal
experiments, and a run folder is named by the hash.
"""

import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from experiments.store import write_text

Value = bool | int | float | str | tuple

MAX_COUNT = 2**31 - 1
"""The most that the training loop's int32 counters hold."""

MAX_SEEDS = 1_000_000
"""The most seeds a spec may list: each is written out in its TOML."""


class SpecError(ValueError):
    """A description that cannot be run: the message names the field, the value and what is accepted."""


class Table(Mapping):
    """An immutable mapping from names to values, hashable and equal by value; lists become tuples.

    >>> Table({"a": [1, 2]})
    Table({'a': (1, 2)})
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()):
        object.__setattr__(self, "_items", {name: _frozen(value) for name, value in dict(items).items()})

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Table is immutable; build a new one to change {name!r}")

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"Table({self._items!r})"

    def __reduce__(self):
        return Table, (dict(self._items),)


@dataclass(frozen=True)
class RunSpec:
    """One experiment: an algorithm in a world, over a grid of configurations and a set of seeds.

    Attributes:
      algorithm: a name of `jaxrl.algorithms()`.
      env: an id of `envs.names()`.
      total_steps: environment steps of every seed of every configuration, at least 1.
      seeds: the ids of the seeds; seed i starts from `jax.random.key(i)`.
      env_options: a table (these are kept as immutable `Table`s) of what sets shapes, for `envs.make`.
      env_params: numbers of the environment's `Params` that differ from its defaults.
      config: hyperparameters that differ from the algorithm's defaults; all of them once resolved.
      grid: hyperparameter -> the values it takes; configurations are their product, the last field fastest.
      evaluations: how often the policy is evaluated, evenly spread, the last one at the end.
      eval_episodes: episodes of each evaluation.
      log_points: how often training metrics are recorded, a multiple of `evaluations`; by default what
        `jaxrl.train.plan` chooses, filled in when the spec is resolved.
      name: the folder the run is filed under; no part of the hash.

    Raises:
      SpecError: from the constructor, if a value has a wrong type or is out of range.

    >>> spec = RunSpec("ppo", "CartPole-v1", 1000, seeds=(0, 1), grid={"learning_rate": (1e-3, 3e-4)})
    >>> [dict(c) for c in spec.configurations()]
    [{'learning_rate': 0.001}, {'learning_rate': 0.0003}]
    """

    algorithm: str
    env: str
    total_steps: int
    seeds: Sequence[int] = (0,)
    env_options: Mapping[str, Any] = field(default_factory=Table)
    env_params: Mapping[str, Any] = field(default_factory=Table)
    config: Mapping[str, Any] = field(default_factory=Table)
    grid: Mapping[str, Any] = field(default_factory=Table)
    evaluations: int = 10
    eval_episodes: int = 16
    log_points: int | None = None
    name: str = ""

    def __post_init__(self):
        for name in ("env_options", "env_params", "config", "grid"):
            value = getattr(self, name)
            if not isinstance(value, Mapping):
                raise SpecError(f"`{name}` must be a table of names and values, got {value!r}")
            object.__setattr__(self, name, Table(value))
        for name in ("algorithm", "env", "name"):
            if not isinstance(getattr(self, name), str):
                raise SpecError(f"`{name}` must be a string, got {getattr(self, name)!r}")
        for name in ("total_steps", "evaluations", "eval_episodes"):
            object.__setattr__(self, name, _positive(name, getattr(self, name)))
        if self.log_points is not None:
            object.__setattr__(self, "log_points", _positive("log_points", self.log_points))
            if self.log_points % self.evaluations:
                near = self.evaluations * max(1, round(self.log_points / self.evaluations))
                raise SpecError(
                    f"`log_points` must be a multiple of evaluations = {self.evaluations}, "
                    f"got {self.log_points}; try {near}"
                )
        object.__setattr__(self, "seeds", _seeds(self.seeds))
        object.__setattr__(self, "name", self.name or f"{self.algorithm}-{self.env}".replace("/", "-"))
        if any(part in self.name for part in ("/", "\\", "\0")) or self.name.startswith("."):
            raise SpecError(f"`name` must be a plain folder name (no '/', no leading '.'), got {self.name!r}")
        if len(self.name) > 100 or not self.name.isprintable():
            raise SpecError(f"`name` must be at most 100 printable characters, got {self.name[:120]!r}")
        for table in ("env_options", "env_params", "config"):
            for key, value in getattr(self, table).items():
                _no_nan(key, value)
        for key, values in self.grid.items():
            if not isinstance(values, tuple) or not values:
                raise SpecError(f"`grid` must give {key} a list of at least one value, got {values!r}")
            _no_nan(key, values)
            if len(set(values)) < len(values):
                raise SpecError(
                    f"`grid` must give {key} different values, got {show(values)}; use seeds to repeat"
                )

    def configurations(self) -> list[Table]:
        """Return the grid's configurations, each a table of the swept fields; `[{}]` without a grid."""
        return [
            Table(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())
        ]

    @property
    def num_cells(self) -> int:
        """The number of independent trainings: configurations times seeds."""
        return len(self.configurations()) * len(self.seeds)

    def hash(self) -> str:
        """Return 12 hexadecimal digits of the SHA-256 of the canonical JSON of all fields but `name`.

        >>> RunSpec("ppo", "CartPole-v1", 10).hash() == RunSpec("ppo", "CartPole-v1", 10, name="x").hash()
        True
        """
        content = {name: value for name, value in self.to_dict().items() if name != "name"}
        # Python compares 1 and 1.0 as equal but prints them apart; so does JSON, and so does this hash.
        # A resolved spec has one type per field, hence one spelling.
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain dictionaries, lists and scalars; those that are None are left out."""
        content = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {name: value for name, value in content.items() if value is not None}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "RunSpec":
        """Return the spec that `content` describes.

        Raises:
          SpecError: if a field is unknown or missing, or a value is not accepted.
        """
        known = [f.name for f in fields(cls)]
        for name in content:
            if name not in known:
                raise SpecError(closest("field of a spec", name, known))
        for name in ("algorithm", "env", "total_steps"):
            if name not in content:
                raise SpecError(f"`{name}` must be given; a spec needs algorithm, env and total_steps")
        return cls(**content)

    def to_toml(self) -> str:
        """Return the spec as a TOML document; `from_toml` reads it back to an equal spec."""
        import tomli_w

        content = self.to_dict()
        scalars = {name: value for name, value in content.items() if not isinstance(value, dict)}
        tables = {name: value for name, value in content.items() if isinstance(value, dict) and value}
        return tomli_w.dumps(scalars | tables)

    @classmethod
    def from_toml(cls, text: str) -> "RunSpec":
        r"""Return the spec in a TOML document.

        Raises:
          SpecError: if the text is no TOML, or not a spec.

        >>> RunSpec.from_toml('algorithm = "ppo"\nenv = "CartPole-v1"\ntotal_steps = 5').total_steps
        5
        """
        try:
            return cls.from_dict(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise SpecError(f"the spec is not valid TOML: {error}") from error

    def save(self, path: Path) -> None:
        """Write the spec to `path` as TOML, replacing the file in one step."""
        write_text(path, self.to_toml())


def load(path: Path) -> RunSpec:
    """Return the spec stored in the TOML file `path`.

    Raises:
      SpecError: if the file cannot be read or holds no spec; the message names the file.
    """
    try:
        return RunSpec.from_toml(Path(path).read_text())
    except OSError as error:
        raise SpecError(f"cannot read the spec {path}: {error.strerror}") from error
    except (SpecError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: {error}") from error


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, Mapping):
        return Table(value)
    return value.item() if hasattr(value, "item") else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(v) for name, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _positive(name: str, value: Any) -> int:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value != int(value):
        raise SpecError(f"`{name}` must be a whole number, got {value!r}")
    if value < 1:
        raise SpecError(f"`{name}` must be at least 1, got {value}")
    if value > MAX_COUNT:
        raise SpecError(f"`{name}` must be at most 2**31 - 1, got {value}")
    return int(value)


def _seeds(seeds: Any) -> tuple[int, ...]:
    if not isinstance(seeds, list | tuple | range) or not seeds:
        raise SpecError(f"`seeds` must be a list of at least one seed id, got {seeds!r}")
    if seeds[MAX_SEEDS:]:  # `len` cannot count a very long range
        raise SpecError(f"`seeds` must be at most {MAX_SEEDS} ids, got more")
    seeds = tuple(seeds)
    if any(isinstance(s, bool) or not isinstance(s, int) or not 0 <= s < 2**32 for s in seeds):
        raise SpecError(f"`seeds` must be whole numbers from 0 to 2**32 - 1, got {show(seeds)}")
    if len(set(seeds)) < len(seeds):
        raise SpecError(f"`seeds` must be different from each other, got {show(seeds)}")
    return seeds


def closest(what: str, name: str, known: list[str]) -> str:
    """Return the message for a `name` that is not among `known`, naming the closest ones."""
    from envs.core import unknown

    return unknown(what, name, known)


def show(value: Any) -> str:
    """Return a value as a person would type it: numbers short, sequences separated by commas.

    >>> show((1e-4, 0.25, "tanh", (64, 64)))
    '0.0001, 0.25, tanh, 64x64'
    """
    if isinstance(value, tuple):
        return ", ".join("x".join(map(show, v)) if isinstance(v, tuple) else show(v) for v in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _no_nan(name: str, value: Any) -> None:
    values = value if isinstance(value, tuple) else (value,)
    if any(isinstance(v, float) and math.isnan(v) for v in values):
        raise SpecError(f"`{name}` must be a number, got nan")
