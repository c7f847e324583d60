"""The stand-in plugins as commands on PATH, where the engine finds them."""

import shlex
import shutil
from pathlib import Path

from offline import go

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = {
    "pulumi-language-python": "language",
    "pulumi-resource-aws": "aws",
    "pulumi-resource-docker": "docker",
}
# The official script with which the language host starts a program.
RUNNER = "pulumi-language-python-exec"


def write(folder: Path, python: Path, cache: Path, run: go.Run) -> None:
    """Write the stand-ins into a folder.

    Args:
        folder: a folder on PATH.
        python: the interpreter for the stand-ins and the programs.
        cache: folder for the downloaded runner.
        run: runs the download.
    """
    runner = cache / f"{go.binary('pulumi', cache).name}-runner"
    if not runner.exists():
        sdk = go.source("pulumi", "github.com/pulumi/pulumi/sdk/v3", run)
        cache.mkdir(exist_ok=True)
        shutil.copy(sdk / "python" / "cmd" / RUNNER, runner)
    # Files of Go modules are read-only, and so are copies of them.
    write_script(folder / RUNNER, runner.read_text())
    for name, module in PLUGINS.items():
        command = f"PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(str(python))} -m offline.plugins {module}"
        write_script(folder / name, f'#!/bin/sh\n{command} "$@"\n')


def remove(folder: Path) -> None:
    """Remove the stand-ins from a folder, so that the engine uses the official plugins."""
    for name in (*PLUGINS, RUNNER):
        (folder / name).unlink(missing_ok=True)


def write_script(path: Path, text: str) -> None:
    """Replace an executable atomically, because it may be running."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o755)
    new.replace(path)
