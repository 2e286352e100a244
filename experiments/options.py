"""The options of the command `jaxrl`: declared for tyro, read into a `RunSpec`, misread in one line."""

import contextlib
import dataclasses
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg
from tyro.constructors import PrimitiveConstructorSpec

from experiments.spec import RunSpec, show


class UsageError(ValueError):
    """A command line that cannot be understood."""


def count(text: Sequence[str]) -> int:
    """Return a whole number written as 500000, 500_000, 5e5 or 500k."""
    factor = {"k": 1e3, "m": 1e6, "g": 1e9}.get(text[0][-1:].lower(), 1)
    number = float(text[0][:-1] if factor > 1 else text[0]) * factor
    if not math.isfinite(number) or number != int(number):
        raise ValueError(f"{text[0]} is not a whole number")
    return int(number)


Count = Annotated[
    int,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="N",
        instance_from_str=count,
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    ),
]
Flag = FlagCreatePairsOff[bool]
Folder = Annotated[Path, arg(metavar="FOLDER")]
File = Annotated[Path | None, arg(metavar="FILE")]
Metric = Annotated[str | None, arg(metavar="NAME")]
Run = Annotated[Positional[str], arg(metavar="RUN")]
Runs = Annotated[Positional[tuple[str, ...]], arg(metavar="RUN...")]
Pairs = Annotated[tuple[str, ...], arg(metavar="NAME=VALUE ...")]


@dataclass(frozen=True)
class TrainOptions:
    """What is run and where it is kept."""

    env: Annotated[str, arg(metavar="ID")]
    """Environment to train in; `jaxrl list envs` shows all ids."""
    total_steps: Count = 500_000
    """Environment steps of each seed, as 500000, 5e5 or 500k; rounded up to whole iterations."""
    seeds: Annotated[int, arg(metavar="N")] = 10
    """How many seeds to train of each configuration, all in one program."""
    first_seed: Annotated[int, arg(metavar="I")] = 0
    """Id of the first seed; the others follow it."""
    env_options: Pairs = ()
    """What sets shapes in the environment, as its constructor takes it."""
    env_params: Pairs = ()
    """Numbers of the environment that differ from its defaults."""
    evaluations: Annotated[int, arg(metavar="N")] = 10
    """How often the policy is evaluated, evenly spread, the last time at the end."""
    eval_episodes: Annotated[int, arg(metavar="N")] = 16
    """Episodes of each evaluation."""
    name: Annotated[str, arg(metavar="NAME")] = ""
    """Folder the run is filed under; by default the algorithm and the environment."""
    runs: Folder = Path("runs")
    """Where runs are stored."""
    save_every: Annotated[float, arg(metavar="SECONDS")] = 30.0
    """Least time between two checkpoints; one is always written at the end, and on Ctrl-C."""
    quiet: Flag = False
    """Print nothing but errors."""
    dry_run: Flag = False
    """Check everything, print the complete spec as TOML (for `jaxrl run`), and stop."""


@dataclass(frozen=True)
class SweepOptions(TrainOptions):
    """What is run, over which values, and where it is kept."""

    grid: Annotated[tuple[str, ...], arg(metavar="FIELD=V1,V2,... ...")] = ()
    """Hyperparameters to vary and their values; all combinations are trained in one program."""


def options_class(command: str, algorithm: str, options: type) -> type:
    """Return a dataclass of the run's options and the algorithm's hyperparameters, for tyro to read."""
    import jaxrl
    from experiments.experiment import hyperparameters

    try:
        module = jaxrl.algorithm(algorithm)
    except ValueError as error:
        raise UsageError(str(error)) from error
    about = _field_docs(module.Config)
    fields = []
    for name, field in hyperparameters(module.Config).items():
        choices = field.metadata.get("choices", ())
        help_text = about.get(name, name.replace("_", " ")) + (
            f" One of: {', '.join(choices)}." if choices else ""
        )
        kind = _option_type(field)
        fields.append((name, Annotated[kind, arg(help=help_text)], dataclasses.field(default=field.default)))
    hypers = dataclasses.make_dataclass("Hyperparameters", fields, frozen=True)
    hypers.__doc__ = f"Hyperparameters of {algorithm}."
    both = dataclasses.make_dataclass("Options", [("run", options), ("hyperparameters", hypers)], frozen=True)
    summary = (module.__doc__ or "").strip().splitlines()[0]
    both.__doc__ = f"{'Sweep' if command == 'sweep' else 'Train'} {algorithm}. {summary}"
    return both


def _option_type(field: dataclasses.Field) -> Any:
    if isinstance(field.type, str):
        return {"float": float, "int": int, "bool": bool, "str": str}.get(field.type, type(field.default))
    return field.type


def _field_docs(Config: type) -> dict[str, str]:
    from docstring_parser import parse_from_object

    # Fields may be inherited; a subclass that declares one again explains it anew.
    return {
        parameter.arg_name: " ".join((parameter.description or "").split())
        for kind in reversed(Config.__mro__[:-1])
        for parameter in parse_from_object(kind).params
    }


def to_spec(algorithm: str, options: TrainOptions, hyperparameters: Any) -> RunSpec:
    """Return the spec that the parsed options describe.

    Raises:
      UsageError: if a pair is not NAME=VALUE, a sweep has no grid, or a hyperparameter is given twice.
      SpecError: if a value is not accepted.
    """
    if options.seeds < 1:
        raise UsageError(f"`--seeds` must be at least 1, got {options.seeds}")
    grid = {}
    for name, values in pairs("--grid", getattr(options, "grid", ())).items():
        grid[name.replace("-", "_")] = values if isinstance(values, tuple) else (values,)
    if isinstance(options, SweepOptions) and not grid:
        raise UsageError(
            "`--grid` must give at least one hyperparameter and its values; "
            "`jaxrl train` trains one configuration"
        )
    for field in dataclasses.fields(hyperparameters):
        value = getattr(hyperparameters, field.name)
        if field.name in grid and value != field.default:
            option = field.name.replace("_", "-")
            raise UsageError(
                f"`--{option}` must not be given together with `--grid {field.name}=...`, got {show(value)}"
            )
    # tyro has read "none" as None where the hyperparameter may be switched off.
    config = {
        field.name: "none"
        if getattr(hyperparameters, field.name) is None
        else getattr(hyperparameters, field.name)
        for field in dataclasses.fields(hyperparameters)
        if field.name not in grid
    }
    return RunSpec(
        algorithm=algorithm,
        env=options.env,
        total_steps=options.total_steps,
        seeds=range(options.first_seed, options.first_seed + options.seeds),
        env_options=pairs("--env-options", options.env_options),
        env_params=pairs("--env-params", options.env_params),
        config=config,
        grid=grid,
        evaluations=options.evaluations,
        eval_episodes=options.eval_episodes,
        name=options.name,
    )


def pairs(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return what `option` was given as NAME=VALUE, by name, the values as `parse` reads them.

    Raises:
      UsageError: if a text is not NAME=VALUE, or a name is given twice.

    >>> pairs("--env-params", ["slip=0.2", "max_steps=50"])
    {'slip': 0.2, 'max_steps': 50}
    """
    from experiments.experiment import parse

    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"`{option}` must be NAME=VALUE, got {text!r}")
        if name.replace("-", "_") in {given.replace("-", "_") for given in found}:
            raise UsageError(f"`{option}` must give {name} once, got it twice")
        found[name] = parse(value)
    return found


def parse_arguments(parser: Callable[[list[str]], Any], arguments: list[str]) -> Any:
    """Return what tyro makes of the arguments; its boxed error messages become one line."""
    caught = io.StringIO()
    try:
        with contextlib.redirect_stderr(caught):
            return parser(arguments)
    except SystemExit as error:
        if error.code in (0, None):
            raise
        raise UsageError(one_line(caught.getvalue())) from None


def one_line(box: str) -> str:
    r"""Return tyro's boxed error message as one line.

    >>> one_line("╭ Value error ─╮\n│ Error parsing --lr: no float │\n│ ──── │\n│ Argument helptext: │\n╰──╯")
    'Error parsing --lr: no float'
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    kept = []
    for line in plain.splitlines():
        text = line.strip("│| ")
        if text.startswith(("Argument helptext", "For full helptext")):
            break
        if text and not text.startswith(("╭", "╰", "+")) and not re.fullmatch("[─-]+", text):
            kept.append(text)
    joined = re.sub(r"\s+", " ", " ".join(kept)).replace(" Perhaps you meant:", "; perhaps you meant")
    return joined or "cannot understand the command line; see `jaxrl --help`"
