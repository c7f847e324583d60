"""The base image of the function: the public one, or a stand-in where it cannot be pulled."""

import re
import shutil

from local import docker_engine
from local.docker_engine import docker
from local.steps import run, step
from local.workspace import LOCAL, PYTHON, ROOT, RUN, LocalError
from offline import base_image as stand_in

CHOSEN = RUN / "base-image"
# For the gates of functions, where functions are not built on Python.
PYTHON_IMAGE = "public.ecr.aws/lambda/python:3.13"


def public_name() -> str:
    """What the app's Dockerfile builds on unless LAMBDA_BASE_IMAGE is set."""
    text = (ROOT / "app" / "Dockerfile").read_text()
    match = re.search(r"^ARG LAMBDA_BASE_IMAGE=(\S+)", text, re.MULTILINE)
    if match is None:
        raise LocalError("app/Dockerfile has no line `ARG LAMBDA_BASE_IMAGE=…`.")
    return match.group(1)


def name() -> str | None:
    """The stand-in's name, the value of LAMBDA_BASE_IMAGE; None where the public image is used."""
    return (CHOSEN.read_text() if CHOSEN.exists() else "") or None


def with_python() -> str:
    """An image with Python, which the local cloud needs besides those of the functions."""
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
