"""The set-up of `make demo` on a fresh machine, from its record, compared with the critical path of its steps."""

import json
from pathlib import Path
from typing import Any

from bench.measure import CommandFailed, Measure

# The steps that each step waits for.
NEEDS: dict[str, tuple[str, ...]] = {
    "Python environment": (),
    "Docker engine": (),
    "Lambda base image": ("Python environment", "Docker engine"),
    "Pulumi CLI": (),
    "Pulumi plugins": ("Pulumi CLI",),
    "Local cloud": ("Lambda base image", "Pulumi plugins"),
}


def fresh(record: Path) -> list[Measure]:
    """The time of the set-up, compared with the longest chain of steps that wait for each other.

    Args:
        record: `.local/logs/steps.jsonl` of the machine, after its first `make demo`.

    Raises:
        CommandFailed: the file is not such a record.
    """
    steps: dict[str, dict[str, Any]] = {}
    for line in record.read_text().splitlines():
        step = json.loads(line)
        steps.setdefault(step["title"], step)
    if missing := NEEDS.keys() - steps.keys():
        raise CommandFailed(f"{record} is not the record of a set-up: it has no step {', '.join(sorted(missing))}")
    longest: dict[str, float] = {}
    for title, before in NEEDS.items():
        longest[title] = steps[title]["seconds"] + max((longest[name] for name in before), default=0.0)
    ends = [steps[title]["began"] + steps[title]["seconds"] for title in NEEDS]
    sum_of_all = sum(steps[title]["seconds"] for title in NEEDS)
    return [
        Measure(
            name="set-up of make demo on a fresh machine",
            against="the critical path of its steps",
            goal=1.1,
            values=[max(ends) - min(steps[title]["began"] for title in NEEDS)],
            anchors=[max(longest.values())],
            note=f"recorded; one after the other its steps would take {sum_of_all:.0f} s",
        )
    ]
