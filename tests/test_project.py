"""What holds for the project as a whole: cheap imports, names, documentation, packaging."""

import ast
import itertools
import json
import os
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("envs", "jaxrl", "experiments")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run_python(code: str):
    """Return what `code`, run in a fresh interpreter, prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(done.stdout)


def test_importing_the_packages_costs_at_most_a_second_more_than_jax_flax_and_optax():
    code = """
import jax, flax.linen, optax
import json, time
start = time.perf_counter()
import jaxrl, envs
print(json.dumps(time.perf_counter() - start))
"""
    seconds = [run_python(code) for _ in range(3)]
    assert statistics.median(seconds) < 1.0, f"seconds of three imports: {seconds}"


@pytest.mark.parametrize("package", ["envs", "jaxrl"])
def test_importing_a_package_loads_no_heavy_or_optional_one(package):
    heavy = {
        *(
            "brax",
            "distrax",
            "gymnasium",
            "gymnax",
            "jaxopt",
            "matplotlib",
            "mujoco",
            "pandas",
            "scipy.stats",
        ),
        *("seaborn", "tensorflow_probability", "tyro", "experiments"),
    }
    loaded = set(run_python(f"import json, sys, {package}; print(json.dumps(sorted(sys.modules)))"))
    assert package in loaded
    assert not heavy & loaded


def test_importing_the_packages_makes_no_array():
    # No such platform exists, so that whatever starts a backend raises.
    environment = {**os.environ, "JAX_PLATFORMS": "none"}
    subprocess.run([sys.executable, "-c", "import envs, jaxrl"], env=environment, timeout=120, check=True)
    array = subprocess.run(
        [sys.executable, "-c", "import jax; jax.numpy.zeros(())"],
        env=environment,
        timeout=120,
        capture_output=True,
    )
    assert array.returncode != 0


def test_no_module_is_named_after_nothing():
    nameless = {"utils", "util", "helpers", "helper", "misc", "common", "base"}
    assert [str(path) for path in MODULES if path.stem in nameless or path.stem.startswith("base_")] == []


def test_every_module_says_what_it_is():
    undocumented = [
        str(path.relative_to(ROOT)) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert undocumented == []


def test_every_folder_of_modules_is_a_package():
    # The wheel takes packages only: a folder without `__init__.py` would be missing from it.
    assert {path.parent for path in MODULES if not (path.parent / "__init__.py").exists()} == set()


def test_public_names_exist_and_are_listed_once():
    code = """
import json, envs, jaxrl
names = {m.__name__: [m.__all__, [n for n in m.__all__ if not hasattr(m, n)]] for m in (envs, jaxrl)}
print(json.dumps(names))
"""
    for package, (listed, missing) in run_python(code).items():
        assert len(listed) == len(set(listed)), package
        assert missing == [], package


def test_the_changelog_has_an_entry_for_this_version():
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_exact_versions_are_plain_and_cover_every_dependency():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    wanted = itertools.chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    names = {requirement.split(">=")[0].split("[")[0] for requirement in wanted} - {"jaxrl"}
    assert names <= pins.keys()
    assert not [line for line in lines if "/" in line or "@" in line]
