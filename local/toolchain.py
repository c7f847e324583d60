"""Finds or installs the Python environment, the Pulumi CLI and its plugins.

If an official download is not available, `offline` replaces it, and the step reports this.
"""

import hashlib
import io
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

from local.docker_engine import apt_install
from local.endpoint import outside
from local.environment import environment
from local.steps import Step, run, step, succeeds
from local.workspace import BIN, LOCAL, PROJECT, PYTHON, ROOT, RUN, VENV, LocalError, digest
from offline import go, stand_ins
from offline.go import PULUMI_VERSION

OLDEST_PULUMI = (3, 200)
# The archive and its checksum come from two hosts, so that one alone cannot replace both.
ARCHIVES = "https://get.pulumi.com/releases/sdk"
CHECKSUMS = (
    f"https://github.com/pulumi/pulumi/releases/download/v{PULUMI_VERSION}/pulumi-{PULUMI_VERSION}-checksums.txt"
)
# Recorded by `python3 -m local pin`. The release's own checksums are used only for a version without records.
RECORDED = ROOT / "local" / "pulumi.sha256"
PLATFORMS = ("linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64")
CONNECT_SECONDS = 30
TOOLS = LOCAL / "tools"


def python_environment() -> None:
    """Create `.local/venv` with the pinned packages, again if a pin changes."""
    pins = [ROOT / "requirements.txt", ROOT / "requirements-dev.txt"]
    marker = VENV / "pins"
    with step("Python environment") as current:
        if sys.version_info < (3, 11):
            raise LocalError(f"Python 3.11 or newer is required; this is {sys.version.split()[0]}.")
        wanted = digest(*pins)
        if sys.prefix == str(VENV) or (marker.exists() and marker.read_text() == wanted):
            current.done("found", "requirements.txt, requirements-dev.txt")
            return
        if VENV.is_symlink():
            # `--clear` would empty the target of a link, which others use.
            VENV.unlink()
        current.say("installing requirements.txt and requirements-dev.txt")
        run("venv", [sys.executable, "-m", "venv", "--clear", VENV])
        # The pins are complete. Where one package needs another with an extra, pip would look at its newest release
        # first, and refuse that because it is not pinned.
        # Python compiles what is imported. To compile all of pulumi-aws takes half a minute.
        options = ["--require-hashes", "--no-deps", "--no-compile"]
        run("pip", [PYTHON, "-m", "pip", "install", *options, "-r", pins[0], "-r", pins[1]])
        marker.write_text(wanted)
        current.done("installed", "requirements.txt, requirements-dev.txt")


def pulumi() -> None:
    """Find, download or build the Pulumi CLI, and write the wrapper for it."""
    with step("Pulumi CLI") as current:
        cli = _pulumi_cli(current)
        _write_wrapper(cli)


def plugins() -> None:
    """Install the official language host and providers or, if they are not available, the stand-ins."""
    with step("Pulumi plugins") as current:
        chosen = RUN / "plugins"
        wanted = {name: _package_version(f"pulumi-{name}") for name in ("aws", "docker")}
        if chosen.exists() and (known := json.loads(chosen.read_text()))["wanted"] == wanted:
            how = known["how"]
        else:
            current.say("looking for the official plugins")
            how = "installed" if _install_official(wanted) else "stand-in"
        if how == "stand-in":
            stand_ins.write(BIN, PYTHON, TOOLS, run)
            current.done(how, "language, aws, docker: no download can be reached")
        else:
            stand_ins.remove(BIN)
            # `python -m deployment watch` looks for the runner on PATH, where official installations have it.
            if runner := shutil.which(stand_ins.RUNNER, mode=os.F_OK, path=_official_path()):
                (BIN / stand_ins.RUNNER).symlink_to(runner)
            current.done(how, ", ".join(f"{name} {version}" for name, version in wanted.items()))
        chosen.write_text(json.dumps({"wanted": wanted, "how": how}))


def browser() -> None:
    """Install Chromium and its driver for tests."""
    with step("Browser") as current:
        if shutil.which("chromium") and shutil.which("chromedriver"):
            current.done("found", "chromium")
            return
        apt_install("chromium", "chromium-driver", say=current.say)
        current.done("installed", "Debian's chromium")


def _pulumi_cli(current: Step) -> Path:
    on_path = _other_pulumi()
    if on_path and (version := _pulumi_version(on_path)) and version >= OLDEST_PULUMI:
        current.done("found", f"{on_path} {'.'.join(map(str, version))}")
        return on_path
    installed = LOCAL / "pulumi-cli" / "bin" / "pulumi"
    if installed.exists():
        current.done("found", f"official {PULUMI_VERSION}")
        return installed
    if (built := go.binary("pulumi", TOOLS)).exists():
        current.done("found", f"{PULUMI_VERSION} built from its Go module, without `pulumi api`")
        return built
    current.say("trying the official download")
    if _download(installed.parent) and installed.exists():
        current.done("installed", f"official {PULUMI_VERSION}")
        return installed
    shutil.rmtree(installed.parent.parent, ignore_errors=True)
    current.say("no download can be reached; building it from its Go module (minutes)")
    go.build("pulumi", TOOLS, run)
    current.done("built", f"{PULUMI_VERSION} from its Go module, without `pulumi api`")
    return built


def _download(folder: Path) -> bool:
    """Download the CLI and its language hosts to a folder. Returns whether they are available.

    Raises:
        LocalError: the archive does not have its checksum.
    """
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = _archive(f"{sys.platform}-{machine}")
    recorded = RECORDED.read_text() if RECORDED.exists() else ""
    known = recorded if _archive("") in recorded else ""
    try:
        sums, archive = known or _get(CHECKSUMS).decode(), _get(f"{ARCHIVES}/{name}")
    except OSError:
        return False
    if f"{hashlib.sha256(archive).hexdigest()}  {name}" not in sums.splitlines():
        raise LocalError(
            f"{ARCHIVES}/{name} does not have the checksum in {RECORDED if known else CHECKSUMS}. It was not installed."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in filter(tarfile.TarInfo.isfile, files):
            member.name = Path(member.name).name
            files.extract(member, folder, filter="data")
    return True


def pin() -> None:
    """Record the checksums of the pinned Pulumi CLI in local/pulumi.sha256, for maintainers.

    Raises:
        LocalError: an archive cannot be reached, or does not have the checksum of its release.
    """
    try:
        sums = _get(CHECKSUMS).decode().splitlines()
        lines = [
            f"{hashlib.sha256(_get(f'{ARCHIVES}/{name}')).hexdigest()}  {name}" for name in map(_archive, PLATFORMS)
        ]
    except OSError as error:
        raise LocalError(f"The release of Pulumi {PULUMI_VERSION} cannot be reached: {error}") from error
    if wrong := [line for line in lines if line not in sums]:
        raise LocalError(f"{CHECKSUMS} has other checksums than the files in {ARCHIVES}: {', '.join(wrong)}")
    RECORDED.write_text("\n".join([*lines, ""]))


def _archive(platform: str) -> str:
    return f"pulumi-v{PULUMI_VERSION}-{platform}{'.tar.gz' if platform else ''}"


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer:  # noqa: S310  # constants above
        return bytes(answer.read())


def _other_pulumi() -> Path | None:
    """The first `pulumi` on PATH that is not our own wrapper."""
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if Path(folder) != BIN]
    found = shutil.which("pulumi", path=os.pathsep.join(folders))
    return Path(found) if found else None


def _pulumi_version(cli: Path) -> tuple[int, ...] | None:
    shown = subprocess.run([cli, "version"], capture_output=True, text=True).stdout
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", shown.strip())
    return tuple(map(int, match.groups())) if match else None


# The passphrase provider writes a salt to the stack file. To keep the committed stack files unchanged, the CLI gets
# copies of them, in a project with this folder's program. A copy is replaced when its source changes, so values of
# `pulumi config set` are kept until then.
WRAPPER = """#!/bin/sh
# Runs the Pulumi CLI on copies of the project and stack files, so that a local run edits no committed file.
set -eu
root={root} project={project}
{{
  sed 's#^\\( *virtualenv:\\).*#\\1 "{venv}"#' "$root/Pulumi.yaml"
  printf '\\nmain: "%s"\\n' "$root"
  # For plugins that a project names, the engine does not warn that they come from PATH.
  if [ -e {bin}/pulumi-resource-aws ]; then
    printf 'plugins: {{languages: [{{name: python, path: "%s"}}], ' {bin}
    printf 'providers: [{{name: aws, path: "%s"}}, {{name: docker, path: "%s"}}]}}\\n' {bin} {bin}
  fi
}} > "$project/.Pulumi.yaml.$$"
mv "$project/.Pulumi.yaml.$$" "$project/Pulumi.yaml"
for source in "$root"/Pulumi.*.yaml; do
  copy="$project/${{source##*/}}"
  if [ ! -e "$copy" ] || [ "$source" -nt "$copy" ]; then
    salt=$(grep -s '^encryptionsalt:' "$copy" || true)
    {{ grep -v '^encryptionsalt:' "$source"; printf '\\n%s\\n' "$salt"; }} > "$project/.copy.$$"
    mv "$project/.copy.$$" "$copy"
  fi
done
case "$(pwd -P)/" in "$root"/*) ;; *) exec {cli} "$@" ;; esac
# Paths are relative to the user's folder, not to the project's.
before= command=${{1-}}
for argument; do
  shift
  case $before:$argument in
    --policy-pack:[!/]* | --policy-pack-config:[!/]*) argument=$(pwd)/$argument ;;
    *:--policy-pack=[!/]* | *:--policy-pack-config=[!/]*) argument=${{argument%%=*}}=$(pwd)/${{argument#*=}} ;;
  esac
  case $command:$argument in package:. | package:.. | package:./* | package:../*) argument=$(pwd)/$argument ;; esac
  before=$argument
  set -- "$@" "$argument"
done
exec {cli} --cwd "$project" "$@"
"""


def _write_wrapper(cli: Path) -> None:
    quoted = {"root": ROOT, "project": PROJECT, "cli": cli, "bin": BIN}
    text = WRAPPER.format(venv=VENV, **{name: shlex.quote(str(path)) for name, path in quoted.items()})
    stand_ins.write_script(BIN / "pulumi", text)


def _install_official(wanted: dict[str, str]) -> bool:
    """Try `pulumi plugin install`; a language host comes with the official CLI."""
    if shutil.which("pulumi-language-python", path=_official_path()) is None:
        return False
    env = outside(environment())
    return all(
        succeeds([BIN / "pulumi", "plugin", "install", "resource", name, version], env=env)
        for name, version in wanted.items()
    )


def _official_path() -> str:
    found = _other_pulumi()
    folders = [LOCAL / "pulumi-cli" / "bin", *([found.resolve().parent] if found else [])]
    return os.pathsep.join(map(str, folders))


def _package_version(name: str) -> str:
    match = re.search(rf"^{name}==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    if match is None:
        raise LocalError(f"requirements.txt does not pin {name}.")
    return match.group(1)
