"""The measurements. `make bench` runs all of them, and writes results.* and timeline.svg to this folder."""

import argparse
import contextlib
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import engine, program, report
from bench.ground import REAL, STAND_INS, Ground, ground, installed
from bench.image import image
from bench.measure import CommandFailed, Measure, tell
from bench.timeline import timeline

HERE = Path(__file__).resolve().parent
FRESH_RECORD = HERE / "fresh-steps.jsonl"
RESULTS = HERE / "results.json"
MISSED, FAILED, INTERRUPTED = 1, 2, 130
ROUNDS = 5

# Measurements by name: without a deployment, and with both stacks deployed.
ALONE: dict[str, Callable[[int], list[Measure]]] = {"hashing": program.hashing, "image": image}
DEPLOYED: dict[str, Callable[[Ground, int], list[Measure]]] = {
    "imports": program.imports,
    "unchanged": engine.unchanged,
    "preview": engine.preview,
    "change": engine.change,
    "first": engine.first,
    "growth": engine.growth,
    "together": engine.together,
    "timeline": timeline,
}


def main() -> int:
    """Measure and report. Returns 0, 1 if a goal is missed with `--check`, or 2 if a measurement failed."""
    given = _parser().parse_args()
    began = time.monotonic()
    try:
        measures = _measure(given.only or [*ALONE, *DEPLOYED, "fresh"], given.rounds, given.fresh)
    except CommandFailed as failure:
        print(f"\n{failure}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    where = f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    minutes = (time.monotonic() - began) / 60
    with_plugins = f", with {installed()}" if installed() else ""
    about = f"Median of {given.rounds} rounds, on {where}, in {minutes:.0f} minutes{with_plugins}."
    tables = {REAL if installed() else STAND_INS: report.Table(about, measures)}
    print(report.as_json(tables) if given.json else report.page(tables))
    if not given.only:
        tables = {**(report.read(RESULTS.read_text()) if RESULTS.exists() else {}), **tables}
        RESULTS.write_text(report.as_json(tables))
        RESULTS.with_suffix(".md").write_text(
            f"# Results\n\n![goals and results](results.svg)\n\n{report.page(tables)}"
        )
        RESULTS.with_suffix(".svg").write_text(report.picture(tables))
    return MISSED if given.check and not all(measure.is_met for measure in measures) else 0


def _parser() -> argparse.ArgumentParser:
    names = (*ALONE, *DEPLOYED, "fresh")
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, epilog='make bench ARGS="--only imports"')
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME",
        help=f"measure only this, and write no results; repeatable. One of: {', '.join(names)}",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="number of rounds (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument(
        "--fresh", type=Path, default=FRESH_RECORD, metavar="FILE",
        help=".local/logs/steps.jsonl after the first `make demo` of a fresh machine (default: fresh-steps.jsonl)",
    )  # fmt: skip
    return parser


def _measure(names: list[str], rounds: int, record: Path) -> list[Measure]:
    measures = list[Measure]()
    for name in (name for name in ALONE if name in names):
        measures += ALONE[name](rounds)
    with contextlib.ExitStack() as stack:
        if deployed := [name for name in DEPLOYED if name in names]:
            where = stack.enter_context(ground())
            for name in deployed:
                measures += DEPLOYED[name](where, rounds)
    if "fresh" in names:
        if record.exists():
            measures += program.fresh(record)
        else:
            tell(f"no record of a fresh machine: {record} does not exist")
    return measures


if __name__ == "__main__":
    sys.exit(main())
