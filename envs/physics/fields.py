"""What a physical quantity is called in each world: semantic names, and paths into its params and states.

Fields with the right name and no effect are the trap of randomization by hand: Brax reads
`link.inertia.mass` on three of its backends and `body_mass` on the fourth, and each system has both. So a
quantity is asked for by what it means, here it is said where it lies, and `envs.physics.probe` shows that
it matters. Worlds whose params use these names themselves, such as `PointRobot`, need no row.

A path names attributes and dictionary keys (which may hold dots), "sys.link.inertia.mass"; ":0" at its end
takes column 0 of the last axis, "sys.geom_friction:0".

Gravity keeps the sign that it has in a world: Brax's is the last of three components, -9.81 m/s^2, those of
the native worlds are positive, 9.81 or 10 m/s^2. A factor is the same in both, "add" and "set" are not.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.core import Params, unknown
from envs.wrappers import Wrapper

_CART_POLE = {
    "mass": ("cart_mass", "pole_mass"),
    "length": ("half_length",),
    "gear": ("force",),
    "gravity": ("gravity",),
}
_LINKS = {
    "mass": ("sys.link.inertia.mass", "sys.link.inertia.i"),
    "friction": ("sys.geom_friction:0",),
    "gear": ("sys.actuator.gear",),
    "gravity": ("sys.gravity:2",),
}
# Where each quantity lies in the params of a world, named by its class or, for Brax, by its backend. Where
# several fields belong to it, the others change in proportion to the first: a heavier link is harder to turn.
QUANTITIES: dict[str, dict[str, tuple[str, ...]]] = {
    "Acrobot": {
        "mass": ("mass_1", "mass_2", "inertia"),
        "length": ("length_1", "length_2", "centre_1", "centre_2"),
        "gear": ("torque",),
        "gravity": ("gravity",),
    },
    "CartPole": _CART_POLE,
    "CartPoleSwingUp": _CART_POLE,
    "MountainCar": {"gear": ("force",), "gravity": ("gravity",)},
    "Pendulum": {
        "mass": ("mass",),
        "length": ("length",),
        "gear": ("torque_limit",),
        "gravity": ("gravity",),
    },
    "brax/spring": _LINKS | {"damping": ("sys.link.constraint_ang_damping",)},
    "brax/positional": _LINKS | {"damping": ("sys.link.constraint_ang_damping",)},
    "brax/generalized": _LINKS | {"damping": ("sys.dof.damping",), "armature": ("sys.dof.armature",)},
    "brax/mjx": {
        "mass": ("sys.body_mass", "sys.body_inertia"),
        "friction": ("sys.geom_friction:0",),
        "gear": ("sys.actuator_gear:0",),
        "gravity": ("sys.opt.gravity:2",),
        "damping": ("sys.dof_damping",),
        "armature": ("sys.dof_armature",),
    },
}
# Where a world's state keeps the velocities that a push changes; one kick is shared by all but the last axis.
VELOCITIES: dict[str, tuple[str, ...]] = {
    "Acrobot": ("velocity_1", "velocity_2"),
    "CartPole": ("velocity",),
    "CartPoleSwingUp": ("velocity",),
    "MountainCar": ("velocity",),
    "Pendulum": ("velocity",),
    "PlanarHopper": ("qd",),
    "PointRobot": ("velocity",),
    "Reacher": ("velocity",),
    "brax/spring": ("pipeline.xd_i.vel",),
    "brax/positional": ("pipeline.xd_i.vel",),
    "brax/generalized": ("pipeline.qd",),
    "brax/mjx": ("pipeline.qvel",),
}
# What a wrapper's number means, where it is called otherwise.
_ALIASES = {"sensor_noise": "noise"}


def core(env: Any) -> Any:
    """Return the world under all wrappers."""
    while isinstance(env, Wrapper):
        env = env.env
    return env


def world(env: Any) -> str:
    """Return the name of the world under all wrappers: its class, or Brax and its backend.

    >>> import envs
    >>> from envs.wrappers import FrameStack
    >>> world(FrameStack(envs.make("Pendulum-v1")[0]))
    'Pendulum'
    """
    env = core(env)
    backend = getattr(env, "backend", None)
    return type(env).__name__ if backend is None else f"brax/{backend}"


def paths(env: Any, params: Params, name: str) -> tuple[str, ...]:
    """Return where the quantity `name` lies in `params` of `env`.

    A wrapper's number comes first ("latency" of a `DelayedAction`), then the table of the world, then a path
    into the params themselves.

    Raises:
      ValueError: if there is no such quantity; the closest are named.

    >>> import envs
    >>> paths(*envs.make("CartPole-v1"), "gear")
    ('force',)
    """
    prefix, known, inside = "", [], env
    while isinstance(inside, Wrapper):
        own = {alias: f"values.{number}" for alias, number in _ALIASES.items() if number in inside.own}
        own |= {number: f"values.{number}" for number in inside.own}
        if name in own:
            return (prefix + own[name],)
        known += own
        prefix, inside = prefix + "env." * bool(inside.own), inside.env
    table = QUANTITIES.get(world(inside), {})
    if name in table:
        for path in table[name]:
            if not _is_there(params, prefix + path):
                raise ValueError(
                    f"{name!r} must matter in the world, but {inside.id!r} ({world(inside)}) has no {path}: "
                    "nothing in it reads that"
                )
        return tuple(prefix + path for path in table[name])
    known += table
    inner = read(params, prefix[:-1]) if prefix else params
    place, column = _split(name)
    if _walk(inner, place)[1] is not None:
        known += [path for path in _below(inner) if path not in known]
        raise ValueError(unknown(f"quantity of {world(env)}", name, known))
    if column and (fault := wrong(inner, name)) is not None:
        raise ValueError(f"`name` must be a path in the params of {world(env)}, but {fault}")
    leaf = read(params, prefix + name)
    if not isinstance(leaf, jax.Array | np.ndarray) or not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise ValueError(f"`{name}` of {world(env)} must be an array of floats, got {leaf!r}")
    return (prefix + name,)


def bounds(env: Any, name: str) -> tuple[float, float]:
    """Return between which values the number `name` of a wrapper makes sense; infinite where none says so.

    A wrapper says it by its attribute `bounds`.

    >>> import envs
    >>> from envs.physics import DelayedAction
    >>> env = DelayedAction(envs.make("CartPole-v1")[0], max_latency=3)
    >>> bounds(env, "latency"), bounds(env, "gear")
    ((0.0, 3.0), (-inf, inf))
    """
    number = _ALIASES.get(name, name)
    while isinstance(env, Wrapper):
        if number in env.own:
            return env.bounds.get(number, (-math.inf, math.inf))
        env = env.env
    return -math.inf, math.inf


def canonical(params: Params, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return `paths` into `params` with columns that count from the front.

    >>> canonical({"a": jnp.zeros(3)}, ("a:-1",))
    ('a:2',)
    """

    def counted(path: str) -> str:
        place, column = _split(path)
        return f"{place}:{int(column[1:]) % read(params, place).shape[-1]}" if column else path

    return tuple(counted(path) for path in paths)


def read(tree: Any, path: str) -> Any:
    """Return what lies at `path`.

    >>> read({"a.b": jnp.arange(6).reshape(2, 3)}, "a.b:1").tolist()
    [1, 4]
    """
    path, column = _split(path)
    name, rest = _first(tree, path)
    tree = tree[name] if isinstance(tree, dict) else getattr(tree, name)
    if rest:
        return read(tree, rest + column)
    return tree[..., int(column[1:])] if column else tree


def write(tree: Any, path: str, value: Any) -> Any:
    """Return `tree` with `value` at `path`.

    >>> write({"a": {"b": jnp.zeros(2)}}, "a.b:1", 3.0)["a"]["b"].tolist()
    [0.0, 3.0]
    """
    path, column = _split(path)
    name, rest = _first(tree, path)
    inner = tree[name] if isinstance(tree, dict) else getattr(tree, name)
    if rest:
        value = write(inner, rest + column, value)
    elif column:
        value = inner.at[..., int(column[1:])].set(value)
    if isinstance(tree, dict):
        return tree | {name: value}
    return tree.replace(**{name: value}) if hasattr(tree, "replace") else tree._replace(**{name: value})


def wrong(tree: Any, path: str) -> str | None:
    """Return what is wrong with a `path` into `tree`, or None if an array, or a column of one, lies there.

    Of arrays only shapes are asked for. JAX would read another column in place of one that is not there.

    >>> wrong({"a": jnp.zeros(2)}, "a:5")
    "'a:5' takes a column of a, which has columns 0 to 1"
    """
    place, column = _split(path)
    inner, missing = _walk(tree, place)
    if missing is not None:
        return missing
    if not hasattr(inner, "shape"):
        return f"{path!r} is no array, it holds {', '.join(_names(inner)[:30]) or repr(inner)}"
    if not column:
        return None
    size = inner.shape[-1] if inner.shape else 0
    if not size:
        return f"{path!r} takes a column of {place}, which is one number and has none"
    try:
        index = int(column[1:])
    except ValueError:
        index = size
    if not -size <= index < size:
        return f"{path!r} takes a column of {place}, which has columns 0 to {size - 1}"
    return None


def _walk(tree: Any, place: str) -> tuple[Any, str | None]:
    """Return what lies at `place`, a path without a column, or None and why nothing does."""
    rest, at = place, ""
    while True:
        names = _names(tree)
        name, after = _first(tree, rest)
        if name not in names or rest == name + ".":
            held = f"only {', '.join(names[:30])}" if names else "no parts"
            return None, f"there is no {place!r}: " + (f"{at} has {held}" if at else f"there are {held}")
        tree = tree[name] if isinstance(tree, dict) else getattr(tree, name)
        rest, at = after, f"{at}.{name}".lstrip(".")
        if not rest:
            return tree, None


def _is_there(tree: Any, path: str) -> bool:
    return wrong(tree, path) is None


def _names(tree: Any) -> list[str]:
    """Return the names that lie in a dictionary, a dataclass or a named tuple, none in anything else."""
    if isinstance(tree, dict):
        return list(tree)
    if dataclasses.is_dataclass(tree):
        return [field.name for field in dataclasses.fields(tree)]
    return list(getattr(tree, "_fields", ()))


def _below(tree: Any) -> list[str]:
    """Return the paths of `tree`, and those within its dictionaries."""
    inside = {name: tree[name] if isinstance(tree, dict) else getattr(tree, name) for name in _names(tree)}
    return [
        path
        for name, value in inside.items()
        for path in ([f"{name}.{key}" for key in value] if isinstance(value, dict) else [name])
    ]


def _split(path: str) -> tuple[str, str]:
    path, colon, column = path.partition(":")
    return path, colon + column


def _first(tree: Any, path: str) -> tuple[str, str]:
    """Return the first name of `path` and the rest; a key of a dictionary may hold dots."""
    if isinstance(tree, dict) and path in tree:
        return path, ""
    name, _, rest = path.partition(".")
    return name, rest
