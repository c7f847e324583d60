"""The registry stack: what stays when it goes, who is told what, and when its URL is known."""

import json
from typing import Any

import pytest

from components.errors import RegistryUnusable
from tests.unit.conftest import Deploy
from tests.unit.recorder import REGISTRY_OUTPUTS, REGISTRY_STACK, Recorder

REPOSITORY = "aws:ecr/repository:Repository"
POLICY = "aws:ecr/repositoryPolicy:RepositoryPolicy"
LIFECYCLE = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
RULES = [{"days": 30, "tagPrefixes": ["pr-"]}]
REPLICATION = "aws:ecr/replicationConfiguration:ReplicationConfiguration"
COMPONENT = "cross-account-ecr:index:CrossAccountRepository"
NAME = "cross-account-function"
URL = REGISTRY_OUTPUTS["repositoryUrl"]
DELETABLE = {"protect": False, "retainOnDelete": False}
KEY = "arn:aws:kms:us-east-1:111111111111:key/1234abcd"


def options(**options: Any) -> dict[str, Any]:
    return {"name": NAME, **options}


def test_a_repository_is_registered_with_these_inputs_and_no_others(deploy: Deploy) -> None:
    repository = deploy("registry").one(REPOSITORY)
    assert (repository.name, repository.parent, repository.provider) == ("repository", "repository", "registry")
    assert repository.inputs == {
        "name": NAME,
        # Scanners compare with exactly this word.
        "imageTagMutability": "IMMUTABLE",
        "imageScanningConfiguration": {"scanOnPush": True},
        "forceDelete": False,
    }


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({"name": "team/orders"}, {"name": "team/orders"}),
        ({"scanOnPush": False}, {"imageScanningConfiguration": {"scanOnPush": False}}),
        ({"kmsKey": KEY}, {"encryptionConfigurations": [{"encryptionType": "KMS", "kmsKey": KEY}]}),
        (
            {"mutableTags": ["dev-*", "test"]},
            {
                "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
                "imageTagMutabilityExclusionFilters": [
                    {"filter": "dev-*", "filterType": "WILDCARD"},
                    {"filter": "test", "filterType": "WILDCARD"},
                ],
            },
        ),
        ({**DELETABLE, "forceDelete": True}, {"forceDelete": True}),
    ],
)
def test_an_option_changes_its_inputs_and_no_others(
    deploy: Deploy, option: dict[str, Any], expected: dict[str, Any]
) -> None:
    plain = deploy("registry").one(REPOSITORY).inputs
    assert deploy("registry", repository=options(**option)).one(REPOSITORY).inputs == {**plain, **expected}


# ---- what stays


@pytest.mark.parametrize("keep", [True, False])
def test_repository_and_policy_are_protected_and_retained_together(deploy: Deploy, keep: bool) -> None:
    # A repository that is kept without its policy would stop serving its consumers.
    done = deploy(
        "registry", repository=options(protect=keep, retainOnDelete=keep, replicas=["eu-west-1"], lifecycle=RULES)
    )
    kept = [*done.of(REPOSITORY), *done.of(POLICY)]
    assert len(kept) == 4
    for resource in kept:
        assert (resource.protect, resource.retain_on_delete) == (keep, keep), resource.name
    # Without its lifecycle rules no image is lost.
    assert not any(one.protect or one.retain_on_delete for one in done.of(LIFECYCLE))


def test_policies_go_with_their_repository_and_not_before_it(deploy: Deploy) -> None:
    # ECR does not delete a repository that holds images. It must then keep serving its consumers.
    done = deploy("registry", repository=options(replicas=["eu-west-1"], lifecycle=RULES))
    deleted_with = {one.name: one.deleted_with for one in (*done.of(POLICY), *done.of(LIFECYCLE))}
    assert deleted_with == {
        "repository-policy": "repository",
        "repository-lifecycle": "repository",
        "repository-eu-west-1-policy": "repository-eu-west-1",
        "repository-eu-west-1-lifecycle": "repository-eu-west-1",
    }


def test_changed_rules_replace_the_old_ones_instead_of_deleting_the_new(deploy: Deploy) -> None:
    # A repository has one lifecycle policy: deleted after its replacement was created, it would take that away.
    done = deploy("registry", repository=options(lifecycle=RULES))
    assert done.one(LIFECYCLE).delete_before_replace
    assert not done.one(REPOSITORY).delete_before_replace


@pytest.mark.parametrize(
    ("option", "when"),
    [(DELETABLE, "once it holds no image"), ({**DELETABLE, "forceDelete": True}, "with all its images")],
)
def test_a_repository_that_may_be_deleted_causes_a_warning_that_names_its_consumers(
    deploy: Deploy, caplog: pytest.LogCaptureFixture, option: dict[str, Any], when: str
) -> None:
    consumers = [{"account": "333333333333"}, {"account": "222222222222"}]
    deploy("registry", repository=options(**option), consumers=consumers)
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert NAME in warning
    assert when in warning
    assert "222222222222, 333333333333" in warning


def test_a_repository_that_is_kept_causes_no_warning(deploy: Deploy, caplog: pytest.LogCaptureFixture) -> None:
    deploy("registry")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_the_organization_is_named_where_it_is_all_that_is_served(
    deploy: Deploy, caplog: pytest.LogCaptureFixture
) -> None:
    deploy("registry", repository=options(**DELETABLE, organization="o-abcdef1234"), consumers=None)
    assert "o-abcdef1234" in caplog.text


# ---- policies and replicas


def test_policies_are_of_the_repository(deploy: Deploy) -> None:
    done = deploy("registry", repository=options(replicas=["eu-west-1"], lifecycle=RULES))
    for kind in (POLICY, LIFECYCLE):
        assert [one.inputs["repository"] for one in done.of(kind)] == [NAME, NAME]
    assert {one.parent for one in done.resources if one.type.startswith("aws:")} == {"repository"}
    assert {one.provider for one in done.resources if one.type.startswith("aws:")} == {"registry"}


def test_each_replica_has_repository_policy_and_rules_in_its_region(deploy: Deploy) -> None:
    done = deploy("registry", repository=options(replicas=["eu-west-1", "eu-central-1"], lifecycle=RULES))
    for kind in (REPOSITORY, POLICY, LIFECYCLE):
        # The provider's own Region is not repeated: to write it down would be a change of an existing repository.
        regions = {one.inputs.get("region") for one in done.of(kind)}
        assert regions == {None, "eu-west-1", "eu-central-1"}
    for policy in done.of(POLICY):
        region = policy.inputs.get("region", "us-east-1")
        assert f"arn:aws:lambda:{region}:222222222222:function:*" in policy.inputs["policy"]
        assert policy.inputs["policy"].count("arn:aws:lambda:") == 1


def test_images_are_copied_once_the_replicas_are_there(deploy: Deploy) -> None:
    # ECR would create what is missing, without a policy.
    done = deploy("registry", repository=options(replicas=["eu-west-1", "eu-central-1"], lifecycle=RULES))
    replication = done.one(REPLICATION)
    assert {"repository-eu-west-1", "repository-eu-central-1"} <= replication.depends_on
    (rule,) = replication.inputs["replicationConfiguration"]["rules"]
    assert rule["destinations"] == [
        {"region": "eu-west-1", "registryId": "111111111111"},
        {"region": "eu-central-1", "registryId": "111111111111"},
    ]
    assert rule["repositoryFilters"] == [{"filter": NAME, "filterType": "PREFIX_MATCH"}]


def test_without_replicas_nothing_is_copied(deploy: Deploy) -> None:
    assert not deploy("registry").of(REPLICATION)


def test_without_lifecycle_rules_no_policy_is_created(deploy: Deploy) -> None:
    assert not deploy("registry", repository=options(lifecycle=[])).of(LIFECYCLE)


# ---- outputs


def test_each_output_has_its_value(deploy: Deploy) -> None:
    done = deploy("registry", consumers=[{"account": "333333333333"}, {"account": "222222222222"}])
    policies = done.outputs.pop("deployerPolicies")
    assert done.outputs == {
        "repositoryUrl": URL,
        "repositoryArn": REGISTRY_OUTPUTS["repositoryArn"],
        "repositoryName": NAME,
        "registryId": "111111111111",
        "region": "us-east-1",
        "repositoryUrls": {"us-east-1": URL},
        "organization": "",
        "consumerAccounts": ["222222222222", "333333333333"],
        "consumerRegions": {"us-east-1": ["222222222222", "333333333333"]},
        "publishers": [],
    }
    assert set(policies) == {"222222222222", "333333333333"}
    for account, policy in policies.items():
        *_, functions = json.loads(policy)["Statement"]
        assert functions["Resource"] == [f"arn:aws:lambda:us-east-1:{account}:function:*"]
    assert (
        done.component_outputs["repository"].items()
        >= {
            "url": URL,
            "arn": REGISTRY_OUTPUTS["repositoryArn"],
            "repository_name": NAME,
            "registry_id": "111111111111",
            "region": "us-east-1",
            "urls": {"us-east-1": URL},
            "deployer_policies": policies,
        }.items()
    )


def test_outputs_name_each_consumer_in_its_regions(deploy: Deploy) -> None:
    consumers = [{"account": "333333333333", "regions": ["eu-west-1"]}, {"account": "222222222222"}]
    done = deploy("registry", repository=options(replicas=["eu-west-1"], lifecycle=RULES), consumers=consumers)
    assert done.outputs["consumerRegions"] == {
        "us-east-1": ["222222222222"],
        "eu-west-1": ["222222222222", "333333333333"],
    }
    assert done.outputs["repositoryUrls"].keys() == {"us-east-1", "eu-west-1"}


def test_urls_are_known_once_consumers_may_pull(deploy: Deploy) -> None:
    # A resource that waits for the URL waits for the policy.
    unknown = deploy("registry", repository=options(replicas=["eu-west-1"], lifecycle=RULES), unknown={POLICY}).unknown
    assert unknown == {"repositoryUrl", "repositoryUrls"}


# ---- a consumer reads what a registry says


@pytest.mark.parametrize(
    ("registry", "served"),
    [
        ({}, True),
        ({"consumers": [{"account": "333333333333"}]}, False),
        ({"consumers": None, "repository": options(organization="o-abcdef1234")}, True),
        (
            {"consumers": [{"account": "333333333333"}], "repository": options(organization="o-abcdef1234")},
            False,
        ),
    ],
)
def test_a_consumer_is_served_exactly_if_the_registry_grants_it(
    deploy: Deploy, recorder: Recorder, registry: dict[str, Any], served: bool
) -> None:
    recorder.stacks[REGISTRY_STACK] = deploy("registry", **registry).outputs
    image = {"digest": "sha256:" + "ab" * 32}
    if served:
        assert deploy("consumer", image=image).outputs["imageUri"].startswith(URL)
    else:
        with pytest.raises(RegistryUnusable, match="Account 222222222222 may not use the repository"):
            deploy("consumer", image=image)


def test_the_type_token_of_the_component_never_changes(deploy: Deploy) -> None:
    assert deploy("registry").one(COMPONENT).name == "repository"
