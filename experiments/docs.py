"""`python -m experiments.docs`: writes `envs/README.md`, the table of all environments, and its picture.

Everything is read off the registry: spaces, limits, the docstrings, and the exact models. Optima are worked
out for environments that are not in the table yet, for all with `--fresh`; a test compares the rest.
"""

import argparse
import importlib
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import envs
from envs import render
from envs.core import _SUITES, Environment, Params
from envs.spaces import Box, Dict, Discrete, MultiDiscrete
from envs.tabular import extract
from experiments.store import write_text
from jaxrl.tabular import planning

PAGE = Path(envs.__file__).with_name("README.md")
GALLERY = PAGE.with_name("gallery.png")
COMMAND = "python -m experiments.docs"

# Where no exact model is at hand: what counts as solved, and who says so.
SOLVED = {
    "Acrobot-v1": "-100 (Gymnasium's threshold)",
    "CartPole-v1": "500; 475 is Gymnasium's threshold",
    "MountainCar-v1": "-110 (Gymnasium's threshold)",
    "MountainCarContinuous-v1": "90 (Gymnasium's threshold)",
    "CartPole-bsuite-v1": "1001",
    "Catch-bsuite-v1": "1",
    "DiscountingChain-bsuite-v1": "1.1",
    "MaskedCartPole-v1": "500",
    "MemoryChain-v1": "1",
    "RepeatCopy-v1": "1",
    "SimpleBandit-bsuite-v1": "1",
    "UmbrellaChain-bsuite-v1": "1",
}

INTRODUCTION = f"""# Environments

Written by `{COMMAND}`, from the registry; do not edit. `envs.make(id, **options)` returns an
environment and its parameters; `help` on its class says more.

- **Limit**: the step at which an episode is truncated.
- **Optimum**: the best expected return of an episode, undiscounted, within that limit. Exact numbers are
  worked out by backward induction on the environment's own model (`envs.tabular.extract`), for a policy that
  knows the model and sees the state; elsewhere it is a published threshold, or what a perfect policy
  gets; "-" means that none is known.

![A frame of each environment that draws itself, some random steps into an episode](gallery.png)
"""


def page(optima: Mapping[str, str]) -> str:
    """Return the text of `envs/README.md`.

    Args:
      optima: the text of the column "optimum" by id; an id that is missing gets "?".
    """
    sections: dict[str, list[str]] = {}
    for id in envs.names("native"):
        env, params = envs.make(id)
        sections.setdefault(_family(env), []).append(_row(id, env, params, optima.get(id, "?")))
    parts = [INTRODUCTION]
    for name in sorted(sections):
        summary = _first_line(importlib.import_module(name)).rstrip(".")
        parts.append(f"## {name}\n\n{summary}.\n\n" + "\n".join([*_HEADER, *sections[name]]) + "\n")
    return "\n".join([*parts, _suites()])


def recorded(text: str) -> dict[str, str]:
    """Return the optima by id that a page holds.

    >>> row = "| `A-v1` | | Discrete(2) | Discrete(2) | 9 | 1.5 | own |"
    >>> recorded(row)
    {'A-v1': '1.5'}
    """
    cells = [re.split(r"(?<!\\\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): row[5].strip() for row in cells if len(row) == len(_COLUMNS)}


def optimum(id: str) -> str:
    """Return the best expected return of an episode as the table shows it: exact, published, or "-".

    >>> optimum("FrozenLake4x4-v1"), optimum("CliffWalking-v1"), optimum("Pendulum-v1")
    ('0.7442', '-13', '-')
    """
    env, params = envs.make(id)
    horizon = envs.time_limit(env, params, default=0)
    if not hasattr(env, "outcomes") or not horizon:
        return SOLVED.get(id, "-")

    def best(params: Params) -> jax.Array:
        mdp = extract(env, params)
        return mdp.start @ planning.backward_induction(mdp, horizon)[0][0]

    return _number(float(jax.jit(best)(params)))


def gallery() -> np.ndarray:
    """Return frames of the native environments that draw themselves, some random steps into an episode."""
    made = {id: envs.make(id)[0] for id in envs.names("native") if not id.startswith("Masked")}
    ids = sorted((id for id in made if _is_drawn(made[id])), key=lambda id: (_family(made[id]), id))
    return render.contact_sheet({id: _frame(id) for id in ids}, columns=8, size=170)


def main(arguments: list[str] | None = None) -> int:
    """Write the page and its picture, and return the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="work out all optima anew")
    parser.add_argument("--no-gallery", action="store_true", help="leave the picture as it is")
    chosen = parser.parse_args(arguments)
    known = recorded(PAGE.read_text(encoding="utf-8")) if PAGE.exists() and not chosen.fresh else {}
    optima = {id: known[id] if known.get(id, "?") != "?" else optimum(id) for id in envs.names("native")}
    write_text(PAGE, page(optima))
    print(f"{PAGE}: {len(optima)} environments")
    if not chosen.no_gallery:
        print(render.png(gallery(), GALLERY))
    return 0


_MOST_IDS = 12
_COLUMNS = ("id", "task and reward", "observation", "action", "limit", "optimum", "source")
_HEADER = (f"| {' | '.join(_COLUMNS)} |", "|---|---|---|---|---:|---:|---|")


def _row(id: str, env: Environment, params: Params, optimum: str) -> str:
    limit = envs.time_limit(env, params, default=0)
    cells = (
        f"`{id}`",
        _task(env),
        _space(env.observation_space(params)),
        _space(env.action_space(params)),
        f"{limit:,}" if limit else "none",
        optimum,
        _source(env),
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _family(env: Environment) -> str:
    """Return the package an environment is written in: "envs.classic"."""
    return ".".join(type(env).__module__.split(".")[:2])


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


def _task(env: Environment) -> str:
    """Return the first line of a class's docstring, and the sentence after it that says what is paid."""
    body = re.split(r"\n\s*(?:Args:|Raises:|>>>|Source:)", type(env).__doc__ or "")[0]
    first, _, rest = " ".join(body.split()).partition(". ")
    paid = re.compile(r"\b(rewards?|pays?|paid|costs?)\b")
    sentences = re.split(r"(?<=\.)\s+(?=[A-Z`])", rest)
    said = [] if paid.search(first) else [text.rstrip(".") for text in sentences if paid.search(text)][:1]
    return ". ".join([first.rstrip("."), *said]) + "."


def _source(env: Environment) -> str:
    text = " ".join((type(env).__doc__ or "").partition("Source:")[2].split()).rstrip(".")
    return text or "own"


def _space(space: Any) -> str:
    """Return a space in few letters.

    >>> _space(Box(0.0, 1.0, (10, 10, 4))), _space(Discrete(2)), _space(Box(-math.inf, math.inf, (4,)))
    ('Box 10x10x4 in [0, 1]', 'Discrete 2', 'Box 4')
    """
    if isinstance(space, Discrete):
        return f"Discrete {space.n}"
    if isinstance(space, MultiDiscrete):
        return f"MultiDiscrete {', '.join(map(str, space.nvec))}"
    if isinstance(space, Dict):
        return "; ".join(f"{name}: {_space(inner)}" for name, inner in space.spaces.items())
    if isinstance(space, Box):
        low, high = float(np.min(space.low)), float(np.max(space.high))
        same = np.all(np.asarray(space.low) == low) and np.all(np.asarray(space.high) == high)
        bounds = f" in [{low:g}, {high:g}]" if same and math.isfinite(low) and math.isfinite(high) else ""
        return f"Box {'x'.join(map(str, space.shape)) or 'scalar'}{bounds}"
    return type(space).__name__


def _number(value: float) -> str:
    """Return an exact optimum in four digits after the point, or as a whole number where it is one.

    >>> _number(7.929999), _number(-13.000001)
    ('7.93', '-13')
    """
    return f"{value:.4f}".rstrip("0").rstrip(".").replace("-0", "0") if abs(value) < 5e-5 else _trimmed(value)


def _trimmed(value: float) -> str:
    text = f"{value:.{max(0, min(4, 5 - len(str(int(abs(value))))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _is_drawn(env: Environment) -> bool:
    space = env.observation_space(env.default_params())
    return hasattr(env, "frame") or (isinstance(space, Box) and len(space.shape) == 3)


def _frame(id: str) -> np.ndarray:
    env, params = envs.make(id)
    key_reset, key_act, key_step = jax.random.split(jax.random.key(1), 3)
    state, obs = jax.jit(env.reset)(key_reset, params)
    step = jax.jit(env.step)
    for t in range(30):
        action = env.action_space(params).sample(jax.random.fold_in(key_act, t))
        following, out = step(jax.random.fold_in(key_step, t), state, action, params)
        if bool(out.terminated | out.truncated):
            break
        state, obs = following, out.obs
    return render.frame(env, state, params, obs)


def _suites() -> str:
    """Return the section on foreign environments."""
    lines = ["| prefix | what | ids |", "|---|---|---|"]
    for prefix, name in sorted(_SUITES.items()):
        module = importlib.import_module(name)
        ids = ", ".join(f"`{id}`" for id in sorted(module.NAMES)[:_MOST_IDS])
        if len(module.NAMES) > _MOST_IDS:
            ids += f" and {len(module.NAMES) - _MOST_IDS} more"
        lines.append(f"| `{prefix}/` | {_first_line(module)} | {ids} |")
    about = "Behind the same protocol, by a prefix; `jaxrl list envs` shows those that are installed."
    return f"## Other people's environments\n\n{about}\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
