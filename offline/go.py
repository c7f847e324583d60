"""Build commands from Go modules that `tools/` pins."""

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

TOOLS = Path(__file__).resolve().parent / "tools"
PULUMI_VERSION = "3.274.1"
# The tags of `pulumi` exclude gRPC access to Google Cloud Storage and gRPC traces, a tenth of all packages:
# https://pkg.go.dev/cloud.google.com/go/storage, https://pkg.go.dev/google.golang.org/grpc#EnableTracing
VERSION = f"-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{PULUMI_VERSION}"
COMMANDS = {
    "pulumi": (
        "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        ("-tags", "disable_grpc_modules,grpcnotrace", "-ldflags", f"-s -w {VERSION}"),
    ),
    "lambda-rie": (
        "github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie",
        ("-ldflags", "-s -w"),
    ),
}


class Run(Protocol):
    """Runs a command with extra environment variables and logs its output under a name. Raises an error if it fails."""

    def __call__(  # noqa: D102
        self, name: str, command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None: ...


def binary(tool: str, folder: Path) -> Path:
    """The path of a command's binary in a folder. Its name changes with its sources, pins and options."""
    sha = hashlib.sha256(" ".join(COMMANDS[tool][1]).encode())
    for path in sorted(filter(Path.is_file, (TOOLS / tool).rglob("*"))):
        sha.update(path.read_bytes())
    return folder / f"{tool}-{sha.hexdigest()[:12]}"


def build(tool: str, folder: Path, run: Run) -> Path:
    """Build a command into a folder, if it is missing. It is static, so that it runs in any image. Returns its path."""
    built = binary(tool, folder)
    if not built.exists():
        package, options = COMMANDS[tool]
        # A fifth less processor time: the compiler creates no debug information, which the linker drops (`-s -w`), and
        # collects garbage less often.
        command = ["go", "build", "-trimpath", "-gcflags=all=-dwarf=false", *options, "-o", str(built), package]
        run(f"build-{tool}", command, cwd=TOOLS / tool, env={"CGO_ENABLED": "0", "GOGC": "400"})
    return built


def source(tool: str, module: str, run: Run) -> Path:
    """The folder with the source of a module that a tool pins. Downloads it if it is missing."""
    run(f"download-{tool}", ["go", "mod", "download", module], cwd=TOOLS / tool)
    listed = ["go", "list", "-m", "-f", "{{.Dir}}", module]
    return Path(subprocess.check_output(listed, cwd=TOOLS / tool, text=True).strip())
