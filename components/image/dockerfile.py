"""The platforms that a Dockerfile's FROM lines name, which have to be the function's.

https://docs.docker.com/reference/dockerfile/#from
"""

import re
from collections.abc import Iterator, Mapping
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
    """A FROM line: its platform, if any, its base and its name."""

    platform: str
    base: str
    name: str


def require_platform(text: str, dockerfile: Path, platform: str, *, target: str, args: Mapping[str, str]) -> None:
    """Check that no stage that the image is based on names another platform.

    BuildKit records the target platform in the image whatever the base is, so nothing shows it later. A base image for
    another processor that is named without `--platform` is not found here.

    Args:
        text: the Dockerfile.
        dockerfile: its path, for the error.
        platform: the function's.
        target: the stage that is built; empty for the last.
        args: build arguments.

    Raises:
        ImageUnusable: FROM names another platform, or that of the machine that builds.
    """
    stage = _first_stage(list(_stages(text, args, platform)), target.lower())
    if stage is None or not stage.platform:
        return
    given = "/".join(PROCESSORS.get(part, part) for part in stage.platform.lower().split("/"))
    given = given if "/" in given else f"linux/{given}"
    # v8 is the only variant of arm64.
    if given.removesuffix("/v8") != platform:
        raise ImageUnusable(
            f"{dockerfile}: FROM --platform={stage.platform} {stage.base} given, the function's image is for "
            f"{platform}. Leave out --platform, or set the function's architecture."
        )


def _first_stage(stages: list[Stage], target: str) -> Stage | None:
    """The stage that the target is based on, directly or through others: its platform is that of all."""
    names = [stage.name.lower() for stage in stages]
    index = len(stages) - 1
    if target and target in names:
        index = names.index(target)
    elif target:
        index = int(target) if target.isdecimal() and int(target) < len(stages) else -1
    while index >= 0 and (base := stages[index].base.lower()) in names[:index]:
        index = index - 1 - names[:index][::-1].index(base)
    return stages[index] if index >= 0 else None


def _stages(text: str, args: Mapping[str, str], platform: str) -> Iterator[Stage]:
    system, _, processor = platform.partition("/")
    target = {"TARGETPLATFORM": platform, "TARGETOS": system, "TARGETARCH": processor}
    known, is_first = {**target, "BUILDPLATFORM": "BUILDPLATFORM", **args}, True
    for kind, rest in _instructions(text):
        if kind == "ARG" and is_first:
            for name, value in ARGUMENT.findall(rest):
                known.setdefault(name, _expanded(value.strip("\"'"), known))
        elif kind == "FROM" and (found := FROM.match(_expanded(rest, known))):
            is_first = False
            yield Stage(found[1] or "", found[2], found[3] or "")


def _expanded(text: str, values: Mapping[str, str]) -> str:
    return VARIABLE.sub(lambda found: values.get(found[1] or found[2]) or found[3] or "", text)


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions that may concern stages, each on one line, without here-documents."""
    escape = found[1] if (found := ESCAPE.match(text)) else "\\"
    whole, lines = "", iter(text.splitlines())
    for line in lines:
        if line.lstrip().startswith("#"):
            continue
        if line.rstrip().endswith(escape):
            whole += f"{line.rstrip()[:-1]} "
            continue
        if found := INSTRUCTION.match(whole + line):
            kind, rest = found[1].upper(), found[2].strip()
            yield kind, rest
            for _, end in HEREDOC.findall(rest) if kind not in ("ARG", "FROM") else ():
                next((body for body in lines if body.strip() == end), None)
        whole = ""
