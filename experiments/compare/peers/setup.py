"""`python -m experiments.compare.peers.setup [rejax] [flashbax] [sb3]`: make the peers' environments, once.

Each lives under `.cache/peers/`, apart from ours, because the peers need other versions: rejax 0.1.3 does not
run with gymnax 1.0. The versions of what they depend on are those with which they were found to work.
"""

import json
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / ".cache" / "peers"

# One `pip install` a group, in this order: torch before the package that would choose its own.
REQUIREMENTS = {
    "rejax": (("jax==0.10.2", "flax==0.12.8", "optax==0.2.8", "gymnax==0.0.9", "rejax==0.1.3"),),
    "flashbax": (("jax==0.10.2", "flax==0.12.8", "flashbax==0.1.3"),),
    "sb3": (("torch==2.13.0",), ("stable-baselines3==2.9.2", "gymnasium==1.4.0")),
}


def interpreter(peer: str) -> Path | None:
    """Return the Python of a peer's environment, or None if that is not there or was made otherwise."""
    python = FOLDER / peer / "bin" / "python"
    stamp = FOLDER / peer / "installed.json"
    wanted = [list(group) for group in REQUIREMENTS[peer]]
    ready = python.exists() and stamp.exists() and json.loads(stamp.read_text()) == wanted
    return python if ready else None


def create(peer: str) -> Path:
    """Make a peer's environment, unless it is there, and return its Python.

    Raises:
      subprocess.CalledProcessError: if something cannot be installed.
    """
    found = interpreter(peer)
    if found is not None:
        return found
    folder = FOLDER / peer
    print(f"creating {folder.relative_to(FOLDER.parents[1])}: {REQUIREMENTS[peer]}", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    python = folder / "bin" / "python"
    for group in REQUIREMENTS[peer]:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *group], check=True)
    (folder / "installed.json").write_text(json.dumps(REQUIREMENTS[peer]))
    return python


def main(peers: list[str]) -> int:
    """Make the environments of `peers`, by default of all, and return the exit code."""
    unknown = [peer for peer in peers if peer not in REQUIREMENTS]
    if unknown:
        print(f"`peers` must be among {', '.join(REQUIREMENTS)}, got {unknown[0]!r}", file=sys.stderr)
        return 2
    for peer in peers or REQUIREMENTS:
        try:
            print(f"{peer}: {create(peer).relative_to(FOLDER.parents[1])}")
        except subprocess.CalledProcessError as error:
            print(f"{peer}: could not be installed: {' '.join(map(str, error.cmd[1:]))}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
