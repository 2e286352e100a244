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
