"""The Pulumi CLI is downloaded only with its checksum, and nothing that is downloaded is run unseen."""

import hashlib
import importlib.metadata
import io
import re
import shutil
import tarfile
import urllib.error
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from local import steps, toolchain
from local.workspace import LocalError
from offline import go, stand_ins


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bytes:
    """An archive as Pulumi's, for linux-x64, of which no checksum is recorded."""
    monkeypatch.setattr(toolchain, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(toolchain.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(toolchain.sys, "platform", "linux")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as files:
        for name in ("pulumi/pulumi", "pulumi/pulumi-language-python"):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(name), 0o755
            files.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


def serve(monkeypatch: pytest.MonkeyPatch, archive: bytes, sums: str) -> None:
    def get(url: str) -> bytes:
        return sums.encode() if url == toolchain.CHECKSUMS else archive

    monkeypatch.setattr(toolchain, "_get", get)


def line(archive: bytes, name: str = f"pulumi-v{toolchain.PULUMI_VERSION}-linux-x64.tar.gz") -> str:
    return f"{hashlib.sha256(archive).hexdigest()}  {name}\n"


def test_an_archive_with_its_checksum_is_unpacked(
    archive: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(monkeypatch, archive, line(b"other", "other.tar.gz") + line(archive))
    assert toolchain._download(tmp_path / "bin")
    assert (tmp_path / "bin" / "pulumi").read_text() == "pulumi/pulumi"
    assert (tmp_path / "bin" / "pulumi-language-python").stat().st_mode & 0o111


@pytest.mark.parametrize("sums", ["", line(b"changed"), "of another platform"])
def test_an_archive_without_its_checksum_is_refused(
    archive: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sums: str
) -> None:
    serve(monkeypatch, archive, sums.replace("of another platform", line(archive, "pulumi-darwin.tar.gz")))
    with pytest.raises(LocalError, match="does not have the checksum"):
        toolchain._download(tmp_path / "bin")
    assert not (tmp_path / "bin").exists()


def test_a_recorded_checksum_counts_and_not_the_releases(
    archive: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(monkeypatch, archive, line(archive))
    toolchain.RECORDED.write_text(line(b"another"))
    with pytest.raises(LocalError, match=f"the checksum in {toolchain.RECORDED}"):
        toolchain._download(tmp_path / "bin")
    serve(monkeypatch, archive, line(b"another"))
    toolchain.RECORDED.write_text(line(archive))
    assert toolchain._download(tmp_path / "bin")


def test_checksums_are_recorded_for_every_platform(
    archive: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [toolchain._archive(each) for each in toolchain.PLATFORMS]
    serve(monkeypatch, archive, "".join(line(archive, name) for name in names))
    toolchain.pin()
    assert toolchain.RECORDED.read_text() == "".join(line(archive, name) for name in names)
    serve(monkeypatch, archive, line(b"another", names[0]))
    with pytest.raises(LocalError, match="has other checksums than"):
        toolchain.pin()


def test_what_is_recorded_is_of_the_pinned_version() -> None:
    recorded = toolchain.RECORDED.read_text().splitlines() if toolchain.RECORDED.exists() else []
    wanted = [toolchain._archive(each) for each in toolchain.PLATFORMS]
    assert [entry.split("  ")[1] for entry in recorded] == (wanted if recorded else [])


def test_without_a_connection_nothing_is_installed(
    archive: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def get(url: str) -> bytes:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(toolchain, "_get", get)
    assert not toolchain._download(tmp_path / "bin")
    assert not (tmp_path / "bin").exists()


def test_beside_deploy_credentials_only_what_has_a_hash_is_installed() -> None:
    for name in ("requirements.txt", "policy_pack/requirements.txt"):
        text = Path(name).read_text()
        pins = [each for each in text.split("\n") if "==" in each and not each.lstrip().startswith("#")]
        assert pins
        assert [each for each in pins if not each.endswith("\\")] == []
    action = yaml.safe_load(Path(".github/actions/set-up/action.yml").read_text())
    [install] = [step for step in action["runs"]["steps"] if step.get("name") == "Install the Pulumi CLI"]
    assert "sha256sum --check --strict" in install["run"]
    assert install["env"]["VERSION"] == toolchain.PULUMI_VERSION
    assert "pip install" not in Path("Makefile").read_text()


def test_the_environment_is_installed_from_the_pins_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = list[tuple[str, list[object]]]()
    monkeypatch.setattr(toolchain, "VENV", tmp_path / "venv")
    monkeypatch.setattr(steps, "RECORD", tmp_path / "steps.jsonl")
    monkeypatch.setattr(toolchain, "run", lambda name, command: ran.append((name, command)))
    (tmp_path / "venv").mkdir()
    toolchain.python_environment()
    [pip] = [command for name, command in ran if name == "pip"]
    assert {"--require-hashes", "--no-deps"} <= set(pip)


def test_the_pins_are_complete() -> None:
    lines = "\n".join(Path(name).read_text() for name in ("requirements.txt", "requirements-dev.txt")).splitlines()
    pins = [Requirement(line.rstrip("\\ ")) for line in lines if re.match(r"[a-zA-Z0-9]", line)]
    pinned = {canonicalize_name(pin.name): pin for pin in pins}
    needed = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    assert len(needed) > 50
    for pin in needed:
        for text in importlib.metadata.requires(pin.name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                [version] = pinned[canonicalize_name(requirement.name)].specifier
                assert requirement.specifier.contains(version.version), f"{pin.name} needs {text}"


def test_stand_ins_are_written_over_those_that_are_there(tmp_path: Path) -> None:
    def run(*_: object, **__: object) -> None:
        pytest.fail("the runner is there")

    runner = tmp_path / f"{go.binary('pulumi', tmp_path).name}-runner"
    runner.write_text("#!/usr/bin/env python3")
    runner.chmod(0o555)  # as in Go's cache
    (tmp_path / "bin").mkdir()
    for _ in range(2):
        stand_ins.write(tmp_path / "bin", Path("python"), tmp_path, run)
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "bin").iterdir()} == {0o755}


def test_a_cli_of_other_sources_is_built_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(go, "TOOLS", shutil.copytree(go.TOOLS, tmp_path / "tools"))
    sources = [path for path in (go.TOOLS / "pulumi").rglob("*") if path.is_file()]
    names = {go.binary("pulumi", tmp_path)}
    for source in sources:
        source.write_text(source.read_text() + "\n")
        names.add(go.binary("pulumi", tmp_path))
    assert len(names) == 1 + len(sources)
