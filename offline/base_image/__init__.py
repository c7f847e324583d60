"""The Lambda base image: the public one, or a stand-in under a name of its own.

The stand-in has what AWS documents for its Python base images (`/var/task`, `LAMBDA_TASK_ROOT`, the runtime interface
client, the emulator in front of it when Lambda's runtime API is absent), on Debian's Python of the same version.
https://docs.aws.amazon.com/lambda/latest/dg/python-image.html
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from local.docker_engine import apt_install, docker
from local.steps import run, step
from local.toolchain import PYTHON, go_build
from local.workspace import LOCAL, ROOT, RUN, LocalError, digest

FOLDER = Path(__file__).resolve().parent
CHOSEN = RUN / "base-image"
DEBIAN = "trixie"
FILES = [FOLDER / name for name in ("Dockerfile", "lambda-entrypoint.sh", "requirements.txt")]


def public_name() -> str:
    """What the app's Dockerfile builds on when nothing else is asked for."""
    text = (ROOT / "app" / "Dockerfile").read_text()
    match = re.search(r"^ARG LAMBDA_BASE_IMAGE=(\S+)", text, re.MULTILINE)
    if match is None:
        raise LocalError("app/Dockerfile has no line `ARG LAMBDA_BASE_IMAGE=…`.")
    return match.group(1)


def name() -> str | None:
    """The stand-in's name, to be set as LAMBDA_BASE_IMAGE; None where the public image is used."""
    chosen = CHOSEN.read_text().strip() if CHOSEN.exists() else ""
    return chosen or None


def base_image() -> None:
    """Find, pull or build the base image."""
    with step("Lambda base image") as current:
        stand_in = f"lambda-python.local:{digest(*FILES)}"
        known = name()
        if known == stand_in and _exists(stand_in):
            current.done("stand-in", stand_in)
            return
        if _exists(public_name()):
            CHOSEN.write_text("")
            current.done("found", public_name())
            return
        current.say(f"pulling {public_name()}")
        if docker("pull", public_name()).returncode == 0:
            CHOSEN.write_text("")
            current.done("pulled", public_name())
            return
        if not _exists(stand_in):
            _build(stand_in, current.say)
        CHOSEN.write_text(stand_in)
        current.done("stand-in", f"{stand_in} (no registry reachable)")


def _build(tag: str, say: Callable[[str], None]) -> None:
    context = LOCAL / "base-image-context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    rootfs = f"lambda-python-rootfs.local:{DEBIAN}"
    if not _exists(rootfs):
        say(f"no registry reachable; making a root file system of Debian {DEBIAN}")
        if shutil.which("debootstrap") is None:
            apt_install("debootstrap")
        folder = LOCAL / "rootfs"
        shutil.rmtree(folder, ignore_errors=True)
        packages = "--include=python3,ca-certificates"
        run("debootstrap", ["debootstrap", "--variant=minbase", packages, DEBIAN, folder])
        archive = LOCAL / "rootfs.tar"
        run(
            "rootfs-tar",
            [
                "tar",
                "-C",
                folder,
                "--exclude=./var/cache/apt/*",
                "--exclude=./var/lib/apt/lists/*",
                "-cf",
                archive,
                ".",
            ],
        )
        imported = docker("import", str(archive), rootfs)
        if imported.returncode != 0:
            raise LocalError(f"docker import failed: {imported.stderr.strip()}")
        shutil.rmtree(folder)
        archive.unlink()
    say("building the stand-in")
    emulator = go_build(
        "lambda-rie",
        "github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie",
        "-ldflags",
        "-s -w",
        env={"CGO_ENABLED": "0"},
    )
    shutil.copy(emulator, context / "aws-lambda-rie")
    for file in FILES:
        shutil.copy(file, context / file.name)
    run(
        "base-image-packages",
        [
            PYTHON,
            "-m",
            "pip",
            "install",
            "--require-hashes",
            "--no-deps",
            "--only-binary=:all:",
            "--no-compile",
            "--implementation=cp",
            "--python-version=3.13",
            "--platform=manylinux_2_28_x86_64",
            "--platform=manylinux2014_x86_64",
            "--target",
            context / "runtime",
            "-r",
            FOLDER / "requirements.txt",
        ],
    )
    built = docker(
        "buildx", "build", "--provenance=false", "--load", "--build-arg", f"ROOTFS={rootfs}", "-t", tag, str(context)
    )
    if built.returncode != 0:
        raise LocalError(f"the stand-in base image did not build:\n{built.stderr.strip()}")
    shutil.rmtree(context)


def _exists(image: str) -> bool:
    return docker("image", "inspect", image).returncode == 0
