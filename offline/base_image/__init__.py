"""A stand-in for the public Lambda base image, on Debian's Python of the same version.

It contains what AWS documents for its Python base images: `/var/task`, `LAMBDA_TASK_ROOT`, the runtime interface
client, and the emulator, which runs if Lambda's runtime API is absent.
https://docs.aws.amazon.com/lambda/latest/dg/python-image.html
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from offline import go

FOLDER = Path(__file__).resolve().parent
DEBIAN = "trixie"
ROOTFS = f"lambda-python-rootfs.local:{DEBIAN}"
PLATFORMS = ("--platform=manylinux_2_28_x86_64", "--platform=manylinux2014_x86_64")
FILES = [FOLDER / name for name in ("Dockerfile", "lambda-entrypoint.sh", "requirements.txt")]


def name() -> str:
    """The image's name. The tag changes with the content of the image."""
    return f"lambda-python.local:{hashlib.sha256(b''.join(file.read_bytes() for file in FILES)).hexdigest()[:12]}"


def build(cache: Path, python: Path, docker: Mapping[str, str], exists: Callable[[str], bool], run: go.Run) -> None:
    """Build the image. Needs root, debootstrap and Go.

    Args:
        cache: folder for the emulator and the temporary files of the build.
        python: a Python interpreter with pip.
        docker: environment variables for `docker`: its engine, and BuildKit.
        exists: returns whether the engine has an image.
        run: runs the commands.
    """
    work = cache / "base-image"
    shutil.rmtree(work, ignore_errors=True)
    context = work / "context"
    context.mkdir(parents=True)
    if not exists(ROOTFS):
        rootfs, archive = work / "rootfs", work / "rootfs.tar"
        include = "--include=python3,ca-certificates"
        run("debootstrap", ["debootstrap", "--variant=minbase", include, DEBIAN, rootfs])
        left_out = ["--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*"]
        run("rootfs-tar", ["tar", "-C", rootfs, *left_out, "-cf", archive, "."])
        run("rootfs-import", ["docker", "import", archive, ROOTFS], env=docker)
    shutil.copy(go.build("lambda-rie", cache, run), context / "aws-lambda-rie")
    for file in FILES:
        shutil.copy(file, context)
    install = ["pip", "install", "--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile"]
    target = ["--implementation=cp", "--python-version=3.13", *PLATFORMS, f"--target={context / 'runtime'}"]
    run("base-image-packages", [python, "-m", *install, *target, "-r", FOLDER / "requirements.txt"])
    run("base-image", ["docker", "build", "--build-arg", f"ROOTFS={ROOTFS}", "--tag", name(), context], env=docker)
    shutil.rmtree(work)
