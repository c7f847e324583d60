"""The parts of GitHub's Markdown that a comment uses.

https://github.github.com/gfm/
"""

from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """A text as inline code: it contains no markup, mention or end of a table cell."""
    plain = " ".join(str(text).split()).replace("`", "'").replace("|", "¦")
    return f"`{plain}`" if plain else ""


def codes(texts: Iterable[object]) -> str:
    """Several texts as inline code."""
    return ", ".join(map(code, texts))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with Markdown in its cells."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def block(text: str) -> str:
    """Lines as a code block."""
    longest = max((len(run) for run in "".join(c if c == "`" else " " for c in text).split()), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
