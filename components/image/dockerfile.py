"""What of a Dockerfile has to fit the function: the platform of the stages that its image is made of.

https://docs.docker.com/reference/dockerfile/#from
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from components.errors import ImageUnusable

ESCAPE = re.compile(r"#\s*escape\s*=\s*(\S)", re.IGNORECASE)
INSTRUCTION = re.compile(r"\s*(ARG|FROM|RUN|COPY|ADD)\s+(.*)", re.IGNORECASE | re.DOTALL)
HEREDOC = re.compile(r"<<-?\s*([\"']?)(\w+)\1")
FROM = re.compile(r"(?:--platform=(\S+)\s+)?(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
ARGUMENT = re.compile(r"(\w+)(?:=(\"[^\"]*\"|'[^']*'|\S*))?")
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^}]*))?\})")
PROCESSORS = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}


class Stage(NamedTuple):
    """A FROM line: the platform that it asks for, if any, its base and its name."""

    platform: str
    base: str
    name: str


def require_platform(
    text: str, dockerfile: Path, platform: str, *, target: str = "", args: Mapping[str, str] | None = None
) -> None:
    """Check that no stage that the image is made of is built for another platform.

    BuildKit writes the target platform into the image's configuration whatever the base is, so nothing shows it later.
    A base image of another processor that is named without `--platform` is not found here.

    Args:
        text: the Dockerfile.
        dockerfile: its path, for the error.
        platform: what the image has to be for.
        target: the stage that is built; default the last.
        args: build arguments.

    Raises:
        ImageUnusable: FROM names another platform, or that of the machine that builds.
    """
    stages = _stages(text, {"TARGETPLATFORM": platform, **(args or {})}, platform)
    for stage in _chain(stages, target):
        given = "/".join(PROCESSORS.get(part, part) for part in stage.platform.lower().split("/"))
        given = given if "/" in given or not given else f"linux/{given}"
        # The variant of the only arm64 that there is.
        if given and given.removesuffix("/v8") != platform:
            raise ImageUnusable(
                f"{dockerfile}: FROM --platform={stage.platform} {stage.base} given, the function's image is for "
                f"{platform}. Leave out --platform, or set the function's architecture."
            )


def _chain(stages: list[Stage], target: str) -> list[Stage]:
    """The target stage and those that it is based on."""
    names = [stage.name.lower() for stage in stages]
    index = len(stages) - 1
    if target:
        wanted = names.index(target.lower()) if target.lower() in names else -1
        index = int(target) if wanted < 0 and target.isdecimal() and int(target) < len(stages) else wanted
    chain = []
    while index >= 0:
        stage = stages[index]
        base = stage.base.lower()
        before = [number for number in range(index) if names[number] and names[number] == base]
        # The platform of a stage that is based on another one is that of the other.
        chain += [stage] if not before else []
        index = before[-1] if before else -1
    return chain


def _stages(text: str, args: Mapping[str, str], platform: str) -> list[Stage]:
    system, _, processor = platform.partition("/")
    known = {"TARGETOS": system, "TARGETARCH": processor, "BUILDPLATFORM": "BUILDPLATFORM", **args}
    stages: list[Stage] = []
    for kind, rest in _instructions(text):
        if kind == "ARG" and not stages:
            for name, value in ARGUMENT.findall(rest):
                known.setdefault(name, _expanded(value.strip("\"'"), known))
        elif kind == "FROM" and (found := FROM.match(_expanded(rest, known))):
            stages.append(Stage(found[1] or "", found[2], found[3] or ""))
    return stages


def _expanded(text: str, values: Mapping[str, str]) -> str:
    return VARIABLE.sub(lambda found: values.get(found[1] or found[2]) or found[3] or "", text)


def _instructions(text: str) -> list[tuple[str, str]]:
    """The instructions that may concern stages, each as one line; here-documents are left out."""
    escape = found[1] if (found := ESCAPE.match(text)) else "\\"
    found_instructions, whole = list[tuple[str, str]](), ""
    lines = iter(text.splitlines())
    for line in lines:
        if line.lstrip().startswith("#"):
            continue
        stripped = line.rstrip()
        if stripped.endswith(escape):
            whole += f"{stripped[:-1]} "
            continue
        if instruction := INSTRUCTION.match(whole + line):
            found_instructions.append((instruction[1].upper(), instruction[2].strip()))
            if instruction[1].upper() not in ("ARG", "FROM"):
                for _, end in HEREDOC.findall(instruction[2]):
                    next((body for body in lines if body.strip() == end), None)
        whole = ""
    return found_instructions
