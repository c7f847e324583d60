"""The few parts of GitHub's Markdown that a comment is made of.

https://github.github.com/gfm/
"""

from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """A text shown as it is, in which nothing is markup, a mention or the end of a table's cell."""
    plain = " ".join(str(text).split()).replace("`", "'").replace("|", "¦")
    return f"`{plain}`" if plain else ""


def codes(texts: Iterable[object]) -> str:
    """Several of them, in order."""
    return ", ".join(map(code, texts))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def block(text: str) -> str:
    """Several lines shown as they are."""
    longest = max((len(run) for run in "".join(c if c == "`" else " " for c in text).split()), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
