"""The set-up of `make demo` on a fresh machine, from its record."""

import json
from pathlib import Path

from bench.measure import CommandFailed, Measure

LAST_STEP = "Local cloud"


def fresh(record: Path) -> list[Measure]:
    """The time of the set-up.

    Args:
        record: `.local/logs/steps.jsonl` of the machine, after its first `make demo`.

    Raises:
        CommandFailed: the file is not such a record.
    """
    steps = [json.loads(line) for line in record.read_text().splitlines()]
    ends = [step["began"] + step["seconds"] for step in steps if step["title"] == LAST_STEP]
    if not ends:
        raise CommandFailed(f"{record} is not the record of a set-up: it has no step {LAST_STEP}")
    total = ends[0] - min(step["began"] for step in steps)
    one_by_one = sum(step["seconds"] for step in steps)
    return [
        Measure(
            name="set-up of make demo on a fresh machine",
            against="none",
            goal=360,
            values=[total],
            note=f"recorded; one after the other its steps would take {one_by_one:.0f} s",
        )
    ]
