"""A program that has imported its packages before an update needs them.

This file is also run by its process, in the Python environment of the project: a language host for one update. So it
imports only the Pulumi SDK. https://www.pulumi.com/docs/iac/concepts/languages-sdks/
"""

import importlib
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

# The runner's exit code if it has reported the error.
SHOWN_TO_USER = 32


class PreparedProgram:
    """The process of a prepared program.

    Args:
        python: the Python of the project.
        folder: the program's folder.
        environment: environment variables of the program.
        files: path of its files, without a suffix: the program's output, and the names of the modules that it has
            loaded, which the next process with these files imports.

    Attributes:
        process: the process.
    """

    def __init__(self, python: Path, folder: Path, environment: Mapping[str, str], files: Path) -> None:
        reader, writer = os.pipe()
        modules = files.with_suffix(".modules")
        # A socket in a folder of this user, because anybody on the machine can connect to a port.
        self._folder = tempfile.TemporaryDirectory(prefix="program-")
        socket = f"{self._folder.name}/socket"
        # Unbuffered (-u), because `end` kills the process.
        command = [str(python), "-u", "-P", __file__, str(folder), str(modules), socket, str(writer)]
        with files.with_suffix(".log").open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output,
                pass_fds=[writer], process_group=0,
            )  # fmt: skip
        os.close(writer)
        self._told = os.fdopen(reader)

    @cached_property
    def address(self) -> str:
        """The address for `pulumi up --client`, once it is prepared; empty if it could not be."""
        with self._told as told:
            return told.readline().strip()

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self._told.close()
        self._folder.cleanup()
        if self.process.stdin:
            self.process.stdin.close()


class _Host(LanguageServer):
    """Passes the request to the main thread, in which programs run.

    The base class is private. It answers what the engine asks before it runs a program, and
    tests/unit/test_deployment_prepared.py guards it.
    """

    def __init__(self) -> None:
        super().__init__(lambda: None)
        self.asked, self.answers = SimpleQueue[Any](), SimpleQueue[Any]()

    def Run(self, request: Any, context: Any) -> Any:  # noqa: N802  # named by the library
        self.asked.put(request)
        return self.answers.get()


def _main(folder: str, modules: Path, socket: str, writer: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runner = shutil.which("pulumi-language-python-exec", mode=os.F_OK)
    if runner is None:
        return
    for name in modules.read_text().split() if modules.exists() else ():
        with suppress(Exception):
            # The AWS SDK loads a module on its first use.
            hasattr(importlib.import_module(name), "any")
    host, server = _Host(), grpc.server(ThreadPoolExecutor(4))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    with os.fdopen(writer, "w") as told:
        told.write(f"unix:{socket}\n")
    answer = _run(runner, host.asked.get())
    modules.write_text("\n".join(name for name, module in sys.modules.items() if _is_of_a_package(module, folder)))
    host.answers.put(answer)
    threading.Event().wait()


def _run(runner: str, request: Any) -> Any:
    """Run the program with Pulumi's own runner, as the language host of Python does.

    https://github.com/pulumi/pulumi/blob/v3.274.1/sdk/python/cmd/pulumi-language-python/main.go
    """
    os.environ["PULUMI_CONFIG"] = json.dumps(dict(request.config))
    os.environ["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
    options = {
        "monitor": request.monitor_address,
        "engine": request.args[0],
        "project": request.project,
        "stack": request.stack,
        "pwd": request.pwd,
        "dry_run": "true" if request.dryRun else "false",
        "parallel": request.parallel,
        "organization": request.organization or "organization",
        "root_directory": request.info.root_directory,
    }
    program = Path(request.info.program_directory, request.info.entry_point)
    sys.argv = [runner, *(f"--{name}={value}" for name, value in options.items()), str(program)]
    sys.path.insert(0, request.info.program_directory)
    try:
        runpy.run_path(runner, run_name="__main__")
    except SystemExit as ended:
        if ended.code == SHOWN_TO_USER:
            return language_pb2.RunResponse(bail=True)
        if ended.code:
            return language_pb2.RunResponse(error=f"program exited with non-zero exit code: {ended.code}")
    return language_pb2.RunResponse()


def _is_of_a_package(module: Any, folder: str) -> bool:
    """Whether it is a loaded package, which imports its modules itself, and not the program's own, which may change."""
    # The AWS SDK has another type for a module that it has not loaded yet.
    if type(module) is not type(sys) or not hasattr(module, "__path__"):
        return False
    file = str(getattr(module, "__file__", None) or "")
    return file.startswith(sys.prefix) or not file.startswith((folder + os.sep, __file__))


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
