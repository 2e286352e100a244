"""Settings of every test, doctest and notebook, made before jax is imported."""

import os
from pathlib import Path

_SETTINGS = {
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parent / ".cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "MPLBACKEND": "Agg",
}

for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)


def pytest_configure(config):
    """Leave out XLA's optimisation, most of a compile, where programs run but briefly.

    That is in every test that is not slow; notebooks run as users run them.
    """
    if config.option.markexpr == "not slow" and not getattr(config.option, "nbmake", False):
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_backend_optimization_level=0".strip()
