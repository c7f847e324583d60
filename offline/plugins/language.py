"""Stand-in for `pulumi-language-python`: runs the program with the official runner, in this Python environment."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from proto import LanguageRuntimeServicer, language_pb2, language_pb2_grpc, plugin_pb2

from offline.plugins.server import engine_address, serve

# The runner's exit code if it has already printed the error.
SHOWN_TO_USER = 32
# `cmd.WaitDelay` of the official host.
WAIT_SECONDS = 5


class Language(LanguageRuntimeServicer):
    """The part of a language host that runs a Python program or plugin."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._children: set[subprocess.Popen[bytes]] = set()

    def end(self) -> None:
        """End all running programs and plugins."""
        for child in list(self._children):
            _interrupt(child)

    def _start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a child in its own process group, so that it does not receive the signals of this one."""
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, **options)
        self._children.add(child)
        return child

    def Handshake(self, request: Any, context: Any) -> Any:
        self._engine = request.engine_address or self._engine
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="0.0.0-stand-in")

    def GetRequiredPlugins(self, request: Any, context: Any) -> Any:
        return language_pb2.GetRequiredPluginsResponse()

    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        return language_pb2.GetRequiredPackagesResponse()

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        # A tenth of the start, which takes place twice in each operation.
        from importlib.metadata import distributions

        found = sorted((item.metadata["Name"], item.version) for item in distributions())
        listed = [language_pb2.DependencyInfo(name=name, version=version) for name, version in found]
        return language_pb2.GetProgramDependenciesResponse(dependencies=listed)

    def About(self, request: Any, context: Any) -> Any:
        return language_pb2.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

    def InstallDependencies(self, request: Any, context: Any) -> Any:
        yield language_pb2.InstallDependenciesResponse(
            stdout=b"The environment in .local/venv has what the program needs.\n"
        )

    def Run(self, request: Any, context: Any) -> Any:
        command = [
            _python(request.info),
            "-u",
            # Python runs the file, so it need not be executable.
            shutil.which("pulumi-language-python-exec", mode=os.F_OK) or "pulumi-language-python-exec",
            "--monitor",
            request.monitor_address,
            "--engine",
            self._engine,
            "--project",
            request.project,
            "--stack",
            request.stack,
            "--pwd",
            request.pwd,
            "--dry_run",
            "true" if request.dryRun else "false",
            "--parallel",
            str(request.parallel),
            "--organization",
            request.organization or "organization",
            "--root_directory",
            request.info.root_directory,
            str(Path(request.info.program_directory, request.info.entry_point)),
            *request.args,
        ]
        env = {
            **os.environ,
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        env.pop("PYTHONPATH", None)
        with self._start(command, cwd=request.pwd, env=env) as program:
            context.add_callback(partial(_interrupt, program))
            code = program.wait()
        self._children.discard(program)
        if code == SHOWN_TO_USER:
            return language_pb2.RunResponse(bail=True)
        if code != 0:
            # Go's `ExitStatus` is -1 for a program that a signal ended.
            return language_pb2.RunResponse(error=f"program exited with non-zero exit code: {max(code, -1)}")
        return language_pb2.RunResponse()

    def RunPlugin(self, request: Any, context: Any) -> Any:
        command = [sys.executable, "-u", request.info.program_directory, *request.args]
        env = {**os.environ, **dict(pair.split("=", 1) for pair in request.env)}
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with self._start(command, cwd=request.pwd, env=env, **output) as plugin:
            context.add_callback(plugin.terminate)
            for line in plugin.stdout or ():
                yield language_pb2.RunPluginResponse(stdout=line)
            yield language_pb2.RunPluginResponse(exitcode=plugin.wait())
        self._children.discard(plugin)

    def Cancel(self, request: Any, context: Any) -> Any:
        self.end()
        return empty_pb2.Empty()


def _python(info: Any) -> str:
    """The Python of the virtual environment in `Pulumi.yaml`. Default: that of this process."""
    named = info.options.fields["virtualenv"].string_value
    found = Path(info.root_directory, named, "bin", "python")
    return str(found) if named and found.exists() else sys.executable


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    """End a child as the official host does: SIGINT, then SIGKILL if it does not end.

    https://github.com/pulumi/pulumi/blob/master/sdk/python/cmd/pulumi-language-python/main.go (`cmd.Cancel`)
    """
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        killing = threading.Timer(WAIT_SECONDS, child.kill)
        killing.daemon = True
        killing.start()


def main() -> None:
    """Serve the language host to the engine that started this process."""
    language = Language(engine_address())

    def add(server: grpc.Server) -> None:
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(language, server)

    serve(add, language.end)
