"""The folder of a local run, and the environment in which plain `pulumi` uses the local cloud."""

import os
import shlex
from pathlib import Path

from local import base_image, credentials, docker_engine, endpoint, processes
from local.workspace import AWS, BIN, EPHEMERAL, LAYOUT, LOCAL, REGION, RUN, STATE, VENV, remove

# Prefixes of variables that could select another cloud, backend or Python.
FOREIGN = ("AWS_", "PULUMI_", "VIRTUAL_ENV", "PYTHONPATH", "LAMBDA_BASE_IMAGE")
# With these, `make` in `make shell` is a recursive one, which prints its folder: `eval "$(make env)"` would run that.
MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")


def prepare() -> str | None:
    """Create the folders, and remove the state of another version.

    Returns: a message about what was removed, or None.
    """
    marker = LOCAL / "layout"
    dropped = None
    if LOCAL.exists() and (not marker.exists() or marker.read_text() != LAYOUT):
        processes.stop_all()
        for folder in EPHEMERAL:
            remove(folder)
        dropped = "removed the state of another version; caches are kept"
    for folder in (LOCAL, BIN, *EPHEMERAL):
        folder.mkdir(exist_ok=True)
    # Other users of the machine must not read secrets and state.
    LOCAL.chmod(0o700)
    marker.write_text(LAYOUT)
    return dropped


def environment() -> dict[str, str]:
    """The caller's environment, changed so that `pulumi`, `docker` and AWS clients use only the local cloud."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*FOREIGN, *MAKE))}
    return {**kept, **_changes(), "PATH": os.pathsep.join([str(BIN), str(VENV / "bin"), os.environ["PATH"]])}


def exports() -> str:
    """The same as shell lines, for `eval "$(make env)"`."""
    foreign = sorted(name for name in os.environ if name.startswith(FOREIGN) and name not in _changes())
    lines = [f"unset {' '.join(foreign)}"] if foreign else []
    lines += [f"export {name}={shlex.quote(value)}" for name, value in _changes().items()]
    lines.append(f'export PATH={shlex.quote(str(BIN))}:{shlex.quote(str(VENV / "bin"))}:"$PATH"')
    return "\n".join(lines)


def bash_startup() -> Path:
    """Write a startup file for `make shell`. The user's own may put another `python` or `pulumi` first on PATH."""
    file = RUN / "bashrc"
    file.write_text(f"[ -f ~/.bashrc ] && . ~/.bashrc\n{exports()}\n")
    return file


def _changes() -> dict[str, str]:
    changes = {
        "VIRTUAL_ENV": str(VENV),
        "PULUMI_HOME": str(LOCAL / "pulumi-home"),
        "PULUMI_BACKEND_URL": f"file://{STATE}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(credentials.passphrase_file()),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "AWS_CONFIG_FILE": str(AWS / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(AWS / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": REGION,
        **{name: value for name, value in docker_engine.variables().items() if name != "PATH"},
        **endpoint.variables(docker_engine.host()),
    }
    if image := base_image.name():
        changes["LAMBDA_BASE_IMAGE"] = image
    return changes
