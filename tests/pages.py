"""Find the commands on the pages."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bench/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
PROGRAMS = r"aws|cp|curl|docker|eval|gh|git|hypercorn|make|npm|pip|pulumi|python3?|LOCAL_CLOUD_PORT=\d+"
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(rf"`((?:{PROGRAMS}) [^`\n]+)`")
COMMENT = re.compile(r"(^|\s+)# .*")


class Command(NamedTuple):
    """A command on a page: a line of a shell block (`run`), or a command in a sentence or a table."""

    page: str
    text: str
    run: bool


def blocks(page: Path) -> list[list[str]]:
    """The command lines of each shell block, without comments."""
    texts = [text.replace("\\\n", "") for text in BLOCK.findall(page.read_text())]
    lines = [[re.sub(r"\s+", " ", COMMENT.sub("", line)).strip() for line in text.splitlines()] for text in texts]
    return [[line for line in block if line] for block in lines]


def commands() -> list[Command]:
    """All commands on all pages."""
    found = []
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        found += [Command(name, line, run=True) for block in blocks(page) for line in block]
        found += [Command(name, text, run=False) for text in INLINE.findall(page.read_text())]
    return found


def documented(text: str) -> str:
    """Return the command. It must be on a page exactly like this.

    `tests/unit/test_pages.py` finds the calls of this function, and fails for a command that no test runs.
    """
    assert text in {command.text for command in commands()}, f"no page has the command {text!r}"
    return text


def block(page: str, first: str) -> list[str]:
    """The commands of the page's shell block that begins with this command."""
    (found,) = [lines for lines in blocks(ROOT / page) if lines[0] == first]
    return found
