"""Where a run's numbers come from: versions, commit, devices and flags, for `manifest.json`."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("jaxrl", "jax", "jaxlib", "flax", "optax", "distrax", "chex", "numpy", "gymnax", "brax")


def provenance() -> dict[str, Any]:
    """Return what has to be known to run the same experiment again, apart from its spec."""
    import jax

    return {
        "versions": versions(),
        "git": git(),
        "devices": devices(jax.devices()),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "jax_environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith("JAX_") and not name.endswith("_DIR")  # where files lie changes no number
        },
        "prng": jax.config.values["jax_default_prng_impl"],
        "threefry_partitionable": jax.config.values["jax_threefry_partitionable"],
        "x64": jax.config.values["jax_enable_x64"],
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that can change numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git() -> dict[str, Any] | None:
    """Return the commit of the source that is running and whether it was changed since; None outside git."""
    source = Path(__file__).resolve()

    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(source.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # An installed copy below somebody else's repository is not tracked by it.
        ask("ls-files", "--error-unmatch", str(source))
        return {
            "commit": ask("rev-parse", "HEAD"),
            "dirty": bool(ask("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def devices(used: list[Any]) -> dict[str, Any]:
    """Return kind, number and driver of the devices `used`."""
    return {
        "platform": used[0].platform,
        "kind": used[0].device_kind,
        "count": len(used),
        "driver": used[0].client.platform_version,
    }


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
