"""The base image of the function: the public image, or a stand-in if it cannot be pulled."""

import re
import shutil

from local import docker_engine
from local.docker_engine import docker
from local.steps import run, step
from local.workspace import LOCAL, PYTHON, ROOT, RUN, LocalError
from offline import base_image as stand_in

CHOSEN = RUN / "base-image"
# Image with Python for gates, if the function's base image has no Python.
PYTHON_IMAGE = "public.ecr.aws/lambda/python:3.13"


def public_name() -> str:
    """The base image in the app's Dockerfile, which is used unless LAMBDA_BASE_IMAGE is set."""
    text = (ROOT / "app" / "Dockerfile").read_text()
    match = re.search(r"^ARG LAMBDA_BASE_IMAGE=(\S+)", text, re.MULTILINE)
    if match is None:
        raise LocalError("app/Dockerfile has no line `ARG LAMBDA_BASE_IMAGE=…`.")
    return match.group(1)


def name() -> str | None:
    """The name of the stand-in, for LAMBDA_BASE_IMAGE; None if the public image is used."""
    return (CHOSEN.read_text() if CHOSEN.exists() else "") or None


def with_python() -> str:
    """An image with Python, which the local cloud needs for gates."""
    chosen = name() or public_name()
    return chosen if "python" in chosen else PYTHON_IMAGE


def base_image() -> None:
    """Find, pull or build the base image."""
    with step("Lambda base image") as current:
        public = public_name()
        if name() == stand_in.name() and _exists(stand_in.name()):
            chosen, how = stand_in.name(), "stand-in"
        elif _exists(public):
            chosen, how = public, "found"
        else:
            current.say(f"pulling {public}")
            chosen, how = public, "pulled"
            if docker("pull", public).returncode != 0:
                chosen, how = stand_in.name(), "stand-in"
                if not _exists(chosen):
                    current.say("the public image cannot be pulled; building a stand-in on Debian (minutes)")
                    if shutil.which("debootstrap") is None:
                        docker_engine.apt_install("debootstrap", say=current.say)
                    stand_in.build(LOCAL / "tools", PYTHON, docker_engine.variables(), _exists, run)
        CHOSEN.write_text("" if chosen == public else chosen)
        if not _exists(with_python()) and docker("pull", with_python()).returncode != 0:
            raise LocalError(f"{with_python()}, which carries calls to functions, cannot be pulled.")
        current.done(how, chosen)


def _exists(image: str) -> bool:
    return docker("image", "inspect", image).returncode == 0
