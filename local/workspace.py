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
DOCKER_CONFIG = LOCAL / "docker-config"
AWS = LOCAL / "aws"

# Removed when `.local/` comes from another version of this file; the other folders are caches that carry
# the hash of what they were made from.
LAYOUT = "1"
EPHEMERAL = (RUN, PROJECT, STATE, DOCKER_CONFIG, AWS, LOGS)

ACCOUNTS = {"registry": "111111111111", "consumer": "222222222222"}
REGION = "us-east-1"
DEFAULT_PORT = 4566


class LocalError(Exception):
    """A step of the local run cannot go on. The text says why and what to do."""


def port() -> int:
    """The loopback port of the local cloud: `LOCAL_CLOUD_PORT`, 4566 if unset."""
    value = os.environ.get("LOCAL_CLOUD_PORT", str(DEFAULT_PORT))
    if not value.isdigit() or not 1024 <= int(value) <= 65535:
        raise LocalError(
            f"LOCAL_CLOUD_PORT={value!r} is not a port from 1024 to 65535. Example: LOCAL_CLOUD_PORT=4567 make demo"
        )
    return int(value)


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
    """The variables in which `pulumi`, `docker` and AWS clients talk to the local cloud and nothing else."""
    from local import base_image, docker_engine

    variables = {
        "PATH": f"{BIN}:{VENV / 'bin'}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(VENV),
        "PULUMI_HOME": str(LOCAL / "pulumi-home"),
        "PULUMI_BACKEND_URL": f"file://{STATE}",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "AWS_CONFIG_FILE": str(AWS / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(AWS / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "DOCKER_CONFIG": str(DOCKER_CONFIG),
        "LOCAL_CLOUD_PORT": str(port()),
    }
    if host := docker_engine.host():
        variables["DOCKER_HOST"] = host
    if image := base_image.name():
        variables["BASE_IMAGE"] = image
    return variables


def exports() -> str:
    """`environment()` as shell lines, for `eval "$(make env)"`."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment().items()]
    lines[0] = f'export PATH={shlex.quote(str(BIN))}:{shlex.quote(str(VENV / "bin"))}:"$PATH"'
    lines.append("unset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ENDPOINT_URL")
    return "\n".join(lines)


def write_aws_profiles() -> None:
    """The profiles `registry` and `consumer`: a 12-digit access key is the root of that account in MiniStack."""
    config, credentials = [], []
    for profile, account in ACCOUNTS.items():
        config.append(f"[profile {profile}]\nregion = {REGION}\nendpoint_url = http://127.0.0.1:{port()}\n")
        credentials.append(f"[{profile}]\naws_access_key_id = {account}\naws_secret_access_key = local\n")
    (AWS / "config").write_text("\n".join(config))
    (AWS / "credentials").write_text("\n".join(credentials))
