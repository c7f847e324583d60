"""A copy of this folder with warm caches, in which tests run the commands of the README."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
CACHES = ("venv", "tools", "pulumi-cli", "pulumi-home/plugins")
FOREIGN = ("PULUMI_", "AWS_", "LAMBDA_BASE_IMAGE", "VIRTUAL_ENV", "DOCKER_CONFIG", "LOCAL_CLOUD_PORT", "MAKE", "MFLAGS")


def free_port() -> int:
    """A free loopback port, outside the range from which the system assigns ports."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Checkout:
    """A copy of the program in another folder: files, commands, processes."""

    root: Path
    port: int = field(default_factory=free_port)
    _variables: str = field(default="", repr=False)
    _read_before: dict[Path, object] = field(default_factory=dict, repr=False)

    @classmethod
    def make_in(cls, root: Path) -> Self:
        """Copy what git would check out, commit it, and link the caches."""
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).exists():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "clone"]):
            subprocess.run([*git, *command], cwd=root, check=True)
        (root / ".local").mkdir()
        for name in CACHES:
            if (cached := ROOT / ".local" / name).exists():
                (root / ".local" / name).parent.mkdir(exist_ok=True)
                (root / ".local" / name).symlink_to(cached)
        return cls(root)

    @property
    def env(self) -> dict[str, str]:
        """The environment of a terminal outside of a local run, with the Docker engine to use."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        folders = [name for name in kept["PATH"].split(os.pathsep) if not name.startswith(str(ROOT / ".local"))]
        return {**kept, "PATH": os.pathsep.join(folders), "LOCAL_CLOUD_PORT": str(self.port)}

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `make`. Its output contains both streams."""
        return subprocess.run(
            ["make", *arguments],
            cwd=self.root,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `make` in a new process group, as a terminal does."""
        return subprocess.Popen(
            ["make", *arguments], cwd=self.root, env=self.env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def shell(self, command: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run a command line in the environment that `make env` prints."""
        script = self._script(command, cached=not changed)
        return subprocess.run(
            ["bash", "-c", script], cwd=self.root, env={**self.env, **changed}, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    def begin(self, command: str) -> subprocess.Popen[str]:
        """Start a command line in the environment that `make env` prints, in a new process group."""
        return subprocess.Popen(
            ["bash", "-c", self._script(command)], cwd=self.root, env=self.env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def _script(self, command: str, *, cached: bool = True) -> str:
        """A command line in the environment that `make env` prints, which takes a tenth of the time of a command."""
        if cached and self._read() != self._read_before:
            # It adds the profiles of new stack files.
            ran = subprocess.run(["make", "-s", "env"], cwd=self.root, env=self.env, capture_output=True, text=True)
            self._variables, self._read_before = ran.stdout, self._read()
        return f"{self._variables}\n{command}" if cached and self._variables else f'eval "$(make -s env)" && {command}'

    def _read(self) -> dict[Path, object]:
        """What `make env` reads: the profiles in stack files, and when the files of the local run were written."""
        profile = re.compile(r"^ +[\w-]+:(?:profile|account|region):.*", re.MULTILINE)
        profiles = {file: profile.findall(file.read_text()) for file in self.root.glob("Pulumi.*.yaml")}
        return profiles | {file: file.stat().st_mtime_ns for file in (self.root / ".local" / "run").glob("*")}

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text in a file of the clone."""
        path = self.root / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new))

    def restore(self) -> None:
        """Restore all files to the commit."""
        subprocess.run(["git", "checkout", "-q", "."], cwd=self.root, check=True)

    def git_status(self) -> str:
        """The output of `git status`."""
        return subprocess.run(["git", "status", "--porcelain"], cwd=self.root, capture_output=True, text=True).stdout

    def processes(self) -> list[str]:
        """Command lines of the processes that run in this clone."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.root) in line:
                found.append(line)
        return found


def interrupt_at(process: subprocess.Popen[str], text: str, number: int = signal.SIGINT) -> str:
    """Send a signal to the process group when a line with this text appears. Returns all output."""
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if text in line:
            os.killpg(process.pid, number)
            break
    else:
        raise AssertionError(f"{text!r} never appeared in:\n{''.join(lines)}")
    lines += list(process.stdout or ())
    process.wait()
    return "".join(lines)


def tracebacks(shown: str) -> list[str]:
    """The tracebacks in what Pulumi printed, without those of a KeyboardInterrupt.

    When something fails, the engine does not wait for the program's end but interrupts it.
    """
    found = shown.split("Traceback (most recent call last)")[1:]
    return [text for text in found if not re.search("KeyboardInterrupt|During handling of", text)]
