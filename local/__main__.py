"""Commands of the local run; `make` calls them. `python3 -m local --help` lists them."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from local import (
    base_image,
    cloud,
    credentials,
    docker_engine,
    endpoint,
    environment,
    processes,
    stacks,
    toolchain,
    workspace,
)
from local.steps import run, side_by_side, step
from local.workspace import BIN, LOCAL, PYTHON, ROOT, VENV, LocalError

FAILED = 1
INTERRUPTED = 130
# Each worker of the tests has a local cloud of its own.
WORKERS = 4


def venv() -> None:
    """Create the Python environment."""
    toolchain.python_environment()


def tools(*besides: Callable[[], None]) -> None:
    """Create the Python environment, find or install the tools, find or start a Docker engine."""
    # Building the CLI takes longest, if it cannot be downloaded.
    side_by_side(
        [toolchain.pulumi, toolchain.plugins],
        [toolchain.python_environment, docker_engine.engine, base_image.base_image, *besides],
    )


def setup() -> None:
    """Find, install or start everything that the stacks need."""
    tools()
    stacks.recover()
    cloud.cloud()


def demo() -> None:
    """Set up the local run, deploy both stacks and call the endpoint."""
    began = time.monotonic()
    setup()
    for stack in stacks.STACKS:
        stacks.up(stack)
    stacks.call()
    seconds = time.monotonic() - began
    print(f"\nDeployed in {seconds:.0f} s. Both stacks stay up. Next: `make shell`. To stop: `make down`.")


def env() -> None:
    """Print the `export` lines for a shell: eval "$(make env)"."""
    _require_cloud()
    credentials.add_profiles_of_stacks()
    print(environment.exports())


def shell() -> None:
    """Open a shell in which `pulumi`, `docker` and AWS clients talk to the local cloud."""
    _require_cloud()
    credentials.add_profiles_of_stacks()
    program = os.environ.get("SHELL", "/bin/sh")
    print("In this shell, pulumi, docker and AWS clients use the local cloud. `exit` leaves it.")
    if (BIN / "pulumi-resource-aws").exists():
        print("The language host and the providers are stand-ins: docs/local-cloud.md")
    arguments = ["--rcfile", str(environment.bash_startup())] if Path(program).name == "bash" else []
    os.execve(program, [program, *arguments], environment.environment())


def test(*arguments: str) -> int:
    """Run the tests with separate local clouds; arguments are passed to pytest. Returns its exit code.

    Without arguments, lint and all tests run, in parallel, and the coverage is printed.
    """
    # Engine tests often wait, so two workers more than processors keep all of them busy.
    workers = min(WORKERS, (os.cpu_count() or 1) + 2)
    everything = ["--cov", f"--numprocesses={workers}", "--dist=loadfile", "--no-loadscope-reorder"]
    besides = [toolchain.browser] if arguments else [toolchain.browser, lint]
    return _with_tools("pytest", *(arguments or everything), besides=besides)


def lint() -> None:
    """Run ruff and mypy."""
    with step("Lint") as current:
        current.say("make lint")
        run("lint", ["make", "--no-print-directory", "lint"], cwd=ROOT)


def bench(*arguments: str) -> int:
    """Run the measurements (see `bench/README.md`) with a separate local cloud. Returns their exit code."""
    return _with_tools("bench", *arguments)


def _with_tools(module: str, *arguments: str, besides: Sequence[Callable[[], None]] = ()) -> int:
    was_running = docker_engine.host() is not None
    try:
        tools(*besides)
        command = [str(PYTHON), "-m", module, *arguments]
        variables = endpoint.outside(environment.environment())
        return subprocess.run(command, cwd=ROOT, env=variables).returncode
    finally:
        if not was_running:
            docker_engine.stop()


def down() -> int:
    """Destroy both stacks and stop what was started; the caches in .local/ stay. Returns 1 if a destroy failed."""
    if workspace.PORT_FILE.exists():
        # Stop the local cloud that is running, whatever port is set for the next one.
        os.environ.pop("LOCAL_CLOUD_PORT", None)
    failed = False
    for what, end in {
        "The stacks were not destroyed, but their resources ended with the local cloud": _destroy,
        "The local cloud did not stop": cloud.stop,
        "The Docker engine did not stop": docker_engine.stop,
        "A server did not stop": _stop_others,
        "The state was not removed": _remove_state,
    }.items():
        try:
            end()
        except Exception as error:
            # Continue with the other steps.
            failed = True
            print(f"{what}: {type(error).__name__}: {error}", file=sys.stderr)
    print("Stopped. Caches stay in .local/; delete this folder to remove them.")
    return FAILED if failed else 0


def _destroy() -> None:
    if cloud.is_running():
        stacks.recover()
        if cloud.is_running():
            stacks.destroy()


def _stop_others() -> None:
    # A provider ends only up to five minutes after a CLI that was killed.
    processes.end_programs_of(LOCAL / "pulumi-home" / "plugins")
    for name in processes.stop_all():
        print(f"stopped {name}")


def _remove_state() -> None:
    for folder in (*workspace.EPHEMERAL, workspace.CONTEXTS):
        workspace.remove(folder)


COMMANDS: dict[str, Callable[..., int | None]] = {
    "venv": venv,
    "tools": tools,
    "setup": setup,
    "demo": demo,
    "env": env,
    "shell": shell,
    "test": test,
    "bench": bench,
    "down": down,
    "pin": toolchain.pin,
}
# Commands that pass their arguments on.
PASSING_ON = ("test", "bench")


def main() -> int:
    """Run one command. Returns the exit code: 0, 1 if a step cannot continue, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python3 -m local", description="The two stacks on this machine, without AWS."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        commands.add_parser(name, help=function.__doc__, description=function.__doc__, add_help=name not in PASSING_ON)
    given, further = parser.parse_known_args()
    command = given.command
    endpoint.leave()
    if further and command not in PASSING_ON:
        parser.error(f"{command} takes no arguments: {' '.join(further)}")
    try:
        if command == "down":
            _enter_environment()
        elif command not in ("env", "shell", "pin") and (dropped := environment.prepare()):
            print(f"✓ .local/               {dropped}", flush=True)
        return COMMANDS[command](*further) or 0
    except LocalError as error:
        print(f"\n{error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\nInterrupted. Run it again to continue.", file=sys.stderr)
        return INTERRUPTED


def _enter_environment() -> None:
    """Continue in the Python environment, if it exists: emptying the repository needs an AWS client."""
    if VENV.exists() and sys.prefix != str(VENV):
        os.execv(PYTHON, [str(PYTHON), "-m", "local", *sys.argv[1:]])


def _require_cloud() -> None:
    if not LOCAL.exists() or not (BIN / "pulumi").exists() or not cloud.is_running():
        raise LocalError("The local cloud is not running. Start it with `make demo`.")


if __name__ == "__main__":
    sys.exit(main())
