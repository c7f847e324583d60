"""Checks of what triggers are told in languages of AWS: schedules, time zones, event patterns and filter policies."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import prod
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from components.model import rule

# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html
PATTERN_CHARACTERS = 4_096
# https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
FILTER_KEYS, FILTER_COMBINATIONS = 5, 150

RATE = re.compile(r"rate\([1-9][0-9]{0,8} (minute|hour|day)s?\)")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
# Name, values, names of values, and what else there is, of each field of a cron expression.
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based
CRON: tuple[tuple[str, range, tuple[str, ...], str], ...] = (
    ("minutes", range(60), (), ""),
    ("hours", range(24), (), ""),
    ("day of the month", range(1, 32), (), r"\?|L|LW|([1-9]|[12][0-9]|3[01])W"),
    ("month", range(1, 13), MONTHS, ""),
    ("day of the week", range(1, 8), DAYS, r"\?|L|([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5])"),
    ("year", range(1970, 2200), (), ""),
)


def checked_expression(text: str) -> str:
    """A rate or a cron expression of EventBridge Scheduler."""
    if RATE.fullmatch(text):
        return text
    fields = text.removeprefix("cron(").removesuffix(")").split(" ")
    if not (text.startswith("cron(") and text.endswith(")")) or len(fields) != len(CRON):
        raise rule("must be rate(N minutes), rate(N hours), rate(N days) or cron() with six fields")
    for (name, values, names, others), field in zip(CRON, fields, strict=True):
        if not all(_is_cron(item, values, names, others) for item in field.split(",")):
            raise rule(f"has {field!r} as {name}; it must be values from {values[0]} to {values[-1]}, * or ranges")
    if (fields[2] == "?") == (fields[4] == "?"):
        raise rule("must have ? as either the day of the month or the day of the week")
    return text


def _is_cron(item: str, values: range, names: Sequence[str], others: str) -> bool:
    if others and re.fullmatch(others, item):
        return True
    spread, _, step = item.partition("/")
    if "/" in item and not (step.isdecimal() and 0 < int(step) <= values[-1]):
        return False
    return spread == "*" or all(
        end in names or (end.isdecimal() and int(end) in values) for end in spread.split("-", 1)
    )


def checked_time_zone(name: str) -> str:
    """A time zone of this machine's database."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        try:
            ZoneInfo("Etc/UTC")
        except ZoneInfoNotFoundError:  # a machine without a time zone database: AWS checks the name
            return name
        raise rule(f"{name!r} is not a time zone of the IANA database. Example: Europe/Berlin") from None
    return name


def checked_pattern(pattern: Mapping[str, Any]) -> Mapping[str, Any]:
    """An event pattern of EventBridge."""
    if wrong := next(iter(_unmatched(pattern, "")), ""):
        raise rule(f"{wrong} must be a list of values, or a section with such lists")
    text = json.dumps(pattern, separators=(",", ":"), ensure_ascii=False)
    if len(text) > PATTERN_CHARACTERS:
        raise rule(f"has {len(text)} characters as JSON; EventBridge allows {PATTERN_CHARACTERS}")
    return pattern


def _unmatched(value: Any, path: str) -> Iterable[str]:
    """Where a pattern has no list of values, in which an object is a comparison such as `{"prefix": "a"}`."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            below = f"{path}.{key}".removeprefix(".")
            if key == "$or" and isinstance(inner, Sequence) and not isinstance(inner, str) and inner:
                yield from chain.from_iterable(_unmatched(one, below) for one in inner)
            else:
                yield from _unmatched(inner, below)
    elif not isinstance(value, Sequence) or isinstance(value, str) or not value:
        yield repr(path) if path else "the pattern"


def _filter_lists(value: Mapping[str, Any]) -> list[Sequence[Any]]:
    return [
        found
        for key, inner in value.items()
        for found in (_filter_lists(inner) if isinstance(inner, Mapping) else [inner] if key != "$or" else [])
    ]


def checked_filter(policy: Mapping[str, Any], scope: str) -> Mapping[str, Any]:
    """A filter policy of SNS; `scope` is what it is applied to."""
    if wrong := next(iter(_unmatched(policy, "")), ""):
        raise rule(f"{wrong} must be a list of values".replace("the pattern", "it"))
    if scope == "MessageAttributes" and any(isinstance(inner, Mapping) for inner in policy.values()):
        raise rule("has nested sections, which only `filter_scope` MessageBody allows")
    lists = _filter_lists(policy)
    if len(lists) > FILTER_KEYS:
        raise rule(f"has {len(lists)} keys; SNS allows {FILTER_KEYS}")
    if (combinations := prod(map(len, lists))) > FILTER_COMBINATIONS:
        raise rule(f"has {combinations} combinations of values; SNS allows {FILTER_COMBINATIONS}")
    return policy
