"""What the measurements make of their numbers."""

import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import report, timeline
from bench.docker_calls import DockerCalls
from bench.measure import CommandFailed, Measure, run
from bench.program import fresh

SLOW = Measure(name="slow", against="the same", goal=1.5, values=[4, 6, 8], anchors=[2, 2, 2], bound=[1.2, 1.2, 1.2])
COUNT = Measure(name="pushes", against="none", goal=0, values=[0, 0, 0], unit="")


def test_a_result_is_the_median_of_the_ratios_of_each_round() -> None:
    # The second round was disturbed, measure and anchor alike.
    disturbed = Measure(name="x", against="y", goal=2, values=[2, 20, 3], anchors=[1, 10, 2])
    assert disturbed.result == 2
    assert disturbed.is_met


def test_one_call_too_many_misses_a_goal_of_none() -> None:
    assert COUNT.is_met
    assert not Measure(name="pushes", against="none", goal=0, values=[1, 1, 0], unit="").is_met


def test_the_page_shows_result_spread_and_goal_for_each_kind_of_plugins() -> None:
    page = report.page({"stand-ins": report.Table("On this machine.", [SLOW]), "real": report.Table("", [COUNT])})
    assert "## Stand-ins\n\n0 of 1 goals are met. On this machine." in page
    assert "| slow | the same | 6 s | 2 s | **3.00 x** | 2.00 x … 4.00 x | ≤ 1.50 x | missed; bound 1.20 x |" in page
    assert "## Real\n\n1 of 1 goals are met." in page


def test_in_the_picture_a_missed_goal_ends_right_of_the_line() -> None:
    picture = report.picture({"stand-ins": report.Table("", [SLOW, COUNT])})
    assert "stand-ins: 1 of 2 goals are met" in picture
    assert report._in_goals(SLOW, SLOW.result) == 2
    assert report._in_goals(COUNT, COUNT.result) == 0


def test_a_run_keeps_the_results_of_other_plugins() -> None:
    written = report.as_json({"stand-ins": report.Table("here", [SLOW, COUNT])})
    assert report.as_json(report.read(written)) == written


def test_a_set_up_is_measured_from_its_first_step_to_the_first_time_the_cloud_runs(tmp_path: Path) -> None:
    began = {"Python environment": 10, "Pulumi CLI": 20, "Local cloud": 305}
    lines = [json.dumps({"title": title, "began": at, "seconds": 5}) for title, at in began.items()]
    record = tmp_path / "steps.jsonl"
    record.write_text("\n".join([*lines, lines[-1].replace("305", "900")]))
    (measure,) = fresh(record)
    assert measure.values == [300]
    record.write_text(lines[0])
    with pytest.raises(CommandFailed, match="Local cloud"):
        fresh(record)


def test_a_command_is_timed_with_its_children_and_its_failure_shown(tmp_path: Path) -> None:
    assert run(["sh", "-c", "python3 -c 'sum(range(3_000_000))'; echo done"], cwd=tmp_path).processor > 0
    with pytest.raises(CommandFailed, match="not today"):
        run(["sh", "-c", "echo not today; exit 3"], cwd=tmp_path)


@pytest.fixture
def engine() -> Iterator[str]:
    """A Docker engine that answers everything with two letters."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(folder, "docker.sock"))
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    while client.recv(1 << 16):
                        client.sendall(b"ok")

        threading.Thread(target=answer, daemon=True).start()
        yield f"unix://{path}"


def test_builds_and_pushes_are_counted_and_passed_on(engine: str) -> None:
    calls = DockerCalls(engine)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(calls.host.removeprefix("unix://"))
            for request in ("GET /v1.41/version", "POST /session", "POST /v1.41/images/localhost:1/name/push?tag=x"):
                client.sendall(f"{request} HTTP/1.1\r\n\r\n".encode())
                assert client.recv(2) == b"ok"
    finally:
        calls.close()
    assert +calls.counted == {"build": 1, "push": 1}


def _trace(folder: Path, *spans: tuple[str, int, int, str]) -> Path:
    """A trace as the engine writes it: seconds are given, nanoseconds from some day on are in it."""
    listed = [
        {
            "name": name,
            "startTimeUnixNano": str((100 + begin) * 10**9),
            "endTimeUnixNano": str((100 + end) * 10**9),
            "attributes": [{"key": "kind", "value": {"stringValue": kind}}] if kind else [],
        }
        for name, begin, end, kind in spans
    ]
    file = folder / "trace.json"
    file.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": listed}]}]}))
    return file


RUN = ("pulumirpc.LanguageRuntime/Run", 2, 9, "")
ASKED = ("pulumirpc.ResourceMonitor/Invoke", 5, 6, "")


def test_in_a_timeline_the_imports_last_until_the_program_asks_for_something(tmp_path: Path) -> None:
    spans = timeline.read(_trace(tmp_path, ("pulumi", 0, 10, ""), RUN, ASKED))
    assert timeline.Span("imports", 2, 5) in spans
    assert timeline.Span("pulumi", 0, 10) in spans


def test_a_timeline_shows_each_start_of_a_provider(tmp_path: Path) -> None:
    starts = [("newPlugin", 6, 7, "resource"), ("newPlugin", 7, 8, "resource"), ("newPlugin", 0, 1, "language")]
    picture = timeline.picture({"an <up>": timeline.read(_trace(tmp_path, RUN, ASKED, *starts))})
    assert picture.count(timeline.PROVIDER) == 2
    assert "an &lt;up&gt;: 9.0 s" in picture


def test_a_file_that_is_not_a_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="not the trace of an update"):
        timeline.read(_trace(tmp_path, ("pulumi", 0, 10, "")))
