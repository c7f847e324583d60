"""Where everything generated lives, and the environment in which plain `pulumi` works against the local cloud."""

import hashlib
import os
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
BIN = LOCAL / "bin"
VENV = LOCAL / "venv"
LOGS = LOCAL / "logs"
RUN = LOCAL / "run"
PROJECT = LOCAL / "project"
STATE = LOCAL / "state"
CLOUD_STATE = LOCAL / "cloud"
DOCKER_CONFIG = LOCAL / "docker-config"
AWS = LOCAL / "aws"

# Removed when `.local/` comes from another version of this file; the other folders are caches that carry
# the hash of what they were made from.
LAYOUT = "3"
EPHEMERAL = (RUN, PROJECT, STATE, CLOUD_STATE, DOCKER_CONFIG, AWS, LOGS)

ACCOUNTS = {"registry": "111111111111", "consumer": "222222222222"}
REGION = "us-east-1"
DEFAULT_PORT = 4566
PORTS = range(1024, 65_535 + 1)
PORT_FILE = RUN / "port"

# What of the caller's environment could lead to another cloud, backend or Python.
FOREIGN = ("AWS_", "PULUMI_", "VIRTUAL_ENV", "PYTHONPATH", "LAMBDA_BASE_IMAGE")


class LocalError(Exception):
    """A step of the local run cannot go on. The text says why and what to do."""


def port() -> int:
    """The loopback port of the local cloud: of the one that runs, else `LOCAL_CLOUD_PORT`, else 4566.

    Raises:
        LocalError: the variable is no port, or another one than that of the cloud that runs.
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
            f"The local cloud runs on port {remembered}, LOCAL_CLOUD_PORT is {value}. End it first: make down"
        )
    return remembered or int(value or DEFAULT_PORT)


def digest(*paths: Path) -> str:
    """A short hash of the given files, by which a cached product knows that it is out of date."""
    sha = hashlib.sha256()
    for path in paths:
        sha.update(path.read_bytes())
    return sha.hexdigest()[:12]


def prepare() -> str | None:
    """Make the folders; drop what another version left behind.

    Returns: a sentence about what was dropped, or None.
    """
    marker = LOCAL / "layout"
    dropped = None
    if LOCAL.exists() and (not marker.exists() or marker.read_text() != LAYOUT):
        from local import processes

        processes.stop_all()
        for folder in EPHEMERAL:
            remove(folder)
        dropped = "dropped the state that another version left; caches are kept"
    for folder in (LOCAL, BIN, *EPHEMERAL):
        folder.mkdir(exist_ok=True)
    marker.write_text(LAYOUT)
    return dropped


def remove(folder: Path) -> None:
    """Delete a folder of `.local/`, if it is there."""
    import shutil

    if folder.exists():
        shutil.rmtree(folder)


def environment() -> dict[str, str]:
    """The caller's environment, changed so that `pulumi`, `docker` and AWS clients talk to the local cloud alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, **_changes(), "PATH": os.pathsep.join([str(BIN), str(VENV / "bin"), os.environ["PATH"]])}


def exports() -> str:
    """The same as shell lines, for `eval "$(make env)"`."""
    foreign = sorted(name for name in os.environ if name.startswith(FOREIGN) and name not in _changes())
    lines = [f"unset {' '.join(foreign)}"] if foreign else []
    lines += [f"export {name}={shlex.quote(value)}" for name, value in _changes().items()]
    lines.append(f'export PATH={shlex.quote(str(BIN))}:{shlex.quote(str(VENV / "bin"))}:"$PATH"')
    return "\n".join(lines)


def _changes() -> dict[str, str]:
    from local import docker_engine, endpoint
    from offline import base_image

    changes = {
        "VIRTUAL_ENV": str(VENV),
        "PULUMI_HOME": str(LOCAL / "pulumi-home"),
        "PULUMI_BACKEND_URL": f"file://{STATE}",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "AWS_CONFIG_FILE": str(AWS / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(AWS / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": REGION,
        "DOCKER_CONFIG": str(DOCKER_CONFIG),
        **endpoint.variables(docker_engine.host()),
    }
    if host := docker_engine.host():
        changes["DOCKER_HOST"] = host
    if image := base_image.name():
        changes["LAMBDA_BASE_IMAGE"] = image
    return changes


def write_aws_profiles() -> None:
    """The profiles `registry` and `consumer`: a 12-digit access key is the root of that account in MiniStack."""
    config, credentials = [], []
    for profile, account in ACCOUNTS.items():
        config.append(f"[profile {profile}]\nregion = {REGION}\nendpoint_url = http://127.0.0.1:{port()}\n")
        credentials.append(f"[{profile}]\naws_access_key_id = {account}\naws_secret_access_key = local\n")
    (AWS / "config").write_text("\n".join(config))
    (AWS / "credentials").write_text("\n".join(credentials))
