"""What local clouds that were killed leave on the Docker engine is removed by the next one that starts."""

import socket
import subprocess

import pytest

from local import cloud, docker_engine


def test_only_what_belongs_to_no_running_cloud_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    removed = []
    with socket.create_server(("127.0.0.1", 0)) as running, socket.socket() as ended:
        ended.bind(("127.0.0.1", 0))  # and does not listen
        used, free = (each.getsockname()[1] for each in (running, ended))
        listed = f"a cross-account-ecr:{free}\nb cross-account-ecr:{used}\nc another:{free}\nd cross-account-ecr:\n"

        networks = f"cross-account-ecr-{free}\ncross-account-ecr-{used}\ncross-account-ecr-x\n"

        def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
            shows = "--format" in arguments
            if not shows:
                removed.append(arguments)
            shown = networks if arguments[0] == "network" else listed
            return subprocess.CompletedProcess(arguments, 0, shown if shows else "")

        monkeypatch.setattr(docker_engine, "docker", docker)
        cloud._remove_left_behind()
    assert removed == [("rm", "-f", "a"), ("network", "rm", f"cross-account-ecr-{free}")]
