"""Figures that a textbook or paper shows, computed anew: `jaxrl figures NAME ...` draws them.

A figure is a module of this package. Its docstring says what is drawn and what should be seen, and it has

    draw(path, quick=False) -> Path

which computes everything and writes the PNG `path` with `experiments.plots.save`; `quick` chooses sizes that
only show that it works.
"""

import importlib
import pkgutil
from pathlib import Path

from envs.core import unknown


def names() -> list[str]:
    """Return the figures there are, sorted; imports none of them."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__))


def check(name: str) -> None:
    """Check that there is a figure of this name.

    Raises:
      ValueError: naming the closest ones if not.
    """
    if name not in names():
        raise ValueError(unknown("figure", name, names()))


def draw(name: str, folder: Path, quick: bool = False) -> Path:
    """Compute and draw one figure, and return the PNG it is in, `<folder>/<name>.png`.

    Args:
      name: one of `names()`.
      folder: where to; made if need be.
      quick: choose sizes that only show that it works.

    Raises:
      ValueError: for an unknown name.
      StoreError: if the file cannot be written.
    """
    check(name)
    path = Path(folder) / f"{name}.png"
    return importlib.import_module(f"{__name__}.{name}").draw(path, quick)
