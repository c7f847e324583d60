"""What a Dockerfile says before it is built: the platforms of its FROM lines, and what it copies from the context.

https://docs.docker.com/reference/dockerfile/
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from components.errors import ImageUnusable

ESCAPE = re.compile(r"#\s*escape\s*=\s*(\S)", re.IGNORECASE)
INSTRUCTION = re.compile(r"\s*(ARG|FROM|RUN|COPY|ADD)\s+(.*)", re.IGNORECASE | re.DOTALL)
HEREDOC = re.compile(r"<<-?\s*([\"']?)(\w+)\1")
FROM = re.compile(r"(?:--platform=(\S+)\s+)?(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
ARGUMENT = re.compile(r"(\w+)(?:=(\"[^\"]*\"|'[^']*'|\S*))?")
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^}]*))?\})")
FLAGS = re.compile(r"(?:--\S+\s+)*")
# A stage that another one copies from or mounts.
SOURCE_STAGE = re.compile(r"\bfrom=([^\s,]+)")
# Not in the context: a here-document, an address; or a word in quotes.
ELSEWHERE = re.compile(r"<<|://|^git@|[\"'\\]")
WILDCARD = re.compile(r"[*?\[]")
PROCESSORS = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}


class Instruction(NamedTuple):
    """An instruction: the number of its first line, its name in capitals, and the rest on one line."""

    line: int
    kind: str
    rest: str


class Stage(NamedTuple):
    """A FROM line: its platform, if any, its base and its name; and the instructions that follow."""

    platform: str
    base: str
    name: str
    body: list[Instruction]


class Copy(NamedTuple):
    """A source of a COPY or ADD instruction.

    Attributes:
        line: number of the instruction's first line.
        kind: `COPY` or `ADD`.
        source: path in the context, with wildcards.
        is_certain: whether the build fails without it. With wildcards, or a variable that ENV may set, it may not.
    """

    line: int
    kind: str
    source: str
    is_certain: bool


def require_platform(text: str, dockerfile: Path, platform: str, *, target: str, args: Mapping[str, str]) -> None:
    """Check that the image is based on no stage with another platform.

    BuildKit records the target platform in the image whatever the base image is, so the finished image does not show
    the difference. A base image for another architecture without `--platform` is not found.

    Args:
        text: content of the Dockerfile.
        dockerfile: its path, for the error.
        platform: platform of the function.
        target: the stage to build; empty for the last.
        args: build arguments.

    Raises:
        ImageUnusable: FROM names another platform, or the platform of the machine that builds.
    """
    stage = _first_stage(list(_stages(text, args, platform)), target.lower())
    if stage is None or not stage.platform:
        return
    given = "/".join(PROCESSORS.get(part, part) for part in stage.platform.lower().split("/"))
    given = given if "/" in given else f"linux/{given}"
    # arm64 has only the variant v8.
    if given.removesuffix("/v8") != platform:
        raise ImageUnusable(
            f"{dockerfile}: FROM --platform={stage.platform} {stage.base} is not allowed; the function's image is for "
            f"{platform}. Remove --platform, or change the function's architecture."
        )


def _first_stage(stages: list[Stage], target: str) -> Stage | None:
    """The stage that the target is based on, directly or through other stages. Its platform applies to all of them."""
    index = earlier = _index(stages, target)
    while earlier >= 0:
        index, earlier = earlier, _index(stages[:earlier], stages[earlier].base.lower())
    return stages[index] if index >= 0 else None


def copies(text: str, platform: str, *, target: str, args: Mapping[str, str]) -> list[Copy]:
    """What the build of a target copies from its context. Stages that it does not need are not built.

    Args:
        text: the Dockerfile.
        platform: the image's.
        target: the stage that is built; empty for the last.
        args: build arguments.
    """
    stages = list(_stages(text, args, platform))
    found = []
    for stage in _needed(stages, target.lower()):
        known = dict(args)
        for line, kind, rest in stage.body:
            if kind == "ARG":
                known |= {name: value.strip("\"'") for name, value in ARGUMENT.findall(rest) if name not in args}
            elif kind in ("COPY", "ADD"):
                for source in _sources(rest):
                    variables = [match[1] or match[2] for match in VARIABLE.finditer(source)]
                    if all(known.get(name) for name in variables):
                        is_certain = not variables and not WILDCARD.search(source)
                        found.append(Copy(line, kind, _expanded(source, known), is_certain))
    return found


def _needed(stages: Sequence[Stage], target: str) -> list[Stage]:
    """The stages that are built for a target: those it is based on, and those it copies from or mounts."""
    index = _index(stages, target)
    waiting, needed = [index] if index >= 0 else [], set[int]()
    while waiting:
        index = waiting.pop()
        needed.add(index)
        others = [name for _, _, rest in stages[index].body for name in SOURCE_STAGE.findall(_flags(rest))]
        for name in (stages[index].base, *others):
            # The nearest stage above of that name.
            earlier = _index(stages[:index], name.lower())
            waiting += [earlier] if earlier >= 0 and earlier not in needed else []
    return [stages[index] for index in sorted(needed)]


def _index(stages: Sequence[Stage], name: str) -> int:
    """The place of a stage by name or number, of the last one if the name is empty; -1 if there is none."""
    names = [stage.name.lower() for stage in stages]
    if name in names and name:
        return len(names) - 1 - names[::-1].index(name)
    if name.isdecimal():
        return int(name) if int(name) < len(names) else -1
    return -1 if name else len(names) - 1


def _sources(rest: str) -> list[str]:
    """The sources of a COPY or ADD that are in the context."""
    flags = _flags(rest)
    if "--from=" in flags:
        return []
    rest = rest.removeprefix(flags)
    if rest.startswith("["):
        try:
            return [str(word) for word in json.loads(rest)[:-1] if "://" not in str(word)]
        except ValueError:
            return []
    return [word for word in rest.split()[:-1] if not ELSEWHERE.search(word)]


def _flags(rest: str) -> str:
    """The options of an instruction, such as `--from=build`, with the space behind them."""
    found = FLAGS.match(rest)
    return found[0] if found else ""


def _stages(text: str, args: Mapping[str, str], platform: str) -> Iterator[Stage]:
    system, _, processor = platform.partition("/")
    target = {"TARGETPLATFORM": platform, "TARGETOS": system, "TARGETARCH": processor}
    known, body = {**target, "BUILDPLATFORM": "BUILDPLATFORM", **args}, list[Instruction]()
    is_first = True
    for instruction in _instructions(text):
        _, kind, rest = instruction
        if kind == "ARG" and is_first:
            for name, value in ARGUMENT.findall(rest):
                known.setdefault(name, _expanded(value.strip("\"'"), known))
        elif kind == "FROM" and (found := FROM.match(_expanded(rest, known))):
            is_first, body = False, []
            yield Stage(found[1] or "", found[2], found[3] or "", body)
        else:
            body.append(instruction)


def _expanded(text: str, values: Mapping[str, str]) -> str:
    return VARIABLE.sub(lambda found: values.get(found[1] or found[2]) or found[3] or "", text)


def _instructions(text: str) -> Iterator[Instruction]:
    """The instructions that may concern stages or files, each on one line, without here-documents."""
    escape = found[1] if (found := ESCAPE.match(text)) else "\\"
    whole, first, lines = "", 0, enumerate(text.splitlines(), 1)
    for number, line in lines:
        first = first if whole else number
        if line.lstrip().startswith("#"):
            continue
        if line.rstrip().endswith(escape):
            whole += f"{line.rstrip()[:-1]} "
            continue
        if found := INSTRUCTION.match(whole + line):
            kind, rest = found[1].upper(), found[2].strip()
            yield Instruction(first, kind, rest)
            for _, end in HEREDOC.findall(rest) if kind not in ("ARG", "FROM") else ():
                next((body for _, body in lines if body.strip() == end), None)
        whole = ""
