"""The patterns of a `.dockerignore` file, matched in the same way as in the builder.

They differ from those of a `.gitignore` and of a shell: https://docs.docker.com/build/concepts/context/#dockerignore-files
and https://github.com/moby/patternmatcher, which Docker and BuildKit use.
"""

import posixpath
import re
from collections.abc import Iterable

from components.errors import ImageUnusable

CHARACTER = r"(?:\\.|[^\]\\-])"
RANGE = re.compile(rf"({CHARACTER})(?:-({CHARACTER}))?", re.DOTALL)
TOKEN = re.compile(rf"\*\*/?|\*|\?|\[\^?(?:{CHARACTER}(?:-{CHARACTER})?)+\]|\\.|[^\\\[]", re.DOTALL)
# A pattern that begins with ** and has no other special character matches the end of a path, even within a name.
ENDING = re.compile(r"\*\*([^/*?\[\]\\][^*?\[\]\\]*)")


class Patterns:
    """The lines of an ignore file. The last line that matches a path, or a folder above it, decides.

    Args:
        lines: the lines, including comments and empty lines.
        of: the file or option, for errors.

    Raises:
        ImageUnusable: a line is not a pattern.
    """

    def __init__(self, lines: Iterable[str], *, of: str = ".dockerignore") -> None:
        # Only a # in the first column begins a comment.
        numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if not line.startswith("#")]
        self._lines = [(number, line) for number, line in numbered if line]
        kept = [line for _, line in self._lines]
        self._patterns = [(_expression(line.removeprefix("!").strip(), of), line.startswith("!")) for line in kept]
        self._of_folders: dict[str, list[bool]] = {"": [False] * len(kept)}

    @property
    def have_exceptions(self) -> bool:
        """Whether a matching folder may contain paths that do not match."""
        return any(is_exception for _, is_exception in self._patterns)

    def match(self, path: str) -> bool:
        """Whether the lines match a path. The path is relative to the context and has slashes."""
        return self._results(path)[0]

    def deciding(self, path: str) -> tuple[int, str]:
        """Number and text of the line for which a path matches; 0 if it does not."""
        matched, results = self._results(path)
        decided = [line for line, result in zip(self._lines, results, strict=True) if result]
        return decided[-1] if matched else (0, "")

    def _results(self, path: str) -> tuple[bool, list[bool]]:
        """Whether the lines match a path, and the result of each line.

        A line that matches a folder matches everything below it. A line that would not change the result is skipped, so
        an exception applies neither to a folder that is not ignored nor to ignored paths below it.
        """
        folder = posixpath.dirname(path)
        if folder not in self._of_folders:
            self._of_folders[folder] = self._results(folder)[1]
        matched, results = False, []
        for (expression, is_exception), above in zip(self._patterns, self._of_folders[folder], strict=True):
            result = above or (is_exception == matched and expression.fullmatch(path) is not None)
            matched = not is_exception if result else matched
            results.append(result)
        return matched, results


def pattern_of(path: str) -> str:
    """The pattern that matches only this path."""
    return re.sub(r"([*?\[\]\\]|^[#!])", r"\\\1", path)


def _expression(pattern: str, of: str) -> re.Pattern[str]:
    cleaned = posixpath.normpath(pattern) if pattern else ""
    # The builder ignores leading slashes; normpath keeps two.
    cleaned = re.sub("^/+(?=.)", "", cleaned)
    if ending := ENDING.fullmatch(cleaned):
        return re.compile(f".*{re.escape(ending[1])}", re.DOTALL)
    tokens = TOKEN.findall(cleaned)
    try:
        if not cleaned or "".join(tokens) != cleaned:
            raise ValueError
        end = ".*" if tokens[-1] == "**" else _translated(tokens[-1])
        return re.compile(f"{''.join(map(_translated, tokens[:-1]))}{end}", re.DOTALL)
    except (ValueError, re.error):
        raise ImageUnusable(
            f"{of}: {pattern!r} is not a pattern. A pattern is a path with *, **, ? and [a-z], and a backslash before "
            "other special characters. Example: **/*.log"
        ) from None


def _translated(token: str) -> str:
    """A token of a pattern as a regular expression."""
    match token[0]:
        case "*":
            return "(.*/)?" if token.startswith("**") else "[^/]*"
        case "?":
            return "[^/]"
        case "[":
            negation = "^" if token.startswith("[^") else ""
            ranges = RANGE.findall(token[1 + len(negation) : -1])
            parts = (f"{_literal(low)}-{_literal(high)}" if high else _literal(low) for low, high in ranges)
            return f"[{negation}{''.join(parts)}]"
    return _literal(token)


def _literal(character: str) -> str:
    """A character, with or without a backslash in front."""
    return re.escape(character[-1])
