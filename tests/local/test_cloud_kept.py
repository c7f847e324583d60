"""What the local cloud writes to its folder, and when: a server without a Docker engine."""

from pathlib import Path

from tests.local.test_guard import Cloud, cloud  # noqa: F401  # a fixture


def folder(cloud: Cloud) -> Path:  # noqa: F811
    return cloud.folder / ".local" / "cloud"


def saved(cloud: Cloud) -> dict[str, int]:  # noqa: F811
    return {file.name: file.stat().st_mtime_ns for file in folder(cloud).glob("*.json")}


def test_each_change_is_saved_before_its_response_and_nothing_is_saved_for_a_read(cloud: Cloud) -> None:  # noqa: F811
    ecr, iam, sts = (cloud.client(service) for service in ("ecr", "iam", "sts"))
    ecr.create_repository(repositoryName="saved")
    iam.create_user(UserName="saved")
    assert all('"saved"' in (folder(cloud) / name).read_text() for name in ("registry.json", "iam.json"))

    before = saved(cloud)
    ecr.get_authorization_token()
    ecr.describe_repositories()
    ecr.batch_get_image(repositoryName="saved", imageIds=[{"imageTag": "none"}])
    iam.list_users()
    sts.get_caller_identity()
    cloud.client("lambda").list_functions()
    assert saved(cloud) == before
