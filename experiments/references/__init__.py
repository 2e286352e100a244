"""Scores that others have published, one file a source, each cited: what our tables stand beside."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.core import unknown

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Reference:
    """What one source has published.

    Attributes:
      name: of the file.
      title: how a table calls it.
      source: where it was published.
      protocol: what its numbers are: of which policy, over which episodes, from how many seeds.
      scores: environment -> algorithm -> (mean, standard deviation over seeds).
    """

    name: str
    title: str
    source: str
    protocol: str
    scores: dict[str, dict[str, tuple[float, float]]]

    def score(self, env: str, algorithm: str) -> tuple[float, float] | None:
        """Return `(mean, standard deviation)` of an algorithm in an environment; None if not published."""
        return self.scores.get(env, {}).get(algorithm)


def names() -> list[str]:
    """Return the sources there are, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load(name: str) -> Reference:
    """Return a source by name.

    Raises:
      ValueError: if there is none of this name; the closest ones are told.

    >>> load("cleanrl").score("CartPole-v1", "dqn")
    (498.38, 2.29)
    """
    if name not in names():
        raise ValueError(unknown("reference", name, names()))
    content: dict[str, Any] = tomllib.loads((_FOLDER / f"{name}.toml").read_text())
    scores = {
        env: {algorithm: (float(mean), float(deviation)) for algorithm, (mean, deviation) in row.items()}
        for env, row in content.pop("scores").items()
    }
    return Reference(name=name, scores=scores, **content)
