"""What an environment is, and how one is named: the protocol, `Step`, and the registry.

An environment is a frozen dataclass that holds shapes and code only; every number that does not
set a shape is an array leaf of its `Params`. So equal environments share a compiled program, and
`vmap` over parameters is a sweep.
"""

import difflib
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from flax import struct
from jax.core import Tracer

from envs.spaces import Space

Params = Any
State = Any
Obs = Any


@struct.dataclass
class Step:
    """What one transition of a single environment returns beside its next state.

    Attributes:
      obs: the true next observation s', also when the episode ends here.
      reward: `[]` float32.
      terminated: `[]` bool; the process ended, so nothing may be bootstrapped.
      truncated: `[]` bool; the clock ended it. Never true together with `terminated`.
      metrics: named `[]` float32 values with fixed names. Reserved: "cost" (constraints) and
        "performance" (the true objective that a proxy reward may betray).
    """

    obs: Obs
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    metrics: dict[str, jax.Array] = struct.field(default_factory=dict)


@runtime_checkable
class Environment(Protocol):
    """A single, unbatched world that never resets itself. See `envs.testing.check_env`.

    Optional members, found by `hasattr`: `time_limit(params) -> i32[]` (the step at which episodes
    are truncated), `check_params(params)` (raises a ValueError where concrete parameters make no sense, such
    as a map without a goal), `action_mask(state, params) -> bool[A]`, `outcomes(state_index, action, params)`
    (the exact model, see `envs.tabular`), `ascii(state, params) -> str` and
    `frame(state, params) -> uint8[H, W, 3]` (see `envs.render`).
    """

    @property
    def id(self) -> str:
        """The name under which results are kept."""
        ...

    def default_params(self) -> Params:
        """Return the parameters: a pytree of arrays."""
        ...

    def reset(self, key: jax.Array, params: Params) -> tuple[State, Obs]:
        """Return a first state and its observation."""
        ...

    def step(self, key: jax.Array, state: State, action: Any, params: Params) -> tuple[State, Step]:
        """Return the next state and what happened on the way."""
        ...

    def observation_space(self, params: Params) -> Space:
        """Return the space of observations; its shape does not depend on `params`."""
        ...

    def action_space(self, params: Params) -> Space:
        """Return the space of actions; its shape does not depend on `params`."""
        ...


_FACTORIES: dict[str, Callable[..., Environment]] = {}
# Suites of foreign environments: modules with `NAMES` and `make(name, **options)`, imported on first use. A
# suite is called like the package that it adapts; one with `OPEN = True` takes other names than those, too.
_SUITES: dict[str, str] = {
    "brax": "envs.adapters.brax",
    "craftax": "envs.adapters.craftax",
    "gymnasium": "envs.adapters.gymnasium",
    "gymnax": "envs.adapters.gymnax",
    "jumanji": "envs.adapters.jumanji",
    "navix": "envs.adapters.navix",
    "playground": "envs.adapters.playground",
    "xminigrid": "envs.adapters.xminigrid",
}
# The extra of jaxrl that brings a suite's package, and the package, where they are not called like the suite.
_EXTRAS = {"brax": "physics"}
_PACKAGES = {"playground": "mujoco_playground"}


def register(id: str, factory: Callable[..., Environment]) -> None:
    """Make `factory` known as `id`, so that `make(id, **options)` returns `factory(**options)`.

    Raises:
      ValueError: if `id` is taken, or names a suite by a prefix ("suite/...").
    """
    if "/" in id:
        raise ValueError(f"`id` must not hold a '/', which is kept for suites, got {id!r}")
    if id in _FACTORIES:
        raise ValueError(
            f"`id` {id!r} is already registered; choose another, for instance a new version suffix"
        )
    _FACTORIES[id] = factory


def names(suite: str | None = None) -> list[str]:
    """Return the ids that `make` accepts, sorted.

    Args:
      suite: "native", or a suite's name, whether its package is installed or not; None for the native ones
        and those of all suites whose package is installed.

    >>> "FrozenLake8x8-v1" in names("native")
    True
    """
    _check_suite(suite)
    ids = list(_FACTORIES) if suite in (None, "native") else []
    for prefix, module in _SUITES.items():
        if suite == prefix or (suite is None and missing_extra(prefix) is None):
            ids += [f"{prefix}/{name}" for name in importlib.import_module(module).NAMES]
    return sorted(ids)


def make(id: str, **options: Any) -> tuple[Environment, Params]:
    """Return the environment called `id` and its default parameters.

    Args:
      id: a native id ("FourRooms-v1") or a suite's ("gymnax/CartPole-v1"); see `names`.
      **options: what sets a shape (sizes, maps), as the environment's constructor takes them.

    Raises:
      ValueError: if no environment has that id; the closest ids are named.

    >>> env, params = make("FourRooms-v1")
    """
    if not isinstance(id, str):
        raise ValueError(f"`id` must be a text such as 'CartPole-v1', got {id!r}")
    if id in _FACTORIES:
        factory = _FACTORIES[id]
    else:
        suite, _, name = id.partition("/")
        if not name or suite == "native":
            raise ValueError(unknown("environment", id, names()))
        _check_suite(suite)
        module = importlib.import_module(_SUITES[suite])
        if name in getattr(module, "LEFT_OUT", {}):
            raise ValueError(f"environment {id!r} is left out: {module.LEFT_OUT[name]}")
        if name not in module.NAMES and not getattr(module, "OPEN", False):
            raise ValueError(unknown("environment", id, names(suite)))

        def factory(**options):
            return module.make(name, **options)

    try:
        env = factory(**options)
    except TypeError as error:
        raise ValueError(
            f"environment {id!r} does not take the options {sorted(options)}: {error}"
        ) from error
    return env, env.default_params()


def suites() -> list[str]:
    """Return the names of the suites of foreign environments, installed or not.

    >>> "gymnax" in suites()
    True
    """
    return sorted(_SUITES)


def missing_extra(suite: str) -> str | None:
    """Return the extra of jaxrl that brings the package of `suite`, or None if it is installed.

    >>> missing_extra("gymnax") is None
    True
    """
    _check_suite(suite)
    is_there = suite == "native" or importlib.util.find_spec(_PACKAGES.get(suite, suite))
    return None if is_there else _EXTRAS.get(suite, suite)


def require(package: str, extra: str) -> None:
    """Raise an ImportError that names the extra to install, unless `package` is importable."""
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"`{package}` is not installed; `pip install 'jaxrl[{extra}]'` brings it")


_ASSUMED: ContextVar[tuple[tuple[Environment, int], ...]] = ContextVar("_ASSUMED", default=())


@contextmanager
def assume_time_limit(env: Environment, steps: int) -> Iterator[None]:
    """Within this, `time_limit` of `env` is `steps` where its parameters are traced.

    For programs that take parameters as arguments, and in which the limit decides on a shape: a learner made
    inside has the shapes that it has outside. The limit is then a constant of the program.

    >>> import envs
    >>> env, params = envs.make("CartPole-v1")
    >>> with assume_time_limit(env, 7):
    ...     shape = jax.eval_shape(lambda params: jax.numpy.zeros(time_limit(env, params)), params)
    >>> shape.shape
    (7,)
    """
    token = _ASSUMED.set(((env, steps), *_ASSUMED.get()))
    try:
        yield
    finally:
        _ASSUMED.reset(token)


def time_limit(env: Environment, params: Params | None = None, default: int = 1000) -> int:
    """Return the environment's own time limit in steps as a Python int, or `default` if it has none.

    Where `params` are missing it is the limit of the default parameters, and where they are traced too, if
    nothing else is known (see `assume_time_limit`).
    """
    if not hasattr(env, "time_limit"):
        return default
    with jax.ensure_compile_time_eval():
        limit = None if params is None else env.time_limit(params)  # type: ignore[attr-defined]
        if isinstance(limit, Tracer):
            limit = next((steps for known, steps in _ASSUMED.get() if known == env), None)
        if limit is None:
            limit = env.time_limit(env.default_params())  # type: ignore[attr-defined]
        return int(np.ceil(np.max(limit)))


def unknown(what: str, name: str, known: list[str]) -> str:
    """Return the message for a `name` that is not among `known`: the closest ones, or all if few.

    >>> unknown("suite", "gymnx", ["gymnax"])
    "unknown suite 'gymnx'; did you mean 'gymnax'?"
    """
    lower = {k.lower(): k for k in known}
    close = [lower[k] for k in difflib.get_close_matches(name.lower(), list(lower), n=3, cutoff=0.6)]
    if close:
        return f"unknown {what} {name!r}; did you mean {' or '.join(map(repr, close))}?"
    listed = ", ".join(sorted(known)) if len(known) <= 30 else ", ".join(sorted(known)[:30]) + ", ..."
    return f"unknown {what} {name!r}; known are: {listed}"


def _check_suite(suite: str | None) -> None:
    known = ["native", *_SUITES]
    if suite is not None and suite not in known:
        raise ValueError(unknown("suite", suite, known))
