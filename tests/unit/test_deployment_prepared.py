"""`deployment.prepared`: a process that has imported a program's packages, and its engine."""

# ruff: noqa: N802  # names of the gRPC protocol

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    language_pb2,
    language_pb2_grpc,
    resource_pb2,
    resource_pb2_grpc,
)

from deployment.prepared import PreparedProgram

PROGRAM = """\
import signal
import pulumi, pulumi_aws, own, sys

loaded = [name for name in sys.modules if name.startswith("pulumi_aws.sns.")]
pulumi_aws.sns.Topic  # loaded on first use

async def main():
    import late
    return {"loaded": bool(loaded), "signal": signal.getsignal(signal.SIGINT) == signal.SIG_DFL, "late": late.value}

signal.signal(signal.SIGINT, signal.SIG_DFL)  # only possible in the main thread
print("from the program")
pulumi.run(main)
"""


class Monitor(resource_pb2_grpc.ResourceMonitorServicer):
    """The part of the engine that a program without resources calls."""

    def __init__(self) -> None:
        self.outputs: dict[str, Any] = {}

    def SupportsFeature(self, request: Any, context: Any) -> Any:
        return resource_pb2.SupportsFeatureResponse(hasSupport=False)

    def RegisterResource(self, request: Any, context: Any) -> Any:
        return resource_pb2.RegisterResourceResponse(urn="urn:pulumi:s::p::pulumi:pulumi:Stack::p-s")

    def RegisterResourceOutputs(self, request: Any, context: Any) -> Any:
        self.outputs = dict(request.outputs)
        return empty_pb2.Empty()


class Engine(engine_pb2_grpc.EngineServicer):
    """Takes the messages of a program."""

    def Log(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetRootResource(self, request: Any, context: Any) -> Any:
        return engine_pb2.GetRootResourceResponse()

    def SetRootResource(self, request: Any, context: Any) -> Any:
        return engine_pb2.SetRootResourceResponse()


@pytest.fixture
def engine() -> Iterator[tuple[Monitor, str]]:
    """A monitor, and the address of the engine."""
    monitor, server = Monitor(), grpc.server(ThreadPoolExecutor(4))
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(monitor, server)
    engine_pb2_grpc.add_EngineServicer_to_server(Engine(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield monitor, f"127.0.0.1:{port}"
    server.stop(None)


def prepared(folder: Path) -> PreparedProgram:
    return PreparedProgram(Path(sys.executable), folder, dict(os.environ), folder / "files")


def test_it_runs_the_program_as_it_is_then_and_the_next_one_imports_the_same_packages(
    tmp_path: Path, engine: tuple[Monitor, str]
) -> None:
    monitor, address = engine
    (tmp_path / "own.py").write_text("")
    (tmp_path / "late.py").write_text("value = 'late'")
    for is_second in (False, True):
        (tmp_path / "__main__.py").write_text("raise AssertionError")
        program = prepared(tmp_path)
        with grpc.insecure_channel(program.address) as channel:
            (tmp_path / "__main__.py").write_text(PROGRAM)
            request = language_pb2.RunRequest(
                project="p", stack="s", monitor_address=address, args=[address], parallel=4, pwd=str(tmp_path)
            )
            answer = language_pb2_grpc.LanguageRuntimeStub(channel).Run(request, timeout=60)
        program.end()
        assert answer.error == ""
        assert monitor.outputs == {"loaded": is_second, "signal": True, "late": "late"}
        assert (tmp_path / "files.log").read_text() == "from the program\n"
    modules = (tmp_path / "files.modules").read_text().split()
    assert {"pulumi", "pulumi_aws.sns"} <= {*modules}
    assert not {"own", "late"} & {*modules}


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text("")
    program = prepared(tmp_path)
    assert program.address
    assert program.process.poll() is None
    assert program.process.stdin
    program.process.stdin.close()
    assert program.process.wait(30) == 0


def test_an_environment_without_the_sdk_prepares_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    program = PreparedProgram(tmp_path / "venv" / "bin" / "python", tmp_path, {}, tmp_path / "files")
    assert program.address == ""
    program.end()
    assert "No module named" in (tmp_path / "files.log").read_text()
