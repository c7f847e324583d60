"""The folder of generated files, `.local/`."""

import hashlib
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
BIN = LOCAL / "bin"
VENV = LOCAL / "venv"
PYTHON = VENV / "bin" / "python"
LOGS = LOCAL / "logs"
RUN = LOCAL / "run"
PROJECT = LOCAL / "project"
STATE = LOCAL / "state"
CLOUD_STATE = LOCAL / "cloud"
DOCKER_CONFIG = LOCAL / "docker-config"
AWS = LOCAL / "aws"
# Staged build contexts, which the program writes.
CONTEXTS = LOCAL / "context"

# Removed if `.local/` was created by another version. The other folders are caches with hashes of their sources.
LAYOUT = "4"
EPHEMERAL = (RUN, PROJECT, STATE, CLOUD_STATE, DOCKER_CONFIG, AWS, LOGS)

ACCOUNTS = {"registry": "111111111111", "consumer": "222222222222"}
REGION = "us-east-1"
DEFAULT_PORT = 4566
PORTS = range(1024, 65_535 + 1)
PORT_FILE = RUN / "port"


class LocalError(Exception):
    """Raised if a step of the local run cannot continue. The text says why and what to do."""


def port() -> int:
    """The loopback port of the local cloud: of the running one, otherwise `LOCAL_CLOUD_PORT`, otherwise 4566.

    Raises:
        LocalError: the variable is not a port, or differs from the port of the running local cloud.
    """
    value = os.environ.get("LOCAL_CLOUD_PORT", "")
    if value and not (value.isdigit() and int(value) in PORTS):
        raise LocalError(
            f"LOCAL_CLOUD_PORT={value!r} is not a port from {PORTS[0]} to {PORTS[-1]}. "
            "Example: LOCAL_CLOUD_PORT=4567 make demo"
        )
    remembered = int(PORT_FILE.read_text()) if PORT_FILE.exists() else None
    if remembered and value and int(value) != remembered:
        raise LocalError(
            f"The local cloud runs on port {remembered}, but LOCAL_CLOUD_PORT is {value}. Stop it first: make down"
        )
    return remembered or int(value or DEFAULT_PORT)


def digest(*paths: Path) -> str:
    """A short hash of files, which shows whether a cached product is out of date."""
    sha = hashlib.sha256()
    for path in paths:
        sha.update(path.read_bytes())
    return sha.hexdigest()[:12]


def remove(folder: Path) -> None:
    """Delete a folder of `.local/`, if it exists."""
    if folder.exists():
        shutil.rmtree(folder)
