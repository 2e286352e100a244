"""Settings of every test, doctest and notebook, made before jax is imported."""

import os
from pathlib import Path

_SETTINGS = {
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parent / ".cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "MPLBACKEND": "Agg",
}

# Beside the first flag alone the others take four fifths off a small compile. What is learned with all three
# runs at a third of its speed (C51, DQN), which is why slow tests and notebooks have none of them.
_QUICK_COMPILES = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)

for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)


def pytest_configure(config):
    """Leave out XLA's optimisation, most of a compile, where programs run but briefly.

    That is in every test that is not slow; notebooks run as users run them.
    """
    if config.option.markexpr == "not slow" and not getattr(config.option, "nbmake", False):
        os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_QUICK_COMPILES]).strip()
