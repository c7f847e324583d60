"""Property tests that say which classes of input they reach, and fail if they do not."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import settings

# Of the property test that runs.
SEEN: Counter[str] = Counter()


def reached(**classes: Any) -> None:
    """Count an example in each class whose value is true."""
    SEEN.update(name for name, is_in in classes.items() if is_in)


def reaches(*classes: str, least: int = 3) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Fail a property test that has fewer than so many examples of one of these classes."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            SEEN.clear()
            test(*args, **kwargs)
            few = {name: SEEN[name] for name in classes if SEEN[name] < least}
            assert not few, f"too few examples of {few}; all: {dict(SEEN)}"

        return counted

    return decorate


def examples(times: float) -> settings:
    """So many times the examples of the profile."""
    return settings(max_examples=max(2, int(times * settings.default.max_examples)))
