"""Stand-in for `pulumi-resource-aws`: the resources that the program uses, through botocore.

Each resource type is an entry of `KINDS`. Inputs that the SDK class does not declare are refused, and so are inputs
that this stand-in does not support. The same inputs as in the real provider force a replacement ("Changing this creates
a new resource": https://www.pulumi.com/registry/packages/aws/).
"""

import base64
import hashlib
import json
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, ClassVar

import botocore.exceptions
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    AssumeRoleWithWebIdentityCredentialFetcher,
    DeferredRefreshableCredentials,
)
from botocore.session import Session
from botocore.utils import FileWebIdentityTokenLoader

from offline.plugins import schema
from offline.plugins.provider import (
    HalfDone,
    Provider,
    Refused,
    Values,
    WrongInputs,
    is_unknown,
    same,
    serve_provider,
    told,
)

CONFIG = Config(retries={"total_max_attempts": 3, "mode": "standard"}, connect_timeout=5, read_timeout=120)
GONE = {
    "RepositoryNotFoundException",
    "RepositoryPolicyNotFoundException",
    "LifecyclePolicyNotFoundException",
    "NoSuchEntity",
    "NoSuchEntityException",
    "ResourceNotFoundException",
    "NotFoundException",
    "NotFound",
    "ProvisionedConcurrencyConfigNotFoundException",
}
# The provider retries until IAM has propagated a new role:
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
ROLE_NOT_READY = "cannot be assumed by Lambda"
ROLE_SECONDS = 60
NAME_SUFFIX_DIGITS = 7
EXPIRED = (
    botocore.exceptions.LoginRefreshRequired,
    botocore.exceptions.SSOTokenLoadError,
    botocore.exceptions.UnauthorizedSSOTokenError,
)
# The supported inputs of a role to assume, and their names in AWS's API.
ROLE_INPUTS = {
    "sessionName": "RoleSessionName",
    "externalId": "ExternalId",
    "duration": "DurationSeconds",
}
SECONDS = {"h": 3600, "m": 60, "s": 1}
# https://github.com/aws/aws-sdk-go-v2/blob/main/credentials/stscreds/assume_role_provider.go (`DefaultDuration`)
SESSION_SECONDS = 15 * 60
# The SDK sets the last two.
PROVIDER_INPUTS = {
    "profile",
    "assumeRoles",
    "assumeRoleWithWebIdentity",
    "region",
    "allowedAccountIds",
    "version",
    "skipCredentialsValidation",
    "skipRegionValidation",
}


class Aws:
    """Clients of one account and Region."""

    def __init__(self, session: Session, region: str | None = None) -> None:
        self._session = session
        self._clients: dict[str, Any] = {}
        self._elsewhere: dict[str, Aws] = {}
        # Clients are thread-safe, but their creation is not: "Multithreading or multiprocessing with clients",
        # https://boto3.amazonaws.com/v1/documentation/api/latest/guide/clients.html
        self._lock = threading.Lock()
        self.region: str = region or session.get_config_variable("region")
        partitions = session.get_component("data_loader").load_data("partitions")["partitions"]
        named = (found["outputs"] for found in partitions if re.match(found["regionRegex"], self.region))
        outputs = next(named, partitions[0]["outputs"])
        self.partition: str = outputs["name"]
        self.suffix: str = outputs["dnsSuffix"]
        self.account: str = self.client("sts").get_caller_identity()["Account"]

    def client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._session.create_client(service, region_name=self.region, config=CONFIG)
            return self._clients[service]

    def of(self, values: Values) -> "Aws":
        """Clients for the resource's Region, which may differ from the provider's."""
        region = values.get("region") or self.region
        if region == self.region:
            return self
        if region not in self._elsewhere:
            self._elsewhere[region] = Aws(self._session, region)
        return self._elsewhere[region]

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def _at_once(aws: Aws, new: Values) -> None:
    """Do nothing: most resources are ready when they are created."""


def _no_update(aws: Aws, identity: str, olds: Values, news: Values) -> None:
    raise Refused("nothing of this resource can be changed in place")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One resource type.

    Attributes:
        sdk: the name of the argument class in the Pulumi SDK, which declares the inputs.
        inputs: the supported inputs; others are refused.
        replaces: inputs that force a replacement.
        computed: outputs that are not inputs.
        create: creates the resource and returns its ID.
        settle: waits until the resource is ready.
        read: returns all current properties, or None; properties that AWS does not store may be missing.
        update: updates the resource in place.
        delete: deletes the resource.
        defaults: default values that the provider sets.
        named: the input that gets a generated name if it is not set.
        longest: maximum length of a generated name; 0: no limit.
        quiet: functions that compare the old and new value of an input and return whether to ignore the change.
        volatile: outputs that every update changes.
        volatile_when: outputs that an update also changes if an input is true.
    """

    sdk: str
    inputs: set[str]
    replaces: set[str]
    computed: set[str]
    create: Callable[[Aws, Values], str]
    read: Callable[[Aws, str, Values], Values | None]
    delete: Callable[[Aws, str, Values], None]
    settle: Callable[[Aws, Values], None] = _at_once
    update: Callable[[Aws, str, Values, Values], None] = _no_update
    defaults: Values = field(default_factory=dict)
    named: str | None = None
    longest: int = 0
    quiet: dict[str, Callable[[Any, Any], bool]] = field(default_factory=dict)
    volatile: frozenset[str] = frozenset()
    volatile_when: dict[str, frozenset[str]] = field(default_factory=dict)


# ---- ECR ---------------------------------------------------------------------------------------------------------


def _create_repository(aws: Aws, new: Values) -> str:
    aws.client("ecr").create_repository(
        repositoryName=new["name"],
        imageTagMutability=new["imageTagMutability"],
        imageScanningConfiguration=new.get("imageScanningConfiguration", {"scanOnPush": False}),
        encryptionConfiguration=_encryption(new),
        tags=_tag_list(new.get("tags", {})),
    )
    return str(new["name"])


def _encryption(new: Values) -> Values:
    asked = (new.get("encryptionConfigurations") or [{}])[0]
    key = {"kmsKey": asked["kmsKey"]} if "kmsKey" in asked else {}
    return {"encryptionType": asked.get("encryptionType", "AES256"), **key}


def _read_repository(aws: Aws, name: str, state: Values) -> Values | None:
    ecr = aws.client("ecr")
    found = ecr.describe_repositories(repositoryNames=[name])["repositories"][0]
    tags = ecr.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]
    return {
        "name": found["repositoryName"],
        "arn": found["repositoryArn"],
        "registryId": found["registryId"],
        "repositoryUrl": found["repositoryUri"],
        "imageTagMutability": found["imageTagMutability"],
        "imageScanningConfiguration": found["imageScanningConfiguration"],
        "encryptionConfigurations": [found["encryptionConfiguration"]],
        "region": aws.region,
        **_tags({tag["Key"]: tag["Value"] for tag in tags}),
    }


def _update_repository(aws: Aws, name: str, old: Values, new: Values) -> None:
    ecr = aws.client("ecr")
    if old.get("imageTagMutability") != new["imageTagMutability"]:
        ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability=new["imageTagMutability"])
    scanning = new.get("imageScanningConfiguration", {"scanOnPush": False})
    if old.get("imageScanningConfiguration") != scanning:
        ecr.put_image_scanning_configuration(repositoryName=name, imageScanningConfiguration=scanning)
    removed = _dropped_tags(old, new)
    if removed:
        ecr.untag_resource(resourceArn=old["arn"], tagKeys=removed)
    if _differs("tags", old, new) and new.get("tags"):
        ecr.tag_resource(resourceArn=old["arn"], tags=_tag_list(new["tags"]))


def _delete_repository(aws: Aws, name: str, state: Values) -> None:
    try:
        aws.client("ecr").delete_repository(repositoryName=name, force=bool(state.get("forceDelete")))
    except botocore.exceptions.ClientError as error:
        if _code(error) == "RepositoryNotEmptyException":
            raise Refused(f"ECR Repository ({name}) not empty, consider using force_delete: {error}") from error
        raise


def _set_repository_policy(aws: Aws, new: Values) -> str:
    aws.client("ecr").set_repository_policy(repositoryName=new["repository"], policyText=new["policy"])
    return str(new["repository"])


def _read_repository_policy(aws: Aws, name: str, state: Values) -> Values | None:
    found = aws.client("ecr").get_repository_policy(repositoryName=name)
    return {"repository": name, "policy": found["policyText"], "registryId": found["registryId"], "region": aws.region}


def _put_lifecycle_policy(aws: Aws, new: Values) -> str:
    aws.client("ecr").put_lifecycle_policy(repositoryName=new["repository"], lifecyclePolicyText=new["policy"])
    return str(new["repository"])


def _read_lifecycle_policy(aws: Aws, name: str, state: Values) -> Values | None:
    found = aws.client("ecr").get_lifecycle_policy(repositoryName=name)
    registry = {"registryId": found["registryId"], "region": aws.region}
    return {"repository": name, "policy": found["lifecyclePolicyText"], **registry}


def _put_replication(aws: Aws, new: Values) -> str:
    configuration = new.get("replicationConfiguration", {"rules": []})
    aws.client("ecr").put_replication_configuration(replicationConfiguration=configuration)
    return aws.account


def _read_replication(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("ecr").describe_registry()
    configuration = found["replicationConfiguration"]
    return {"replicationConfiguration": configuration, "registryId": found["registryId"], "region": aws.region}


# ---- IAM ---------------------------------------------------------------------------------------------------------


def _create_role(aws: Aws, new: Values) -> str:
    optional = {"Description": new.get("description"), "PermissionsBoundary": new.get("permissionsBoundary")}
    aws.client("iam").create_role(
        RoleName=new["name"],
        AssumeRolePolicyDocument=new["assumeRolePolicy"],
        Tags=_tag_list(new.get("tags", {})),
        **{key: value for key, value in optional.items() if value},
    )
    return str(new["name"])


def _read_role(aws: Aws, name: str, state: Values) -> Values | None:
    iam = aws.client("iam")
    found = iam.get_role(RoleName=name)["Role"]
    # The provider makes these calls for its deprecated properties `inlinePolicies` and `managedPolicyArns`.
    iam.list_role_policies(RoleName=name)
    iam.list_attached_role_policies(RoleName=name)
    return {
        "name": name,
        "arn": found["Arn"],
        "uniqueId": found["RoleId"],
        "createDate": found["CreateDate"].isoformat(),
        "assumeRolePolicy": json.dumps(found["AssumeRolePolicyDocument"]),
        "description": found.get("Description", ""),
        "permissionsBoundary": found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""),
        **_tags({tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}),
    }


def _update_role(aws: Aws, name: str, old: Values, new: Values) -> None:
    iam = aws.client("iam")
    if _differs("assumeRolePolicy", old, new):
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=new["assumeRolePolicy"])
    if _differs("description", old, new):
        iam.update_role(RoleName=name, Description=new.get("description", ""))
    if _differs("permissionsBoundary", old, new) and new.get("permissionsBoundary"):
        iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=new["permissionsBoundary"])
    elif _differs("permissionsBoundary", old, new):
        iam.delete_role_permissions_boundary(RoleName=name)
    if removed := _dropped_tags(old, new):
        iam.untag_role(RoleName=name, TagKeys=removed)
    if _differs("tags", old, new) and new.get("tags"):
        iam.tag_role(RoleName=name, Tags=_tag_list(new["tags"]))


def _delete_role(aws: Aws, name: str, state: Values) -> None:
    iam = aws.client("iam")
    # A role in an instance profile cannot be deleted, so the provider removes it first.
    for profile in iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=profile["InstanceProfileName"], RoleName=name)
    iam.delete_role(RoleName=name)


def _put_role_policy(aws: Aws, new: Values) -> str:
    aws.client("iam").put_role_policy(RoleName=new["role"], PolicyName=new["name"], PolicyDocument=new["policy"])
    return f"{new['role']}:{new['name']}"


def _read_role_policy(aws: Aws, identity: str, state: Values) -> Values | None:
    role, _, name = identity.partition(":")
    found = aws.client("iam").get_role_policy(RoleName=role, PolicyName=name)
    return {"role": role, "name": name, "policy": json.dumps(found["PolicyDocument"])}


def _attach_role_policy(aws: Aws, new: Values) -> str:
    aws.client("iam").attach_role_policy(RoleName=new["role"], PolicyArn=new["policyArn"])
    return f"{new['role']}-{new['policyArn']}"


def _read_attachment(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("iam").list_attached_role_policies(RoleName=state["role"])["AttachedPolicies"]
    return state if state["policyArn"] in [one["PolicyArn"] for one in found] else None


def _delete_role_policy(aws: Aws, identity: str, state: Values) -> None:
    role, _, name = identity.partition(":")
    aws.client("iam").delete_role_policy(RoleName=role, PolicyName=name)


# ---- CloudWatch Logs ---------------------------------------------------------------------------------------------


def _create_log_group(aws: Aws, new: Values) -> str:
    aws.client("logs").create_log_group(logGroupName=new["name"], tags=new.get("tags", {}))
    _set_retention(aws, new["name"], new)
    return str(new["name"])


def _set_retention(aws: Aws, name: str, new: Values) -> None:
    logs = aws.client("logs")
    if days := new.get("retentionInDays"):
        logs.put_retention_policy(logGroupName=name, retentionInDays=days)
    else:
        logs.delete_retention_policy(logGroupName=name)


def _read_log_group(aws: Aws, name: str, state: Values) -> Values | None:
    logs = aws.client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    found = next((group for group in groups if group["logGroupName"] == name), None)
    if found is None:
        return None
    arn = found["arn"].removesuffix(":*")
    return {
        "name": name,
        "arn": arn,
        "retentionInDays": found.get("retentionInDays", 0),
        "region": aws.region,
        **_tags(logs.list_tags_for_resource(resourceArn=arn).get("tags", {})),
    }


def _update_log_group(aws: Aws, name: str, old: Values, new: Values) -> None:
    if _differs("retentionInDays", old, new):
        _set_retention(aws, name, new)
    if removed := _dropped_tags(old, new):
        aws.client("logs").untag_resource(resourceArn=old["arn"], tagKeys=removed)
    if _differs("tags", old, new) and new.get("tags"):
        aws.client("logs").tag_resource(resourceArn=old["arn"], tags=new["tags"])


# ---- Lambda ------------------------------------------------------------------------------------------------------


# Lambda's defaults.
FUNCTION_DEFAULTS: Values = {
    "description": "",
    "environment": {"variables": {}},
    "ephemeralStorage": {"size": 512},
    "tracingConfig": {"mode": "PassThrough"},
    "loggingConfig": {"logFormat": "Text"},
    "deadLetterConfig": {},
    "fileSystemConfig": {},
    "vpcConfig": {},
    "imageConfig": {},
}
IMAGE_CONFIG = {"entryPoints": "EntryPoint", "commands": "Command", "workingDirectory": "WorkingDirectory"}


def _function_configuration(new: Values) -> Values:
    said = {**FUNCTION_DEFAULTS, **new}
    return {
        "FunctionName": said["name"],
        "Role": said["role"],
        "Description": said["description"],
        "MemorySize": said["memorySize"],
        "Timeout": said["timeout"],
        "Environment": {"Variables": said["environment"].get("variables", {})},
        "EphemeralStorage": {"Size": said["ephemeralStorage"]["size"]},
        "TracingConfig": {"Mode": said["tracingConfig"]["mode"]},
        "LoggingConfig": {"LogFormat": said["loggingConfig"]["logFormat"]},
        "DeadLetterConfig": {_pascal(key): value for key, value in said["deadLetterConfig"].items()},
        "FileSystemConfigs": [
            {_pascal(key): value for key, value in system.items()} for system in [said["fileSystemConfig"]] if system
        ],
        "VpcConfig": {_pascal(key): value for key, value in said["vpcConfig"].items()},
        "ImageConfig": {IMAGE_CONFIG[key]: value for key, value in said["imageConfig"].items()},
    }


def _create_function(aws: Aws, new: Values) -> str:
    client = aws.client("lambda")
    deadline = time.monotonic() + ROLE_SECONDS
    while True:
        try:
            client.create_function(
                **_function_configuration(new),
                PackageType=new["packageType"],
                Code={"ImageUri": new["imageUri"]},
                Architectures=new["architectures"],
                Tags=new.get("tags", {}),
                Publish=bool(new.get("publish")),
            )
            break
        except botocore.exceptions.ClientError as error:
            if ROLE_NOT_READY not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)
    return str(new["name"])


def _await_function(aws: Aws, new: Values) -> None:
    client = aws.client("lambda")
    client.get_waiter("function_active_v2").wait(
        FunctionName=new["name"], WaiterConfig={"Delay": 1, "MaxAttempts": 300}
    )
    if "reservedConcurrentExecutions" in new:
        _reserve(client, new)


def _reserve(client: Any, new: Values) -> None:
    if "reservedConcurrentExecutions" in new:
        client.put_function_concurrency(
            FunctionName=new["name"], ReservedConcurrentExecutions=new["reservedConcurrentExecutions"]
        )
    else:
        client.delete_function_concurrency(FunctionName=new["name"])


def _read_function(aws: Aws, name: str, state: Values) -> Values | None:
    found = aws.client("lambda").get_function(FunctionName=name)
    configuration = found["Configuration"]
    arn = configuration["FunctionArn"]
    live = {
        "name": name,
        "arn": arn,
        "invokeArn": f"arn:{aws.partition}:apigateway:{aws.region}:lambda:path/2015-03-31/functions/{arn}/invocations",
        "qualifiedArn": f"{arn}:$LATEST",
        "role": configuration["Role"],
        "description": configuration.get("Description", ""),
        "memorySize": configuration["MemorySize"],
        "timeout": configuration["Timeout"],
        "architectures": configuration["Architectures"],
        "packageType": configuration["PackageType"],
        "imageUri": found["Code"]["ImageUri"],
        "lastModified": configuration["LastModified"],
        "version": "$LATEST",
        "region": aws.region,
        **_tags(found.get("Tags", {})),
    }
    versions = aws.client("lambda").get_paginator("list_versions_by_function").paginate(FunctionName=name)
    published = [item["Version"] for page in versions for item in page["Versions"] if item["Version"] != "$LATEST"]
    if published:
        live["version"] = max(published, key=int)
        live["qualifiedArn"] = f"{arn}:{live['version']}"
        live["publish"] = True
    if "Concurrency" in found:
        live["reservedConcurrentExecutions"] = found["Concurrency"]["ReservedConcurrentExecutions"]
    image = configuration.get("ImageConfigResponse", {}).get("ImageConfig", {})
    current = {
        "environment": {"variables": configuration.get("Environment", {}).get("Variables", {})},
        "ephemeralStorage": {"size": configuration.get("EphemeralStorage", {}).get("Size", 512)},
        "tracingConfig": {"mode": configuration.get("TracingConfig", {}).get("Mode", "PassThrough")},
        "loggingConfig": {"logFormat": configuration.get("LoggingConfig", {}).get("LogFormat", "Text")},
        "deadLetterConfig": _of(configuration.get("DeadLetterConfig", {}), "targetArn"),
        "fileSystemConfig": _of((configuration.get("FileSystemConfigs") or [{}])[0], "arn", "localMountPath"),
        "vpcConfig": _of(configuration.get("VpcConfig", {}), "subnetIds", "securityGroupIds"),
        "imageConfig": {key: image[name] for key, name in IMAGE_CONFIG.items() if image.get(name)},
    }
    # Lambda's defaults are left out, as the provider does for blocks that are not set.
    return {**live, **{key: value for key, value in current.items() if value != FUNCTION_DEFAULTS[key]}}


def _of(values: Values, *names: str) -> Values:
    """Selected values of an AWS structure, with Pulumi's names."""
    return {name: values[_pascal(name)] for name in names if values.get(_pascal(name))}


def _update_function(aws: Aws, name: str, old: Values, new: Values) -> None:
    client = aws.client("lambda")
    updated = client.get_waiter("function_updated_v2")
    before, after = _function_configuration(old), _function_configuration(new)
    # As in the provider, inputs that are not set keep their values, and an unchanged role needs no iam:PassRole.
    if changed := {key: value for key, value in after.items() if before[key] != value}:
        client.update_function_configuration(FunctionName=name, **changed)
        updated.wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    if (old["imageUri"], old["architectures"]) != (new["imageUri"], new["architectures"]):
        client.update_function_code(FunctionName=name, ImageUri=new["imageUri"], Architectures=new["architectures"])
        updated.wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    if new.get("publish"):
        client.publish_version(FunctionName=name)
    if old.get("reservedConcurrentExecutions") != new.get("reservedConcurrentExecutions"):
        _reserve(client, new)
    if removed := _dropped_tags(old, new):
        client.untag_resource(Resource=old["arn"], TagKeys=removed)
    if _differs("tags", old, new) and new.get("tags"):
        client.tag_resource(Resource=old["arn"], Tags=new["tags"])


def _add_permission(aws: Aws, new: Values) -> str:
    optional = {
        "FunctionUrlAuthType": new.get("functionUrlAuthType"),
        "InvokedViaFunctionUrl": new.get("invokedViaFunctionUrl"),
        "SourceArn": new.get("sourceArn"),
        "SourceAccount": new.get("sourceAccount"),
        "Qualifier": new.get("qualifier"),
    }
    aws.client("lambda").add_permission(
        FunctionName=new["function"],
        StatementId=new["statementId"],
        Action=new["action"],
        Principal=new["principal"],
        **{key: value for key, value in optional.items() if value},
    )
    return str(new["statementId"])


def _read_permission(aws: Aws, identity: str, state: Values) -> Values | None:
    policy = json.loads(aws.client("lambda").get_policy(FunctionName=state["function"])["Policy"])
    statement = next((found for found in policy["Statement"] if found["Sid"] == identity), None)
    if statement is None:
        return None
    principal = statement["Principal"]
    condition = statement.get("Condition", {})
    return {
        "function": state["function"],
        "statementId": identity,
        "action": statement["Action"],
        "principal": principal.get("Service", principal.get("AWS")) if isinstance(principal, dict) else principal,
        "sourceArn": condition.get("ArnLike", {}).get("AWS:SourceArn", ""),
        "sourceAccount": condition.get("StringEquals", {}).get("AWS:SourceAccount", ""),
        "region": aws.region,
    }


def _remove_permission(aws: Aws, identity: str, state: Values) -> None:
    aws.client("lambda").remove_permission(FunctionName=state["function"], StatementId=identity)


def _alias_settings(new: Values) -> Values:
    weights = new.get("routingConfig", {}).get("additionalVersionWeights", {})
    return {
        "FunctionName": new["functionName"],
        "Name": new["name"],
        "FunctionVersion": new["functionVersion"],
        "RoutingConfig": {"AdditionalVersionWeights": weights},
    }


def _create_alias(aws: Aws, new: Values) -> str:
    return str(aws.client("lambda").create_alias(**_alias_settings(new))["AliasArn"])


def _read_alias(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("lambda").get_alias(FunctionName=state["functionName"], Name=state["name"])
    arn = found["AliasArn"]
    weights = found.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    return {
        "functionName": state["functionName"],
        "name": state["name"],
        "functionVersion": found["FunctionVersion"],
        "arn": arn,
        "invokeArn": f"arn:{aws.partition}:apigateway:{aws.region}:lambda:path/2015-03-31/functions/{arn}/invocations",
        "region": aws.region,
        **({"routingConfig": {"additionalVersionWeights": weights}} if weights else {}),
    }


def _provision(aws: Aws, new: Values) -> str:
    key = {"FunctionName": new["functionName"], "Qualifier": new["qualifier"]}
    count = new["provisionedConcurrentExecutions"]
    aws.client("lambda").put_provisioned_concurrency_config(**key, ProvisionedConcurrentExecutions=count)
    return f"{new['functionName']},{new['qualifier']}"


def _read_provisioned(aws: Aws, identity: str, state: Values) -> Values | None:
    function, _, qualifier = identity.partition(",")
    found = aws.client("lambda").get_provisioned_concurrency_config(FunctionName=function, Qualifier=qualifier)
    return {
        "functionName": function,
        "qualifier": qualifier,
        "provisionedConcurrentExecutions": found["RequestedProvisionedConcurrentExecutions"],
        "region": aws.region,
    }


def _invoke(aws: Aws, new: Values) -> str:
    name, qualifier = new["functionName"], new["qualifier"]
    answer = aws.client("lambda").invoke(FunctionName=name, Qualifier=qualifier, Payload=new["input"])
    result = answer["Payload"].read().decode()
    if "FunctionError" in answer:
        raise Refused(f"invoking Lambda Function ({name}:{qualifier}): {answer['FunctionError']}: {result}")
    # AWS does not store the result of a call, so the state does.
    new["result"] = result
    return f"{name}_{qualifier}_{hashlib.md5(new['input'].encode(), usedforsecurity=False).hexdigest()}"


def _url_key(values: Values) -> Values:
    qualifier = {"Qualifier": values["qualifier"]} if values.get("qualifier") else {}
    return {"FunctionName": values["functionName"], **qualifier}


def _url_settings(new: Values) -> Values:
    cors = {_pascal(key): value for key, value in new.get("cors", {}).items()}
    return {**_url_key(new), "AuthType": new["authorizationType"], "Cors": cors}


PUBLIC_STATEMENTS: dict[str, Values] = {
    "FunctionURLAllowPublicAccess": {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    "FunctionURLAllowInvokeAction": {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
}


def _create_url(aws: Aws, new: Values) -> str:
    client = aws.client("lambda")
    client.create_function_url_config(**_url_settings(new))
    if new["authorizationType"] == "NONE":
        # The provider adds public permissions to a public URL, and neither an update nor a destroy removes them.
        # https://github.com/hashicorp/terraform-provider-aws/pull/44858
        for statement, allowed in PUBLIC_STATEMENTS.items():
            try:
                client.add_permission(**_url_key(new), StatementId=statement, Principal="*", **allowed)
            except client.exceptions.ResourceConflictException:
                continue
    return "/".join(filter(None, (new["functionName"], new.get("qualifier"))))


def _read_url(aws: Aws, identity: str, state: Values) -> Values | None:
    function, _, qualifier = identity.partition("/")
    key = {"functionName": function, **({"qualifier": qualifier} if qualifier else {})}
    found = aws.client("lambda").get_function_url_config(**_url_key(key))
    cors = _of(found.get("Cors", {}), "allowOrigins")
    return {
        **key,
        "authorizationType": found["AuthType"],
        "functionUrl": found["FunctionUrl"],
        "functionArn": found["FunctionArn"],
        "region": aws.region,
        **({"cors": cors} if cors else {}),
    }


# ---- what calls a function ---------------------------------------------------------------------------------------


def _mapping_settings(new: Values) -> Values:
    scaling = new.get("scalingConfig", {})
    return {
        "FunctionName": new["functionName"],
        "BatchSize": new.get("batchSize", 10),
        "MaximumBatchingWindowInSeconds": new.get("maximumBatchingWindowInSeconds", 0),
        "FunctionResponseTypes": new.get("functionResponseTypes", []),
        "ScalingConfig": {_pascal(key): value for key, value in scaling.items()},
    }


def _create_mapping(aws: Aws, new: Values) -> str:
    settings = {name: value for name, value in _mapping_settings(new).items() if value not in ([], {})}
    made = aws.client("lambda").create_event_source_mapping(EventSourceArn=new["eventSourceArn"], **settings)
    return str(made["UUID"])


def _read_mapping(aws: Aws, identity: str, state: Values) -> Values | None:
    client = aws.client("lambda")
    found = client.get_event_source_mapping(UUID=identity)
    # The provider makes this call for its property `tags`.
    client.list_tags(Resource=found["EventSourceMappingArn"])
    scaling = _of(found.get("ScalingConfig", {}), "maximumConcurrency")
    return {
        "arn": found["EventSourceMappingArn"],
        "uuid": identity,
        "eventSourceArn": found["EventSourceArn"],
        "functionArn": found["FunctionArn"],
        "functionName": found["FunctionArn"],
        "batchSize": found["BatchSize"],
        "maximumBatchingWindowInSeconds": found.get("MaximumBatchingWindowInSeconds", 0),
        "state": found["State"],
        "region": aws.region,
        **({"functionResponseTypes": found["FunctionResponseTypes"]} if found.get("FunctionResponseTypes") else {}),
        **({"scalingConfig": scaling} if scaling else {}),
    }


def _update_mapping(aws: Aws, identity: str, old: Values, new: Values) -> None:
    before, after = _mapping_settings(old), _mapping_settings(new)
    changed = {name: value for name, value in after.items() if before[name] != value}
    aws.client("lambda").update_event_source_mapping(UUID=identity, **changed)


SUBSCRIPTION_ATTRIBUTES = {
    "filterPolicy": "FilterPolicy",
    "filterPolicyScope": "FilterPolicyScope",
    "redrivePolicy": "RedrivePolicy",
}


def _subscribe(aws: Aws, new: Values) -> str:
    attributes = {aws_name: new[name] for name, aws_name in SUBSCRIPTION_ATTRIBUTES.items() if new.get(name)}
    made = aws.client("sns").subscribe(
        TopicArn=new["topic"],
        Protocol=new["protocol"],
        Endpoint=new["endpoint"],
        Attributes=attributes,
        ReturnSubscriptionArn=True,
    )
    return str(made["SubscriptionArn"])


def _read_subscription(aws: Aws, arn: str, state: Values) -> Values | None:
    found = aws.client("sns").get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    return {
        "arn": arn,
        "topic": found["TopicArn"],
        "protocol": found["Protocol"],
        "endpoint": found["Endpoint"],
        "ownerId": found["Owner"],
        "pendingConfirmation": found.get("PendingConfirmation") == "true",
        "region": aws.region,
        **{name: found[aws_name] for name, aws_name in SUBSCRIPTION_ATTRIBUTES.items() if found.get(aws_name)},
    }


def _update_subscription(aws: Aws, arn: str, old: Values, new: Values) -> None:
    # The scope comes first, because a filter policy may be valid only in the new scope.
    for name in ("filterPolicyScope", "filterPolicy", "redrivePolicy"):
        if _differs(name, old, new):
            value = new.get(name) or {"filterPolicy": "{}", "filterPolicyScope": "MessageAttributes"}.get(name, "")
            aws.client("sns").set_subscription_attributes(
                SubscriptionArn=arn, AttributeName=SUBSCRIPTION_ATTRIBUTES[name], AttributeValue=value
            )


def _bus(values: Values) -> Values:
    return {"EventBusName": values.get("eventBusName", "default")}


def _put_rule(aws: Aws, new: Values) -> str:
    aws.client("events").put_rule(Name=new["name"], EventPattern=new["eventPattern"], **_bus(new))
    return (
        str(new["name"]) if new.get("eventBusName", "default") == "default" else f"{new['eventBusName']}/{new['name']}"
    )


def _read_rule(aws: Aws, identity: str, state: Values) -> Values | None:
    bus, _, name = identity.rpartition("/")
    client = aws.client("events")
    found = client.describe_rule(Name=name, EventBusName=bus or "default")
    client.list_tags_for_resource(ResourceARN=found["Arn"])
    return {
        "name": name,
        "arn": found["Arn"],
        "eventBusName": bus or "default",
        "eventPattern": found["EventPattern"],
        "state": found["State"],
        "region": aws.region,
    }


def _target_policy(values: Values) -> Values:
    """Retries and dead-letter queue of a target of a rule or schedule, with AWS's names."""
    retries, dead = values.get("retryPolicy", {}), values.get("deadLetterConfig", {})
    return {
        **({"RetryPolicy": {_pascal(key): value for key, value in retries.items()}} if retries else {}),
        **({"DeadLetterConfig": {"Arn": dead["arn"]}} if dead else {}),
    }


def _told_policy(found: Values) -> Values:
    """The same with Pulumi's names."""
    retries = _of(found.get("RetryPolicy", {}), "maximumRetryAttempts", "maximumEventAgeInSeconds")
    if "MaximumRetryAttempts" in found.get("RetryPolicy", {}):
        retries["maximumRetryAttempts"] = found["RetryPolicy"]["MaximumRetryAttempts"]
    dead = _of(found.get("DeadLetterConfig", {}), "arn")
    return {**({"retryPolicy": retries} if retries else {}), **({"deadLetterConfig": dead} if dead else {})}


def _put_target(aws: Aws, new: Values) -> str:
    target = {"Id": new["targetId"], "Arn": new["arn"], **_target_policy(new)}
    answer = aws.client("events").put_targets(Rule=new["rule"], Targets=[target], **_bus(new))
    if answer["FailedEntryCount"]:
        raise Refused(f"putting EventBridge target {new['targetId']}: {answer['FailedEntries']}")
    return f"{new['rule']}-{new['targetId']}"


def _read_target(aws: Aws, identity: str, state: Values) -> Values | None:
    targets = aws.client("events").list_targets_by_rule(Rule=state["rule"], **_bus(state))["Targets"]
    found = next((target for target in targets if target["Id"] == state["targetId"]), None)
    if found is None:
        return None
    return {
        "rule": state["rule"],
        "targetId": state["targetId"],
        "eventBusName": state.get("eventBusName", "default"),
        "arn": found["Arn"],
        "region": aws.region,
        **_told_policy(found),
    }


def _remove_target(aws: Aws, identity: str, state: Values) -> None:
    aws.client("events").remove_targets(Rule=state["rule"], Ids=[state["targetId"]], **_bus(state))


def _schedule_settings(new: Values) -> Values:
    target = new["target"]
    given = {"Input": target["input"]} if target.get("input") else {}
    return {
        "Name": new["name"],
        "GroupName": new.get("groupName", "default"),
        "ScheduleExpression": new["scheduleExpression"],
        "ScheduleExpressionTimezone": new.get("scheduleExpressionTimezone", "UTC"),
        "FlexibleTimeWindow": {_pascal(key): value for key, value in new["flexibleTimeWindow"].items()},
        "Target": {"Arn": target["arn"], "RoleArn": target["roleArn"], **given, **_target_policy(target)},
    }


def _create_schedule(aws: Aws, new: Values) -> str:
    aws.client("scheduler").create_schedule(**_schedule_settings(new))
    return f"{new.get('groupName', 'default')}/{new['name']}"


def _read_schedule(aws: Aws, identity: str, state: Values) -> Values | None:
    group, _, name = identity.partition("/")
    found = aws.client("scheduler").get_schedule(Name=name, GroupName=group)
    target = found["Target"]
    return {
        "name": name,
        "groupName": group,
        "arn": found["Arn"],
        "scheduleExpression": found["ScheduleExpression"],
        "scheduleExpressionTimezone": found["ScheduleExpressionTimezone"],
        "flexibleTimeWindow": _of(found["FlexibleTimeWindow"], "mode"),
        "target": {**_of(target, "arn", "roleArn", "input"), **_told_policy(target)},
        "region": aws.region,
    }


def _delete_schedule(aws: Aws, identity: str, state: Values) -> None:
    group, _, name = identity.partition("/")
    aws.client("scheduler").delete_schedule(Name=name, GroupName=group)


def _invoke_config_key(values: Values) -> Values:
    return {
        "FunctionName": values["functionName"],
        **({"Qualifier": values["qualifier"]} if "qualifier" in values else {}),
    }


def _put_invoke_config(aws: Aws, new: Values) -> str:
    destinations = {
        _pascal(when): {"Destination": to["destination"]} for when, to in new.get("destinationConfig", {}).items()
    }
    aws.client("lambda").put_function_event_invoke_config(
        **_invoke_config_key(new),
        MaximumRetryAttempts=new["maximumRetryAttempts"],
        MaximumEventAgeInSeconds=new["maximumEventAgeInSeconds"],
        DestinationConfig=destinations,
    )
    return ":".join(_invoke_config_key(new).values())


def _read_invoke_config(aws: Aws, identity: str, state: Values) -> Values | None:
    function, _, qualifier = identity.partition(":")
    key = {"functionName": function, **({"qualifier": qualifier} if qualifier else {})}
    found = aws.client("lambda").get_function_event_invoke_config(**_invoke_config_key(key))
    destinations = {
        when: {"destination": to["Destination"]}
        for when in ("onSuccess", "onFailure")
        if (to := found.get("DestinationConfig", {}).get(_pascal(when)))
    }
    return {
        **key,
        "maximumRetryAttempts": found["MaximumRetryAttempts"],
        "maximumEventAgeInSeconds": found["MaximumEventAgeInSeconds"],
        "region": aws.region,
        **({"destinationConfig": destinations} if destinations else {}),
    }


# ---- CloudWatch alarms and SNS -----------------------------------------------------------------------------------

ALARM_INPUTS = {
    "name",
    "alarmDescription",
    "namespace",
    "metricName",
    "dimensions",
    "statistic",
    "period",
    "evaluationPeriods",
    "comparisonOperator",
    "threshold",
    "treatMissingData",
    "alarmActions",
}


def _put_alarm(aws: Aws, new: Values) -> str:
    plain = {_pascal(key): value for key, value in new.items() if key not in ("name", "dimensions")}
    dimensions = [{"Name": key, "Value": value} for key, value in new.get("dimensions", {}).items()]
    aws.client("cloudwatch").put_metric_alarm(AlarmName=new["name"], Dimensions=dimensions, **plain)
    return str(new["name"])


def _read_alarm(aws: Aws, name: str, state: Values) -> Values | None:
    alarms = aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    if not alarms:
        return None
    found = alarms[0]
    plain = {key: found[_pascal(key)] for key in ALARM_INPUTS - {"name", "dimensions"} if _pascal(key) in found}
    dimensions = {item["Name"]: item["Value"] for item in found.get("Dimensions", [])}
    return {**plain, "name": name, "dimensions": dimensions, "arn": found["AlarmArn"], "region": aws.region}


def _create_topic(aws: Aws, new: Values) -> str:
    return str(aws.client("sns").create_topic(Name=new["name"])["TopicArn"])


def _read_topic(aws: Aws, arn: str, state: Values) -> Values | None:
    aws.client("sns").get_topic_attributes(TopicArn=arn)
    return {"name": arn.rpartition(":")[2], "arn": arn, "region": aws.region}


# ---- API Gateway -------------------------------------------------------------------------------------------------


def _create_rest_api(aws: Aws, new: Values) -> str:
    created = aws.client("apigateway").create_rest_api(
        name=new["name"],
        description=new.get("description", ""),
        endpointConfiguration={"types": [new.get("endpointConfiguration", {}).get("types", "EDGE")]},
        **_known(new, "binaryMediaTypes"),
        **({} if _size(new) is None else {"minimumCompressionSize": _size(new)}),
    )
    return str(created["id"])


def _size(values: Values) -> int | None:
    """The minimum size of compressed responses. The provider uses -1 for no compression."""
    size = int(values.get("minimumCompressionSize") or -1)
    return None if size < 0 else size


def _read_rest_api(aws: Aws, api: str, state: Values) -> Values | None:
    client = aws.client("apigateway")
    found = client.get_rest_api(restApiId=api)
    root = next(item["id"] for item in client.get_resources(restApiId=api, limit=500)["items"] if item["path"] == "/")
    return {
        "name": found["name"],
        "description": found.get("description", ""),
        "endpointConfiguration": {"types": found["endpointConfiguration"]["types"][0]},
        "binaryMediaTypes": found.get("binaryMediaTypes", []),
        "minimumCompressionSize": str(found.get("minimumCompressionSize", "")),
        "rootResourceId": root,
        "createdDate": found["createdDate"].isoformat(),
        "arn": f"arn:{aws.partition}:apigateway:{aws.region}::/restapis/{api}",
        "executionArn": aws.arn("execute-api", api),
        "region": aws.region,
        **_tags(found.get("tags", {})),
    }


def _update_rest_api(aws: Aws, api: str, old: Values, new: Values) -> None:
    changes = [
        {"op": "replace", "path": f"/{key}", "value": new.get(key, "")}
        for key in ("name", "description")
        if old.get(key) != new.get(key)
    ]
    old_type, new_type = (values.get("endpointConfiguration", {}).get("types", "EDGE") for values in (old, new))
    if old_type != new_type:
        changes.append({"op": "replace", "path": f"/endpointConfiguration/types/{old_type}", "value": new_type})
    if _size(old) != _size(new):
        size = {} if _size(new) is None else {"value": str(_size(new))}
        changes.append({"op": "replace", "path": "/minimumCompressionSize", **size})
    before, after = (set(values.get("binaryMediaTypes") or ()) for values in (old, new))
    for operation, types in (("remove", before - after), ("add", after - before)):
        changes += [{"op": operation, "path": f"/binaryMediaTypes/{_pointer(one)}"} for one in sorted(types) if after]
    aws.client("apigateway").update_rest_api(restApiId=api, patchOperations=changes)


def _delete_rest_api(aws: Aws, api: str, state: Values) -> None:
    aws.client("apigateway").delete_rest_api(restApiId=api)


def _create_resource(aws: Aws, new: Values) -> str:
    created = aws.client("apigateway").create_resource(
        restApiId=new["restApi"], parentId=new["parentId"], pathPart=new["pathPart"]
    )
    return str(created["id"])


def _read_resource(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_resource(restApiId=state["restApi"], resourceId=identity)
    return {
        "restApi": state["restApi"],
        "parentId": found["parentId"],
        "pathPart": found["pathPart"],
        "path": found["path"],
        "region": aws.region,
    }


def _update_resource(aws: Aws, identity: str, old: Values, new: Values) -> None:
    changes = [_replacing(f"/{key}", new[key]) for key in ("parentId", "pathPart") if _differs(key, old, new)]
    aws.client("apigateway").update_resource(restApiId=new["restApi"], resourceId=identity, patchOperations=changes)


def _delete_resource(aws: Aws, identity: str, state: Values) -> None:
    aws.client("apigateway").delete_resource(restApiId=state["restApi"], resourceId=identity)


def _method_keys(values: Values) -> Values:
    return {"restApiId": values["restApi"], "resourceId": values["resourceId"], "httpMethod": values["httpMethod"]}


def _put_method(aws: Aws, new: Values) -> str:
    aws.client("apigateway").put_method(
        **_method_keys(new),
        authorizationType=new["authorization"],
        apiKeyRequired=new.get("apiKeyRequired", False),
        requestParameters=new.get("requestParameters", {}),
        **_known(new, "authorizerId"),
        **({"requestValidatorId": new["requestValidatorId"]} if new.get("requestValidatorId") else {}),
    )
    return f"agm-{new['restApi']}-{new['resourceId']}-{new['httpMethod']}"


def _read_method(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_method(**_method_keys(state))
    return {
        **{key: state[key] for key in ("restApi", "resourceId", "httpMethod")},
        "authorization": found["authorizationType"],
        "apiKeyRequired": bool(found.get("apiKeyRequired")),
        "region": aws.region,
        **_known(found, "authorizerId", "requestParameters", "requestValidatorId"),
    }


def _update_method(aws: Aws, identity: str, old: Values, new: Values) -> None:
    values = {
        "authorization": ("/authorizationType", new["authorization"]),
        "apiKeyRequired": ("/apiKeyRequired", str(bool(new.get("apiKeyRequired"))).lower()),
        "authorizerId": ("/authorizerId", new.get("authorizerId", "")),
        "requestValidatorId": ("/requestValidatorId", new.get("requestValidatorId", "")),
    }
    changes = [_replacing(*values[key]) for key in values if _differs(key, old, new)]
    before, after = (values.get("requestParameters") or {} for values in (old, new))
    changes += [{"op": "remove", "path": f"/requestParameters/{name}"} for name in sorted(set(before) - set(after))]
    changes += [
        {"op": "add", "path": f"/requestParameters/{name}", "value": str(required).lower()}
        for name, required in sorted(after.items())
        if before.get(name) != required
    ]
    aws.client("apigateway").update_method(**_method_keys(new), patchOperations=changes)


def _replacing(path: str, value: Any) -> Values:
    return {"op": "replace", "path": path, "value": str(value)}


def _pointer(name: str) -> str:
    """A name escaped for the path of a patch (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _delete_method(aws: Aws, identity: str, state: Values) -> None:
    aws.client("apigateway").delete_method(**_method_keys(state))


def _put_integration(aws: Aws, new: Values) -> str:
    aws.client("apigateway").put_integration(
        **_method_keys(new),
        type=new["type"],
        timeoutInMillis=new["timeoutMilliseconds"],
        **_known(new, "integrationHttpMethod", "uri", "requestTemplates"),
    )
    return f"agi-{new['restApi']}-{new['resourceId']}-{new['httpMethod']}"


def _read_integration(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_integration(**_method_keys(state))
    return {
        **{key: state[key] for key in ("restApi", "resourceId", "httpMethod")},
        "type": found["type"],
        "timeoutMilliseconds": int(found.get("timeoutInMillis", 29_000)),
        "region": aws.region,
        **_known(found, "uri", "requestTemplates"),
        **({"integrationHttpMethod": found["httpMethod"]} if found.get("httpMethod") else {}),
    }


def _update_integration(aws: Aws, identity: str, old: Values, new: Values) -> None:
    paths = {"uri": "/uri", "timeoutMilliseconds": "/timeoutInMillis"}
    changes = [_replacing(path, new[key]) for key, path in paths.items() if _differs(key, old, new)]
    before, after = (values.get("requestTemplates") or {} for values in (old, new))
    names = {name: f"/requestTemplates/{_pointer(name)}" for name in sorted({*before, *after})}
    changes += [{"op": "remove", "path": path} for name, path in names.items() if name not in after]
    changes += [
        {"op": "replace" if name in before else "add", "path": path, "value": after[name]}
        for name, path in names.items()
        if name in after and before.get(name) != after[name]
    ]
    aws.client("apigateway").update_integration(**_method_keys(new), patchOperations=changes)


def _delete_integration(aws: Aws, identity: str, state: Values) -> None:
    aws.client("apigateway").delete_integration(**_method_keys(state))


def _put_gateway_response(aws: Aws, new: Values) -> str:
    aws.client("apigateway").put_gateway_response(
        restApiId=new["restApiId"], responseType=new["responseType"], **_known(new, "responseParameters", "statusCode")
    )
    return f"aggr-{new['restApiId']}-{new['responseType']}"


def _read_gateway_response(aws: Aws, identity: str, state: Values) -> Values | None:
    keys = {key: state[key] for key in ("restApiId", "responseType")}
    found = aws.client("apigateway").get_gateway_response(**keys)
    if found.get("defaultResponse"):
        return None
    return {**keys, **_known(found, "responseParameters", "responseTemplates"), "region": aws.region}


def _delete_gateway_response(aws: Aws, identity: str, state: Values) -> None:
    keys = {key: state[key] for key in ("restApiId", "responseType")}
    aws.client("apigateway").delete_gateway_response(**keys)


def _set_account(aws: Aws, new: Values) -> str:
    """Set the account's role for logs in the Region."""
    role = new.get("cloudwatchRoleArn", "")
    aws.client("apigateway").update_account(patchOperations=[_replacing("/cloudwatchRoleArn", role)])
    return aws.account


def _read_account(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_account()
    return {"cloudwatchRoleArn": found.get("cloudwatchRoleArn", ""), "region": aws.region}


def _create_deployment(aws: Aws, new: Values) -> str:
    created = aws.client("apigateway").create_deployment(restApiId=new["restApi"])
    return str(created["id"])


def _read_deployment(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_deployment(restApiId=state["restApi"], deploymentId=identity)
    return {
        "restApi": state["restApi"],
        "createdDate": found["createdDate"].isoformat(),
        "region": aws.region,
    }


def _delete_deployment(aws: Aws, identity: str, state: Values) -> None:
    aws.client("apigateway").delete_deployment(restApiId=state["restApi"], deploymentId=identity)


def _create_stage(aws: Aws, new: Values) -> str:
    aws.client("apigateway").create_stage(
        restApiId=new["restApi"],
        stageName=new["stageName"],
        deploymentId=new["deployment"],
        description=new.get("description", ""),
        tracingEnabled=bool(new.get("xrayTracingEnabled")),
    )
    if new.get("accessLogSettings"):
        _set_access_log(aws, new)
    return f"ags-{new['restApi']}-{new['stageName']}"


def _set_access_log(aws: Aws, new: Values) -> None:
    settings = new.get("accessLogSettings", {})
    changes = [
        {"op": "replace", "path": f"/accessLogSettings/{key}", "value": value} for key, value in settings.items()
    ] or [{"op": "remove", "path": "/accessLogSettings"}]
    aws.client("apigateway").update_stage(restApiId=new["restApi"], stageName=new["stageName"], patchOperations=changes)


def _read_stage(aws: Aws, identity: str, state: Values) -> Values | None:
    api, name = state["restApi"], state["stageName"]
    client = aws.client("apigateway")
    found = client.get_stage(restApiId=api, stageName=name)
    access_log = _known(found.get("accessLogSettings", {}), "destinationArn", "format")
    return {
        "restApi": api,
        "stageName": name,
        "deployment": found["deploymentId"],
        "description": found.get("description", ""),
        "xrayTracingEnabled": found.get("tracingEnabled", False),
        "invokeUrl": f"https://{api}.execute-api.{aws.region}.{aws.suffix}/{name}",
        "executionArn": aws.arn("execute-api", f"{api}/{name}"),
        "arn": f"arn:{aws.partition}:apigateway:{aws.region}::/restapis/{api}/stages/{name}",
        "region": aws.region,
        **({"accessLogSettings": access_log} if access_log else {}),
        **_tags(found.get("tags", {})),
    }


def _known(values: Values, *names: str) -> Values:
    """Selected values of a structure whose names are the same in AWS and Pulumi."""
    return {name: values[name] for name in names if values.get(name)}


def _update_stage(aws: Aws, identity: str, old: Values, new: Values) -> None:
    paths = {"deployment": "/deploymentId", "description": "/description"}
    changes = [
        {"op": "replace", "path": path, "value": new.get(key, "")}
        for key, path in paths.items()
        if old.get(key) != new.get(key)
    ]
    if _differs("xrayTracingEnabled", old, new):
        changes.append(_replacing("/tracingEnabled", str(bool(new.get("xrayTracingEnabled"))).lower()))
    if changes:
        aws.client("apigateway").update_stage(
            restApiId=new["restApi"], stageName=new["stageName"], patchOperations=changes
        )
    if old.get("accessLogSettings") != new.get("accessLogSettings"):
        _set_access_log(aws, new)


def _delete_stage(aws: Aws, identity: str, state: Values) -> None:
    aws.client("apigateway").delete_stage(restApiId=state["restApi"], stageName=state["stageName"])


METHOD_SETTINGS = {
    "throttlingRateLimit": "throttling/rateLimit",
    "throttlingBurstLimit": "throttling/burstLimit",
    "loggingLevel": "logging/loglevel",
}
# The values of settings that are not set. The logging level keeps its value, because it is optional and computed.
# https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/apigateway/method_settings.go
UNLIMITED = {"throttlingRateLimit": -1, "throttlingBurstLimit": -1}


def _method_settings(aws: Aws, old: Values, new: Values) -> str:
    """Settings of all methods of a stage."""
    if wrong := sorted(set(new["settings"]) - set(METHOD_SETTINGS)):
        raise Refused(f"the local stand-in of aws does not carry out the method settings {', '.join(wrong)}")
    path = new["methodPath"].replace("~1", "/")
    before = {**UNLIMITED, **old["settings"]} if old else {}
    after = {**UNLIMITED, **new["settings"]}
    changes = [
        _replacing(f"/{path}/{METHOD_SETTINGS[key]}", value) for key, value in after.items() if before.get(key) != value
    ]
    aws.client("apigateway").update_stage(restApiId=new["restApi"], stageName=new["stageName"], patchOperations=changes)
    return f"{new['restApi']}-{new['stageName']}-{new['methodPath']}"


def _keeps_logging_level(old: Any, new: Any) -> bool:
    before = {**UNLIMITED, **(old or {})}
    return {**before, **UNLIMITED, **(new or {})} == before


def _read_method_settings(aws: Aws, identity: str, state: Values) -> Values | None:
    stage = aws.client("apigateway").get_stage(restApiId=state["restApi"], stageName=state["stageName"])
    found = stage.get("methodSettings", {}).get(state["methodPath"])
    if found is None:
        return None
    keys = {key: state[key] for key in ("restApi", "stageName", "methodPath")}
    return {**keys, "settings": _known(found, *METHOD_SETTINGS), "region": aws.region}


def _delete_method_settings(aws: Aws, identity: str, state: Values) -> None:
    aws.client("apigateway").update_stage(
        restApiId=state["restApi"],
        stageName=state["stageName"],
        patchOperations=[{"op": "remove", "path": f"/{state['methodPath']}"}],
    )


def _create_validator(aws: Aws, new: Values) -> str:
    created = aws.client("apigateway").create_request_validator(
        restApiId=new["restApi"],
        name=new["name"],
        validateRequestParameters=new.get("validateRequestParameters", False),
    )
    return str(created["id"])


def _read_validator(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_request_validator(restApiId=state["restApi"], requestValidatorId=identity)
    return {
        "restApi": state["restApi"],
        "name": found["name"],
        "validateRequestParameters": found["validateRequestParameters"],
        "region": aws.region,
    }


def _update_validator(aws: Aws, identity: str, old: Values, new: Values) -> None:
    values = {"name": new["name"], "validateRequestParameters": str(bool(new.get("validateRequestParameters"))).lower()}
    changes = [_replacing(f"/{key}", value) for key, value in values.items() if _differs(key, old, new)]
    aws.client("apigateway").update_request_validator(
        restApiId=new["restApi"], requestValidatorId=identity, patchOperations=changes
    )


def _response_keys(values: Values) -> Values:
    return {**_method_keys(values), "statusCode": values["statusCode"]}


def _put_method_response(aws: Aws, new: Values) -> str:
    aws.client("apigateway").put_method_response(
        **_response_keys(new), responseParameters=new.get("responseParameters", {})
    )
    return f"agmr-{new['restApi']}-{new['resourceId']}-{new['httpMethod']}-{new['statusCode']}"


def _update_method_response(aws: Aws, identity: str, old: Values, new: Values) -> None:
    # The provider patches the response of the new status code, which does not exist if the code has changed.
    aws.client("apigateway").get_method_response(**_response_keys(new))
    _put_method_response(aws, new)


def _put_integration_response(aws: Aws, new: Values) -> str:
    aws.client("apigateway").put_integration_response(
        **_response_keys(new), responseParameters=new.get("responseParameters", {})
    )
    return f"agir-{new['restApi']}-{new['resourceId']}-{new['httpMethod']}-{new['statusCode']}"


def _read_response(call: str) -> Callable[[Aws, str, Values], Values | None]:
    def read(aws: Aws, identity: str, state: Values) -> Values | None:
        found = getattr(aws.client("apigateway"), call)(**_response_keys(state))
        keys = {key: state[key] for key in (*METHOD_PARTS, "statusCode")}
        return {**keys, **_known(found, "responseParameters"), "region": aws.region}

    return read


def _create_api_key(aws: Aws, new: Values) -> str:
    created = aws.client("apigateway").create_api_key(name=new["name"], description=new["description"], enabled=True)
    return str(created["id"])


def _update_api_key(aws: Aws, identity: str, old: Values, new: Values) -> None:
    changes = [_replacing(f"/{key}", new[key]) for key in ("name", "description") if _differs(key, old, new)]
    aws.client("apigateway").update_api_key(apiKey=identity, patchOperations=changes)


def _read_api_key(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_api_key(apiKey=identity, includeValue=True)
    arn = f"arn:{aws.partition}:apigateway:{aws.region}::/apikeys/{identity}"
    return {"name": found["name"], "value": found["value"], "arn": arn, "region": aws.region, "tagsAll": {}}


def _create_usage_plan(aws: Aws, new: Values) -> str:
    stages = [_known(stage, "apiId", "stage") for stage in new.get("apiStages", [])]
    return str(aws.client("apigateway").create_usage_plan(name=new["name"], apiStages=stages)["id"])


def _read_usage_plan(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_usage_plan(usagePlanId=identity)
    arn = f"arn:{aws.partition}:apigateway:{aws.region}::/usageplans/{identity}"
    stages = [_known(stage, "apiId", "stage") for stage in found.get("apiStages", [])]
    return {"name": found["name"], "apiStages": stages, "arn": arn, "region": aws.region, "tagsAll": {}}


def _stages(values: Values) -> set[str]:
    return {f"{stage['apiId']}:{stage['stage']}" for stage in values.get("apiStages") or []}


def _update_usage_plan(aws: Aws, identity: str, old: Values, new: Values) -> None:
    before, after = _stages(old), _stages(new)
    changes = [_replacing("/name", new["name"])] if _differs("name", old, new) else []
    changes += [{"op": "remove", "path": "/apiStages", "value": stage} for stage in sorted(before - after)]
    changes += [{"op": "add", "path": "/apiStages", "value": stage} for stage in sorted(after - before)]
    aws.client("apigateway").update_usage_plan(usagePlanId=identity, patchOperations=changes)


def _delete_usage_plan(aws: Aws, identity: str, state: Values) -> None:
    """Delete a plan. A plan with stages cannot be deleted, so the provider removes them first."""
    if _stages(state):
        _update_usage_plan(aws, identity, state, {**state, "apiStages": []})
    aws.client("apigateway").delete_usage_plan(usagePlanId=identity)


def _create_usage_plan_key(aws: Aws, new: Values) -> str:
    aws.client("apigateway").create_usage_plan_key(
        usagePlanId=new["usagePlanId"], keyId=new["keyId"], keyType=new["keyType"]
    )
    return str(new["keyId"])


def _read_usage_plan_key(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_usage_plan_key(usagePlanId=state["usagePlanId"], keyId=identity)
    plan = {"usagePlanId": state["usagePlanId"], "keyId": identity, "keyType": "API_KEY", "region": aws.region}
    return {**plan, "name": found.get("name", ""), "value": found.get("value", "")}


def _create_authorizer(aws: Aws, new: Values) -> str:
    created = aws.client("apigateway").create_authorizer(
        restApiId=new["restApi"],
        name=new["name"],
        type=new["type"],
        authorizerResultTtlInSeconds=new["authorizerResultTtlInSeconds"],
        **_known(new, "authorizerUri", "identitySource"),
        **({"providerARNs": new["providerArns"]} if new.get("providerArns") else {}),
    )
    return str(created["id"])


def _read_authorizer(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_authorizer(restApiId=state["restApi"], authorizerId=identity)
    return {
        "restApi": state["restApi"],
        "authorizerResultTtlInSeconds": int(found.get("authorizerResultTtlInSeconds", 300)),
        "arn": f"arn:{aws.partition}:apigateway:{aws.region}::/restapis/{state['restApi']}/authorizers/{identity}",
        "region": aws.region,
        **_known(found, "name", "type", "authorizerUri", "identitySource"),
        **({"providerArns": found["providerARNs"]} if found.get("providerARNs") else {}),
    }


def _update_authorizer(aws: Aws, identity: str, old: Values, new: Values) -> None:
    keys = ("name", "type", "authorizerUri", "identitySource", "authorizerResultTtlInSeconds")
    changes = [_replacing(f"/{key}", new.get(key, "")) for key in keys if _differs(key, old, new)]
    before, after = (set(values.get("providerArns") or ()) for values in (old, new))
    changes += [{"op": "add", "path": "/providerARNs", "value": arn} for arn in sorted(after - before)]
    changes += [{"op": "remove", "path": "/providerARNs", "value": arn} for arn in sorted(before - after)]
    aws.client("apigateway").update_authorizer(restApiId=new["restApi"], authorizerId=identity, patchOperations=changes)


def _create_domain(aws: Aws, new: Values) -> str:
    aws.client("apigateway").create_domain_name(
        domainName=new["domainName"],
        regionalCertificateArn=new["regionalCertificateArn"],
        securityPolicy=new["securityPolicy"],
        endpointConfiguration={"types": [new["endpointConfiguration"]["types"]]},
    )
    return str(new["domainName"])


def _read_domain(aws: Aws, name: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_domain_name(domainName=name)
    return {
        "domainName": name,
        **_known(found, "regionalCertificateArn", "regionalDomainName", "securityPolicy"),
        "regionalZoneId": found.get("regionalHostedZoneId", ""),
        "endpointConfiguration": {"types": found["endpointConfiguration"]["types"][0]},
        "arn": f"arn:{aws.partition}:apigateway:{aws.region}::/domainnames/{name}",
        "region": aws.region,
        "tagsAll": {},
    }


def _update_domain(aws: Aws, name: str, old: Values, new: Values) -> None:
    keys = ("regionalCertificateArn", "securityPolicy")
    changes = [_replacing(f"/{key}", new[key]) for key in keys if _differs(key, old, new)]
    aws.client("apigateway").update_domain_name(domainName=name, patchOperations=changes)


def _create_path_mapping(aws: Aws, new: Values) -> str:
    aws.client("apigateway").create_base_path_mapping(
        domainName=new["domainName"],
        restApiId=new["restApi"],
        stage=new["stageName"],
        **_known(new, "basePath"),
    )
    return f"{new['domainName']}/{new.get('basePath', '')}"


def _mapping_key(state: Values) -> Values:
    return {"domainName": state["domainName"], "basePath": state.get("basePath") or "(none)"}


def _read_path_mapping(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigateway").get_base_path_mapping(**_mapping_key(state))
    base = found["basePath"] if found["basePath"] != "(none)" else ""
    keys = {"domainName": state["domainName"], "restApi": found["restApiId"], "stageName": found.get("stage", "")}
    return {**keys, **({"basePath": base} if base else {}), "region": aws.region}


# ---- HTTP APIs ---------------------------------------------------------------------------------------------------


def _some(values: Values, names: dict[str, str]) -> Values:
    """Selected inputs, with AWS's names."""
    return {theirs: values[ours] for ours, theirs in names.items() if values.get(ours) is not None}


CORS = {"allowOrigins": "AllowOrigins", "allowMethods": "AllowMethods", "allowHeaders": "AllowHeaders"}
HTTP_ROUTE = {
    "routeKey": "RouteKey",
    "target": "Target",
    "authorizationType": "AuthorizationType",
    "authorizerId": "AuthorizerId",
}
HTTP_INTEGRATION = {
    "integrationType": "IntegrationType",
    "integrationUri": "IntegrationUri",
    "payloadFormatVersion": "PayloadFormatVersion",
}


def _back(found: Values, names: dict[str, str]) -> Values:
    """Selected values of AWS's response, with the names of the inputs."""
    return {ours: found[theirs] for ours, theirs in names.items() if found.get(theirs) not in (None, "", [])}


def _http_api(new: Values) -> Values:
    cors = _some(new.get("corsConfiguration") or {}, CORS)
    return {"Name": new["name"], **({"CorsConfiguration": cors} if cors else {})}


def _read_http_api(aws: Aws, api: str, state: Values) -> Values | None:
    found = aws.client("apigatewayv2").get_api(ApiId=api)
    cors = _back(found.get("CorsConfiguration") or {}, CORS)
    return {
        "name": found["Name"],
        "protocolType": found["ProtocolType"],
        "apiEndpoint": f"https://{api}.execute-api.{aws.region}.{aws.suffix}",
        "arn": f"arn:{aws.partition}:apigateway:{aws.region}::/apis/{api}",
        "executionArn": aws.arn("execute-api", api),
        "region": aws.region,
        "tagsAll": {},
        **({"corsConfiguration": cors} if cors else {}),
    }


def _update_http_api(aws: Aws, api: str, old: Values, new: Values) -> None:
    client = aws.client("apigatewayv2")
    if old.get("corsConfiguration") and not new.get("corsConfiguration"):
        client.delete_cors_configuration(ApiId=api)
    client.update_api(ApiId=api, **_http_api(new))


def _read_http_integration(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigatewayv2").get_integration(ApiId=state["apiId"], IntegrationId=identity)
    return {"apiId": state["apiId"], **_back(found, HTTP_INTEGRATION), "region": aws.region}


def _read_http_route(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigatewayv2").get_route(ApiId=state["apiId"], RouteId=identity)
    return {"apiId": state["apiId"], **_back(found, HTTP_ROUTE), "region": aws.region}


def _update_http_route(aws: Aws, identity: str, old: Values, new: Values) -> None:
    aws.client("apigatewayv2").update_route(ApiId=new["apiId"], RouteId=identity, **_some(new, HTTP_ROUTE))


def _http_stage(new: Values) -> Values:
    log, limits = new.get("accessLogSettings") or {}, new.get("defaultRouteSettings") or {}
    limited = _some(
        limits, {"throttlingBurstLimit": "ThrottlingBurstLimit", "throttlingRateLimit": "ThrottlingRateLimit"}
    )
    return {
        "ApiId": new["apiId"],
        "StageName": new["name"],
        "AutoDeploy": bool(new.get("autoDeploy")),
        **({"AccessLogSettings": {"DestinationArn": log["destinationArn"], "Format": log["format"]}} if log else {}),
        **({"DefaultRouteSettings": limited} if limited else {}),
    }


def _create_http_stage(aws: Aws, new: Values) -> str:
    aws.client("apigatewayv2").create_stage(**_http_stage(new))
    return str(new["name"])


def _read_http_stage(aws: Aws, name: str, state: Values) -> Values | None:
    api = state["apiId"]
    found = aws.client("apigatewayv2").get_stage(ApiId=api, StageName=name)
    log = _back(found.get("AccessLogSettings") or {}, {"destinationArn": "DestinationArn", "format": "Format"})
    limits = found.get("DefaultRouteSettings") or {}
    limited = _back(
        limits, {"throttlingBurstLimit": "ThrottlingBurstLimit", "throttlingRateLimit": "ThrottlingRateLimit"}
    )
    # https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/apigatewayv2/stage.go
    path = "" if name == "$default" else name
    return {
        "apiId": api,
        "name": name,
        "autoDeploy": found.get("AutoDeploy", False),
        "invokeUrl": f"https://{api}.execute-api.{aws.region}.{aws.suffix}/{path}",
        "executionArn": aws.arn("execute-api", f"{api}/{name}"),
        "arn": f"arn:{aws.partition}:apigateway:{aws.region}::/apis/{api}/stages/{name}",
        "region": aws.region,
        "tagsAll": {},
        **({"accessLogSettings": log} if log else {}),
        **({"defaultRouteSettings": limited} if limited else {}),
    }


def _update_http_stage(aws: Aws, name: str, old: Values, new: Values) -> None:
    client = aws.client("apigatewayv2")
    if old.get("accessLogSettings") and not new.get("accessLogSettings"):
        client.delete_access_log_settings(ApiId=new["apiId"], StageName=name)
    # Removed limits are reset.
    off: Values = {"DefaultRouteSettings": {}} if old.get("defaultRouteSettings") else {}
    client.update_stage(**{**off, **_http_stage(new)})


def _http_authorizer(new: Values) -> Values:
    jwt = new.get("jwtConfiguration") or {}
    return {
        "ApiId": new["apiId"],
        "Name": new["name"],
        "AuthorizerType": new["authorizerType"],
        "IdentitySource": new["identitySources"],
        "JwtConfiguration": {"Issuer": jwt.get("issuer", ""), "Audience": jwt.get("audiences", [])},
    }


def _read_http_authorizer(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigatewayv2").get_authorizer(ApiId=state["apiId"], AuthorizerId=identity)
    jwt = found["JwtConfiguration"]
    return {
        "apiId": state["apiId"],
        "name": found["Name"],
        "authorizerType": found["AuthorizerType"],
        "identitySources": found["IdentitySource"],
        "jwtConfiguration": {"issuer": jwt["Issuer"], "audiences": jwt["Audience"]},
        "region": aws.region,
    }


def _http_domain(new: Values) -> Values:
    configuration = new["domainNameConfiguration"]
    names = {"certificateArn": "CertificateArn", "endpointType": "EndpointType", "securityPolicy": "SecurityPolicy"}
    return {"DomainName": new["domainName"], "DomainNameConfigurations": [_some(configuration, names)]}


def _create_http_domain(aws: Aws, new: Values) -> str:
    aws.client("apigatewayv2").create_domain_name(**_http_domain(new))
    return str(new["domainName"])


def _read_http_domain(aws: Aws, name: str, state: Values) -> Values | None:
    found = aws.client("apigatewayv2").get_domain_name(DomainName=name)["DomainNameConfigurations"][0]
    names = {
        "certificateArn": "CertificateArn",
        "endpointType": "EndpointType",
        "securityPolicy": "SecurityPolicy",
        "hostedZoneId": "HostedZoneId",
        "targetDomainName": "ApiGatewayDomainName",
    }
    arn = f"arn:{aws.partition}:apigateway:{aws.region}::/domainnames/{name}"
    return {
        "domainName": name,
        "domainNameConfiguration": _back(found, names),
        "arn": arn,
        "region": aws.region,
        "tagsAll": {},
    }


def _api_mapping(new: Values) -> Values:
    key = {"ApiMappingKey": new["apiMappingKey"]} if new.get("apiMappingKey") else {}
    return {"ApiId": new["apiId"], "DomainName": new["domainName"], "Stage": new["stage"], **key}


def _read_api_mapping(aws: Aws, identity: str, state: Values) -> Values | None:
    found = aws.client("apigatewayv2").get_api_mapping(DomainName=state["domainName"], ApiMappingId=identity)
    names = {"apiId": "ApiId", "stage": "Stage", "apiMappingKey": "ApiMappingKey"}
    return {"domainName": state["domainName"], **_back(found, names), "region": aws.region}


# ---- the table ---------------------------------------------------------------------------------------------------

REGIONAL = {"region"}
TAGGED = {"tagsAll"}
METHOD_PARTS = ("restApi", "resourceId", "httpMethod")
METHOD_KEYS = set(METHOD_PARTS)

PERMISSION_INPUTS = {
    "function",
    "action",
    "principal",
    "sourceArn",
    "sourceAccount",
    "statementId",
    "qualifier",
    "functionUrlAuthType",
    "invokedViaFunctionUrl",
}

KINDS: dict[str, Kind] = {
    "aws:ecr/repository:Repository": Kind(
        sdk="pulumi_aws.ecr.RepositoryArgs",
        inputs={
            "name",
            "imageTagMutability",
            "imageScanningConfiguration",
            "encryptionConfigurations",
            "forceDelete",
            "tags",
        },
        replaces={"name", "encryptionConfigurations"},
        # Removing the block is not a change (`SuppressMissingOptionalConfigurationBlock`).
        quiet={"encryptionConfigurations": lambda old, new: bool(old) and not new},
        computed={"arn", "registryId", "repositoryUrl"} | REGIONAL | TAGGED,
        create=_create_repository,
        read=_read_repository,
        update=_update_repository,
        delete=_delete_repository,
        defaults={"imageTagMutability": "MUTABLE"},
        named="name",
    ),
    "aws:ecr/repositoryPolicy:RepositoryPolicy": Kind(
        sdk="pulumi_aws.ecr.RepositoryPolicyArgs",
        inputs={"repository", "policy"},
        replaces={"repository"},
        computed={"registryId"} | REGIONAL,
        create=_set_repository_policy,
        read=_read_repository_policy,
        update=lambda aws, identity, old, new: _done(_set_repository_policy(aws, new)),
        delete=lambda aws, name, state: aws.client("ecr").delete_repository_policy(repositoryName=name),
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": Kind(
        sdk="pulumi_aws.ecr.LifecyclePolicyArgs",
        inputs={"repository", "policy"},
        replaces={"repository", "policy"},
        computed={"registryId"} | REGIONAL,
        create=_put_lifecycle_policy,
        read=_read_lifecycle_policy,
        delete=lambda aws, name, state: aws.client("ecr").delete_lifecycle_policy(repositoryName=name),
    ),
    "aws:ecr/replicationConfiguration:ReplicationConfiguration": Kind(
        sdk="pulumi_aws.ecr.ReplicationConfigurationArgs",
        inputs={"replicationConfiguration"},
        replaces=set(),
        computed={"registryId"} | REGIONAL,
        create=_put_replication,
        read=_read_replication,
        update=lambda aws, identity, old, new: _done(_put_replication(aws, new)),
        delete=lambda aws, identity, state: _done(_put_replication(aws, {})),
    ),
    "aws:iam/role:Role": Kind(
        sdk="pulumi_aws.iam.RoleArgs",
        inputs={"name", "assumeRolePolicy", "description", "permissionsBoundary", "tags"},
        replaces={"name"},
        computed={"arn", "uniqueId", "createDate"} | TAGGED,
        create=_create_role,
        read=_read_role,
        update=_update_role,
        delete=_delete_role,
        named="name",
        longest=64,
    ),
    "aws:iam/rolePolicy:RolePolicy": Kind(
        sdk="pulumi_aws.iam.RolePolicyArgs",
        inputs={"role", "name", "policy"},
        replaces={"role", "name"},
        computed=set(),
        create=_put_role_policy,
        read=_read_role_policy,
        update=lambda aws, identity, old, new: _done(_put_role_policy(aws, new)),
        delete=_delete_role_policy,
        named="name",
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Kind(
        sdk="pulumi_aws.iam.RolePolicyAttachmentArgs",
        inputs={"role", "policyArn"},
        replaces={"role", "policyArn"},
        computed=set(),
        create=_attach_role_policy,
        read=_read_attachment,
        delete=lambda aws, identity, state: aws.client("iam").detach_role_policy(
            RoleName=state["role"], PolicyArn=state["policyArn"]
        ),
    ),
    "aws:cloudwatch/logGroup:LogGroup": Kind(
        sdk="pulumi_aws.cloudwatch.LogGroupArgs",
        inputs={"name", "retentionInDays", "tags"},
        replaces={"name"},
        computed={"arn"} | REGIONAL | TAGGED,
        create=_create_log_group,
        read=_read_log_group,
        update=_update_log_group,
        delete=lambda aws, name, state: aws.client("logs").delete_log_group(logGroupName=name),
        named="name",
    ),
    "aws:lambda/function:Function": Kind(
        sdk="pulumi_aws.lambda_.FunctionArgs",
        inputs={
            "name",
            "role",
            "packageType",
            "imageUri",
            "architectures",
            "memorySize",
            "timeout",
            "description",
            "environment",
            "ephemeralStorage",
            "imageConfig",
            "vpcConfig",
            "tracingConfig",
            "deadLetterConfig",
            "fileSystemConfig",
            "loggingConfig",
            "reservedConcurrentExecutions",
            "publish",
            "tags",
        },
        replaces={"name", "packageType"},
        computed={"arn", "invokeArn", "qualifiedArn", "lastModified", "version"} | REGIONAL | TAGGED,
        create=_create_function,
        settle=_await_function,
        read=_read_function,
        update=_update_function,
        delete=lambda aws, name, state: aws.client("lambda").delete_function(FunctionName=name),
        defaults={"memorySize": 128, "timeout": 3, "packageType": "Zip"},
        named="name",
        volatile=frozenset({"lastModified"}),
        volatile_when={"publish": frozenset({"version", "qualifiedArn"})},
    ),
    "aws:lambda/alias:Alias": Kind(
        sdk="pulumi_aws.lambda_.AliasArgs",
        inputs={"functionName", "name", "functionVersion", "routingConfig"},
        replaces={"functionName", "name"},
        computed={"arn", "invokeArn"} | REGIONAL,
        create=_create_alias,
        read=_read_alias,
        update=lambda aws, identity, old, new: aws.client("lambda").update_alias(**_alias_settings(new)),
        delete=lambda aws, identity, state: aws.client("lambda").delete_alias(
            FunctionName=state["functionName"], Name=state["name"]
        ),
    ),
    "aws:lambda/invocation:Invocation": Kind(
        sdk="pulumi_aws.lambda_.InvocationArgs",
        inputs={"functionName", "qualifier", "input", "lifecycleScope"},
        replaces={"functionName", "qualifier", "input"},
        computed={"result"} | REGIONAL,
        create=_invoke,
        read=lambda aws, identity, state: state,
        defaults={"qualifier": "$LATEST", "lifecycleScope": "CREATE_ONLY"},
        delete=lambda aws, identity, state: None,
    ),
    "aws:lambda/provisionedConcurrencyConfig:ProvisionedConcurrencyConfig": Kind(
        sdk="pulumi_aws.lambda_.ProvisionedConcurrencyConfigArgs",
        inputs={"functionName", "qualifier", "provisionedConcurrentExecutions"},
        replaces={"functionName", "qualifier"},
        computed=REGIONAL,
        create=_provision,
        read=_read_provisioned,
        update=lambda aws, identity, old, new: _done(_provision(aws, new)),
        delete=lambda aws, identity, state: aws.client("lambda").delete_provisioned_concurrency_config(
            FunctionName=state["functionName"], Qualifier=state["qualifier"]
        ),
    ),
    "aws:lambda/functionUrl:FunctionUrl": Kind(
        sdk="pulumi_aws.lambda_.FunctionUrlArgs",
        inputs={"functionName", "qualifier", "authorizationType", "cors"},
        replaces={"functionName", "qualifier"},
        computed={"functionUrl", "functionArn", "urlId"} | REGIONAL,
        create=_create_url,
        read=_read_url,
        update=lambda aws, identity, old, new: aws.client("lambda").update_function_url_config(**_url_settings(new)),
        delete=lambda aws, identity, state: aws.client("lambda").delete_function_url_config(**_url_key(state)),
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": Kind(
        sdk="pulumi_aws.cloudwatch.MetricAlarmArgs",
        inputs=ALARM_INPUTS,
        replaces={"name"},
        computed={"arn"} | REGIONAL,
        create=_put_alarm,
        read=_read_alarm,
        update=lambda aws, identity, old, new: _done(_put_alarm(aws, new)),
        delete=lambda aws, name, state: aws.client("cloudwatch").delete_alarms(AlarmNames=[name]),
        named="name",
    ),
    "aws:sns/topic:Topic": Kind(
        sdk="pulumi_aws.sns.TopicArgs",
        inputs={"name"},
        replaces={"name"},
        computed={"arn"} | REGIONAL,
        create=_create_topic,
        read=_read_topic,
        delete=lambda aws, arn, state: aws.client("sns").delete_topic(TopicArn=arn),
        named="name",
    ),
    "aws:sns/topicSubscription:TopicSubscription": Kind(
        sdk="pulumi_aws.sns.TopicSubscriptionArgs",
        inputs={"topic", "protocol", "endpoint", *SUBSCRIPTION_ATTRIBUTES},
        replaces={"topic", "protocol", "endpoint"},
        computed={"arn", "ownerId", "pendingConfirmation"} | REGIONAL,
        create=_subscribe,
        read=_read_subscription,
        update=_update_subscription,
        delete=lambda aws, arn, state: aws.client("sns").unsubscribe(SubscriptionArn=arn),
    ),
    "aws:lambda/eventSourceMapping:EventSourceMapping": Kind(
        sdk="pulumi_aws.lambda_.EventSourceMappingArgs",
        inputs={
            "eventSourceArn",
            "functionName",
            "batchSize",
            "maximumBatchingWindowInSeconds",
            "functionResponseTypes",
            "scalingConfig",
        },
        replaces={"eventSourceArn"},
        computed={"arn", "uuid", "functionArn", "state"} | REGIONAL,
        create=_create_mapping,
        read=_read_mapping,
        update=_update_mapping,
        delete=lambda aws, identity, state: aws.client("lambda").delete_event_source_mapping(UUID=identity),
        volatile=frozenset({"functionArn"}),
    ),
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": Kind(
        sdk="pulumi_aws.lambda_.FunctionEventInvokeConfigArgs",
        inputs={
            "functionName",
            "qualifier",
            "maximumRetryAttempts",
            "maximumEventAgeInSeconds",
            "destinationConfig",
        },
        replaces={"functionName", "qualifier"},
        computed=REGIONAL,
        create=_put_invoke_config,
        read=_read_invoke_config,
        update=lambda aws, identity, old, new: _done(_put_invoke_config(aws, new)),
        delete=lambda aws, identity, state: aws.client("lambda").delete_function_event_invoke_config(
            **_invoke_config_key(state)
        ),
    ),
    "aws:cloudwatch/eventRule:EventRule": Kind(
        sdk="pulumi_aws.cloudwatch.EventRuleArgs",
        inputs={"name", "eventBusName", "eventPattern"},
        replaces={"name", "eventBusName"},
        computed={"arn", "state"} | REGIONAL,
        create=_put_rule,
        read=_read_rule,
        update=lambda aws, identity, old, new: _done(_put_rule(aws, new)),
        delete=lambda aws, identity, state: aws.client("events").delete_rule(Name=state["name"], **_bus(state)),
        defaults={"eventBusName": "default"},
        named="name",
        longest=64,
    ),
    "aws:cloudwatch/eventTarget:EventTarget": Kind(
        sdk="pulumi_aws.cloudwatch.EventTargetArgs",
        inputs={"rule", "eventBusName", "targetId", "arn", "retryPolicy", "deadLetterConfig"},
        replaces={"rule", "eventBusName", "targetId"},
        computed=REGIONAL,
        create=_put_target,
        read=_read_target,
        update=lambda aws, identity, old, new: _done(_put_target(aws, new)),
        delete=_remove_target,
        defaults={"eventBusName": "default"},
    ),
    "aws:scheduler/schedule:Schedule": Kind(
        sdk="pulumi_aws.scheduler.ScheduleArgs",
        inputs={"name", "scheduleExpression", "scheduleExpressionTimezone", "flexibleTimeWindow", "target"},
        replaces={"name"},
        computed={"arn", "groupName"} | REGIONAL,
        create=_create_schedule,
        read=_read_schedule,
        update=lambda aws, identity, old, new: aws.client("scheduler").update_schedule(**_schedule_settings(new)),
        delete=_delete_schedule,
        defaults={"scheduleExpressionTimezone": "UTC"},
        named="name",
        longest=64,
    ),
    "aws:lambda/permission:Permission": Kind(
        sdk="pulumi_aws.lambda_.PermissionArgs",
        inputs=PERMISSION_INPUTS,
        replaces=PERMISSION_INPUTS,
        computed=REGIONAL,
        create=_add_permission,
        read=_read_permission,
        delete=_remove_permission,
        named="statementId",
        longest=100,
    ),
    "aws:apigateway/restApi:RestApi": Kind(
        sdk="pulumi_aws.apigateway.RestApiArgs",
        inputs={"name", "description", "endpointConfiguration", "binaryMediaTypes", "minimumCompressionSize"},
        replaces=set(),
        # A removed list keeps its value, and a size of -1 is the same as none.
        # https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/apigateway/rest_api.go
        quiet={
            "binaryMediaTypes": lambda old, new: not new,
            "minimumCompressionSize": lambda old, new: {old or "-1", new or "-1"} == {"-1"},
        },
        computed={"arn", "executionArn", "rootResourceId", "createdDate"} | REGIONAL | TAGGED,
        create=_create_rest_api,
        read=_read_rest_api,
        update=_update_rest_api,
        delete=_delete_rest_api,
        named="name",
    ),
    "aws:apigateway/resource:Resource": Kind(
        sdk="pulumi_aws.apigateway.ResourceArgs",
        inputs={"restApi", "parentId", "pathPart"},
        replaces={"restApi"},
        computed={"path"} | REGIONAL,
        create=_create_resource,
        read=_read_resource,
        update=_update_resource,
        volatile=frozenset({"path"}),
        delete=_delete_resource,
    ),
    "aws:apigateway/method:Method": Kind(
        sdk="pulumi_aws.apigateway.MethodArgs",
        inputs=METHOD_KEYS
        | {"authorization", "authorizerId", "apiKeyRequired", "requestParameters", "requestValidatorId"},
        replaces=METHOD_KEYS,
        computed=REGIONAL,
        create=_put_method,
        read=_read_method,
        update=_update_method,
        delete=_delete_method,
    ),
    "aws:apigateway/integration:Integration": Kind(
        sdk="pulumi_aws.apigateway.IntegrationArgs",
        inputs=METHOD_KEYS | {"type", "integrationHttpMethod", "uri", "requestTemplates", "timeoutMilliseconds"},
        replaces=METHOD_KEYS | {"type", "integrationHttpMethod"},
        computed=REGIONAL,
        create=_put_integration,
        read=_read_integration,
        update=_update_integration,
        delete=_delete_integration,
        defaults={"timeoutMilliseconds": 29_000},
    ),
    "aws:apigateway/response:Response": Kind(
        sdk="pulumi_aws.apigateway.ResponseArgs",
        inputs={"restApiId", "responseType", "responseParameters", "statusCode"},
        replaces={"restApiId", "responseType"},
        computed={"responseTemplates"} | REGIONAL,
        create=_put_gateway_response,
        read=_read_gateway_response,
        update=lambda aws, identity, old, new: _done(_put_gateway_response(aws, new)),
        delete=_delete_gateway_response,
    ),
    "aws:apigateway/account:Account": Kind(
        sdk="pulumi_aws.apigateway.AccountArgs",
        inputs={"cloudwatchRoleArn"},
        replaces=set(),
        computed={"apiKeyVersion", "features", "throttleSettings"} | REGIONAL,
        create=_set_account,
        read=_read_account,
        update=lambda aws, identity, old, new: _done(_set_account(aws, new)),
        delete=lambda aws, identity, state: _done(_set_account(aws, {})),
    ),
    "aws:apigateway/deployment:Deployment": Kind(
        sdk="pulumi_aws.apigateway.DeploymentArgs",
        inputs={"restApi", "triggers"},
        replaces={"restApi", "triggers"},
        computed={"createdDate"} | REGIONAL,
        create=_create_deployment,
        read=_read_deployment,
        delete=_delete_deployment,
    ),
    "aws:apigateway/stage:Stage": Kind(
        sdk="pulumi_aws.apigateway.StageArgs",
        inputs={"restApi", "stageName", "deployment", "description", "accessLogSettings", "xrayTracingEnabled"},
        replaces={"restApi", "stageName"},
        computed={"arn", "executionArn", "invokeUrl"} | REGIONAL | TAGGED,
        create=_create_stage,
        read=_read_stage,
        update=_update_stage,
        delete=_delete_stage,
    ),
    "aws:apigateway/methodSettings:MethodSettings": Kind(
        sdk="pulumi_aws.apigateway.MethodSettingsArgs",
        inputs={"restApi", "stageName", "methodPath", "settings"},
        replaces={"restApi", "stageName", "methodPath"},
        computed=REGIONAL,
        create=lambda aws, new: _method_settings(aws, {}, new),
        read=_read_method_settings,
        update=lambda aws, identity, old, new: _done(_method_settings(aws, old, new)),
        quiet={"settings": _keeps_logging_level},
        delete=_delete_method_settings,
    ),
    "aws:apigateway/requestValidator:RequestValidator": Kind(
        sdk="pulumi_aws.apigateway.RequestValidatorArgs",
        inputs={"restApi", "name", "validateRequestParameters"},
        replaces={"restApi"},
        computed=REGIONAL,
        create=_create_validator,
        read=_read_validator,
        update=_update_validator,
        delete=lambda aws, identity, state: aws.client("apigateway").delete_request_validator(
            restApiId=state["restApi"], requestValidatorId=identity
        ),
        named="name",
    ),
    "aws:apigateway/methodResponse:MethodResponse": Kind(
        sdk="pulumi_aws.apigateway.MethodResponseArgs",
        inputs=METHOD_KEYS | {"statusCode", "responseParameters"},
        replaces=METHOD_KEYS,
        computed=REGIONAL,
        create=_put_method_response,
        read=_read_response("get_method_response"),
        update=_update_method_response,
        delete=lambda aws, identity, state: aws.client("apigateway").delete_method_response(**_response_keys(state)),
    ),
    "aws:apigateway/integrationResponse:IntegrationResponse": Kind(
        sdk="pulumi_aws.apigateway.IntegrationResponseArgs",
        inputs=METHOD_KEYS | {"statusCode", "responseParameters"},
        replaces=METHOD_KEYS,
        computed=REGIONAL,
        create=_put_integration_response,
        read=_read_response("get_integration_response"),
        update=lambda aws, identity, old, new: _done(_put_integration_response(aws, new)),
        delete=lambda aws, identity, state: aws.client("apigateway").delete_integration_response(
            **_response_keys(state)
        ),
    ),
    "aws:apigateway/authorizer:Authorizer": Kind(
        sdk="pulumi_aws.apigateway.AuthorizerArgs",
        inputs={
            "restApi",
            "name",
            "type",
            "authorizerUri",
            "identitySource",
            "providerArns",
            "authorizerResultTtlInSeconds",
        },
        replaces={"restApi"},
        computed={"arn"} | REGIONAL,
        create=_create_authorizer,
        read=_read_authorizer,
        update=_update_authorizer,
        delete=lambda aws, identity, state: aws.client("apigateway").delete_authorizer(
            restApiId=state["restApi"], authorizerId=identity
        ),
        named="name",
        defaults={"type": "TOKEN", "authorizerResultTtlInSeconds": 300},
    ),
    "aws:apigateway/domainName:DomainName": Kind(
        sdk="pulumi_aws.apigateway.DomainNameArgs",
        inputs={"domainName", "regionalCertificateArn", "securityPolicy", "endpointConfiguration"},
        replaces={"domainName"},
        computed={"arn", "regionalDomainName", "regionalZoneId"} | REGIONAL | TAGGED,
        create=_create_domain,
        read=_read_domain,
        update=_update_domain,
        delete=lambda aws, name, state: aws.client("apigateway").delete_domain_name(domainName=name),
    ),
    "aws:apigateway/basePathMapping:BasePathMapping": Kind(
        sdk="pulumi_aws.apigateway.BasePathMappingArgs",
        inputs={"domainName", "restApi", "stageName", "basePath"},
        # The provider replaces only for a new domain name and patches the rest; this stand-in always replaces.
        replaces={"domainName", "restApi", "stageName", "basePath"},
        computed=REGIONAL,
        create=_create_path_mapping,
        read=_read_path_mapping,
        delete=lambda aws, identity, state: aws.client("apigateway").delete_base_path_mapping(**_mapping_key(state)),
    ),
    "aws:apigatewayv2/api:Api": Kind(
        sdk="pulumi_aws.apigatewayv2.ApiArgs",
        inputs={"name", "protocolType", "corsConfiguration"},
        replaces={"protocolType"},
        computed={"arn", "apiEndpoint", "executionArn"} | REGIONAL | TAGGED,
        create=lambda aws, new: str(
            aws.client("apigatewayv2").create_api(ProtocolType=new["protocolType"], **_http_api(new))["ApiId"]
        ),
        read=_read_http_api,
        update=_update_http_api,
        delete=lambda aws, api, state: aws.client("apigatewayv2").delete_api(ApiId=api),
        named="name",
    ),
    "aws:apigatewayv2/integration:Integration": Kind(
        sdk="pulumi_aws.apigatewayv2.IntegrationArgs",
        inputs={"apiId", *HTTP_INTEGRATION},
        replaces={"apiId", "integrationType"},
        computed=REGIONAL,
        create=lambda aws, new: str(
            aws.client("apigatewayv2").create_integration(ApiId=new["apiId"], **_some(new, HTTP_INTEGRATION))[
                "IntegrationId"
            ]
        ),
        read=_read_http_integration,
        update=lambda aws, identity, old, new: aws.client("apigatewayv2").update_integration(
            ApiId=new["apiId"], IntegrationId=identity, **_some(new, HTTP_INTEGRATION)
        ),
        delete=lambda aws, identity, state: aws.client("apigatewayv2").delete_integration(
            ApiId=state["apiId"], IntegrationId=identity
        ),
    ),
    "aws:apigatewayv2/route:Route": Kind(
        sdk="pulumi_aws.apigatewayv2.RouteArgs",
        inputs={"apiId", *HTTP_ROUTE},
        replaces={"apiId"},
        computed=REGIONAL,
        create=lambda aws, new: str(
            aws.client("apigatewayv2").create_route(ApiId=new["apiId"], **_some(new, HTTP_ROUTE))["RouteId"]
        ),
        read=_read_http_route,
        update=_update_http_route,
        delete=lambda aws, identity, state: aws.client("apigatewayv2").delete_route(
            ApiId=state["apiId"], RouteId=identity
        ),
        defaults={"authorizationType": "NONE"},
    ),
    "aws:apigatewayv2/stage:Stage": Kind(
        sdk="pulumi_aws.apigatewayv2.StageArgs",
        inputs={"apiId", "name", "autoDeploy", "accessLogSettings", "defaultRouteSettings"},
        replaces={"apiId", "name"},
        computed={"arn", "executionArn", "invokeUrl"} | REGIONAL | TAGGED,
        create=_create_http_stage,
        read=_read_http_stage,
        update=_update_http_stage,
        delete=lambda aws, name, state: aws.client("apigatewayv2").delete_stage(ApiId=state["apiId"], StageName=name),
    ),
    "aws:apigatewayv2/authorizer:Authorizer": Kind(
        sdk="pulumi_aws.apigatewayv2.AuthorizerArgs",
        inputs={"apiId", "name", "authorizerType", "identitySources", "jwtConfiguration"},
        replaces={"apiId", "authorizerType"},
        computed=REGIONAL,
        create=lambda aws, new: str(
            aws.client("apigatewayv2").create_authorizer(**_http_authorizer(new))["AuthorizerId"]
        ),
        read=_read_http_authorizer,
        update=lambda aws, identity, old, new: aws.client("apigatewayv2").update_authorizer(
            AuthorizerId=identity, **_http_authorizer(new)
        ),
        delete=lambda aws, identity, state: aws.client("apigatewayv2").delete_authorizer(
            ApiId=state["apiId"], AuthorizerId=identity
        ),
        named="name",
    ),
    "aws:apigatewayv2/domainName:DomainName": Kind(
        sdk="pulumi_aws.apigatewayv2.DomainNameArgs",
        inputs={"domainName", "domainNameConfiguration"},
        replaces={"domainName"},
        computed={"arn"} | REGIONAL | TAGGED,
        create=_create_http_domain,
        read=_read_http_domain,
        update=lambda aws, name, old, new: aws.client("apigatewayv2").update_domain_name(**_http_domain(new)),
        delete=lambda aws, name, state: aws.client("apigatewayv2").delete_domain_name(DomainName=name),
        # AWS adds the target and its hosted zone.
        quiet={"domainNameConfiguration": lambda old, new: {**(old or {}), **(new or {})} == old},
    ),
    "aws:apigatewayv2/apiMapping:ApiMapping": Kind(
        sdk="pulumi_aws.apigatewayv2.ApiMappingArgs",
        inputs={"apiId", "domainName", "stage", "apiMappingKey"},
        replaces={"domainName"},
        computed=REGIONAL,
        create=lambda aws, new: str(aws.client("apigatewayv2").create_api_mapping(**_api_mapping(new))["ApiMappingId"]),
        read=_read_api_mapping,
        update=lambda aws, identity, old, new: aws.client("apigatewayv2").update_api_mapping(
            ApiMappingId=identity, **_api_mapping(new)
        ),
        delete=lambda aws, identity, state: aws.client("apigatewayv2").delete_api_mapping(
            DomainName=state["domainName"], ApiMappingId=identity
        ),
    ),
    "aws:apigateway/apiKey:ApiKey": Kind(
        sdk="pulumi_aws.apigateway.ApiKeyArgs",
        inputs={"name", "description"},
        replaces=set(),
        computed={"arn", "value"} | REGIONAL | TAGGED,
        create=_create_api_key,
        read=_read_api_key,
        update=_update_api_key,
        delete=lambda aws, identity, state: aws.client("apigateway").delete_api_key(apiKey=identity),
        named="name",
        # The SDK's default.
        defaults={"description": "Managed by Pulumi"},
    ),
    "aws:apigateway/usagePlan:UsagePlan": Kind(
        sdk="pulumi_aws.apigateway.UsagePlanArgs",
        inputs={"name", "apiStages"},
        replaces=set(),
        computed={"arn"} | REGIONAL | TAGGED,
        create=_create_usage_plan,
        read=_read_usage_plan,
        update=_update_usage_plan,
        delete=_delete_usage_plan,
        named="name",
    ),
    "aws:apigateway/usagePlanKey:UsagePlanKey": Kind(
        sdk="pulumi_aws.apigateway.UsagePlanKeyArgs",
        inputs={"keyId", "keyType", "usagePlanId"},
        replaces={"keyId", "keyType", "usagePlanId"},
        computed={"name", "value"} | REGIONAL,
        create=_create_usage_plan_key,
        read=_read_usage_plan_key,
        delete=lambda aws, identity, state: aws.client("apigateway").delete_usage_plan_key(
            usagePlanId=state["usagePlanId"], keyId=identity
        ),
    ),
}


# ---- functions ---------------------------------------------------------------------------------------------------


def _get_authorization_token(aws: Aws, arguments: Values) -> Values:
    registries = [arguments["registryId"]] if "registryId" in arguments else []
    client = aws.client("ecr")
    answer = client.get_authorization_token(**({"registryIds": registries} if registries else {}))
    found = answer["authorizationData"][0]
    user, _, password = base64.b64decode(found["authorizationToken"]).decode().partition(":")
    return {
        "id": aws.region,
        "region": aws.region,
        "authorizationToken": found["authorizationToken"],
        "expiresAt": found["expiresAt"].isoformat(),
        "proxyEndpoint": found["proxyEndpoint"],
        "userName": user,
        "password": password,
    }


def _get_images(aws: Aws, arguments: Values) -> Values:
    selected = {"repositoryName": arguments["repositoryName"]}
    if "registryId" in arguments:
        selected["registryId"] = arguments["registryId"]
    pages = aws.client("ecr").get_paginator("list_images").paginate(**selected)
    images = [
        {"imageDigest": image["imageDigest"], "imageTag": image.get("imageTag", "")}
        for page in pages
        for image in page["imageIds"]
    ]
    return {**arguments, "id": aws.region, "region": aws.region, "imageIds": images}


def _get_log_groups(aws: Aws, arguments: Values) -> Values:
    selected = {"logGroupNamePrefix": arguments["logGroupNamePrefix"]} if "logGroupNamePrefix" in arguments else {}
    pages = aws.client("logs").get_paginator("describe_log_groups").paginate(**selected)
    groups = [group for page in pages for group in page["logGroups"]]
    return {
        **arguments,
        "id": aws.region,
        "region": aws.region,
        "arns": [group["arn"].removesuffix(":*") for group in groups],
        "logGroupNames": [group["logGroupName"] for group in groups],
    }


def _get_caller_identity(aws: Aws, arguments: Values) -> Values:
    found = aws.client("sts").get_caller_identity()
    return {"id": found["Account"], "accountId": found["Account"], "arn": found["Arn"], "userId": found["UserId"]}


def _get_partition(aws: Aws, arguments: Values) -> Values:
    reverse = ".".join(reversed(aws.suffix.split(".")))
    return {"id": aws.partition, "partition": aws.partition, "dnsSuffix": aws.suffix, "reverseDnsPrefix": reverse}


FUNCTIONS: dict[str, tuple[str, Callable[[Aws, Values], Values]]] = {
    "aws:cloudwatch/getLogGroups:getLogGroups": ("pulumi_aws.cloudwatch.get_log_groups", _get_log_groups),
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": (
        "pulumi_aws.ecr.get_authorization_token",
        _get_authorization_token,
    ),
    "aws:ecr/getImages:getImages": ("pulumi_aws.ecr.get_images", _get_images),
    "aws:index/getCallerIdentity:getCallerIdentity": ("pulumi_aws.get_caller_identity", _get_caller_identity),
    "aws:index/getPartition:getPartition": ("pulumi_aws.get_partition", _get_partition),
}


class AwsProvider(Provider):
    """The provider of the resource types in `KINDS`."""

    version: ClassVar[str] = version("pulumi-aws")

    def __init__(self) -> None:
        self._schema = schema.load(
            "pulumi_aws", [*(rule.sdk for rule in KINDS.values()), *(sdk for sdk, _ in FUNCTIONS.values())]
        )

    def configure(self, config: Values) -> None:
        unknown_keys = sorted(set(config) - PROVIDER_INPUTS)
        if unknown_keys:
            raise Refused(f"the local stand-in of aws does not carry out the provider inputs {', '.join(unknown_keys)}")
        try:
            self._aws = Aws(_session(config), config.get("region"))
        except botocore.exceptions.EndpointConnectionError as error:
            raise Refused(f"{error} The local cloud is not running; start it with `make demo`.") from error
        except botocore.exceptions.ProfileNotFound as error:
            raise Refused(f"failed to get shared config profile, {config.get('profile')}") from error
        except EXPIRED as error:
            raise Refused(
                f"The AWS login session for {config.get('profile') or 'the default profile'} has expired"
            ) from error
        except botocore.exceptions.NoCredentialsError as error:
            raise Refused("No valid credential sources found.") from error
        except botocore.exceptions.ClientError as error:
            raise Refused(
                "unable to validate AWS credentials.\nDetails: validating provider credentials: retrieving caller "
                f"identity from STS: {_api_error(error)}"
            ) from error
        allowed = config.get("allowedAccountIds")
        if allowed and not is_unknown(allowed) and self._aws.account not in allowed:
            raise Refused(f"AWS account ID not allowed: {self._aws.account}")

    def invoke(self, token: str, arguments: Values) -> Values:
        if token not in FUNCTIONS:
            return super().invoke(token, arguments)
        sdk, carry_out = FUNCTIONS[token]
        allowed = self._schema[sdk]
        if wrong := sorted(arguments.keys() - allowed.keys()):
            raise Refused(f"{token} has no argument {', '.join(wrong)}; it has {', '.join(sorted(allowed))}")
        return carry_out(self._aws, {key: value for key, value in arguments.items() if value is not None})

    def check(self, kind: str, name: str, olds: Values, news: Values, seed: bytes) -> Values:
        rule = self._kind(kind)
        problems = schema.undeclared(self._schema, rule.sdk, news)
        problems += [
            (key, f"is declared by {schema.short(rule.sdk)} but not carried out by the local stand-in of aws")
            for key in sorted(set(news) - rule.inputs - (rule.computed & REGIONAL))
            if not any(path == key for path, _ in problems)
        ]
        if problems:
            raise WrongInputs(problems)
        inputs = {**rule.defaults, **news}
        if rule.named and rule.named not in inputs:
            inputs[rule.named] = olds.get(rule.named) or _generated(kind, name, seed, rule.longest)
        # https://docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html
        if rule.named == "statementId" and not re.fullmatch(r"[a-zA-Z0-9_-]{1,100}", inputs["statementId"]):
            raise WrongInputs(
                [("statementId", f"{inputs['statementId']!r} is not of 1 to 100 letters, digits, - and _")]
            )
        return inputs

    def replaces(self, kind: str) -> frozenset[str]:
        return frozenset(self._kind(kind).replaces | REGIONAL)

    def computed(self, kind: str) -> frozenset[str]:
        return frozenset(self._kind(kind).computed)

    def changed_outputs(self, kind: str, changed: set[str], news: Values) -> frozenset[str]:
        rule = self._kind(kind)
        besides = [outputs for name, outputs in rule.volatile_when.items() if news.get(name)]
        return rule.volatile.union(*besides) if changed else frozenset()

    def input_names(self, kind: str) -> frozenset[str]:
        return frozenset(self._kind(kind).inputs)

    def ignored_in_diff(self, kind: str, name: str, old: Any, new: Any) -> bool:
        quiet = self._kind(kind).quiet.get(name)
        return quiet is not None and quiet(old, new)

    def create(self, kind: str, urn: str, inputs: Values) -> tuple[str, Values]:
        rule, aws = self._kind(kind), self._aws.of(inputs)
        identity = rule.create(aws, inputs)
        try:
            rule.settle(aws, inputs)
            return identity, {**inputs, **(rule.read(aws, identity, inputs) or {})}
        except Exception as error:
            raise HalfDone(identity, inputs, f"creating {urn}: {told(error)}") from error

    def read(self, kind: str, identity: str, state: Values) -> tuple[str, Values] | None:
        if not state:
            identity, state = _imported(kind, identity)
        try:
            live = self._kind(kind).read(self._aws.of(state), identity, state)
        except botocore.exceptions.ClientError as error:
            if _code(error) in GONE:
                return None
            raise
        return None if live is None else (identity, {**state, **live})

    def update(self, kind: str, urn: str, identity: str, olds: Values, news: Values, changed: set[str]) -> Values:
        """Update the resource in place.

        After a failed update the state has the new values. An update without changed inputs calls nothing.
        https://github.com/pulumi/pulumi-terraform-bridge/blob/main/pkg/tfbridge/provider.go (`Update`),
        https://github.com/pulumi/pulumi/issues/21458
        """
        rule, aws = self._kind(kind), self._aws.of(news)
        kept = {**{name: value for name, value in olds.items() if name not in rule.inputs}, **news}
        if not changed:
            return kept
        try:
            rule.update(aws, identity, olds, news)
            return {**news, **(rule.read(aws, identity, news) or {})}
        except Exception as error:
            raise HalfDone(identity, kept, f"updating {urn}: {told(error)}") from error

    def delete(self, kind: str, identity: str, state: Values) -> None:
        try:
            self._kind(kind).delete(self._aws.of(state), identity, state)
        except botocore.exceptions.ClientError as error:
            if _code(error) not in GONE:
                raise

    def _kind(self, kind: str) -> Kind:
        if kind not in KINDS:
            raise Refused(
                f"the local stand-in of aws does not know the resource type {kind}; it knows {', '.join(sorted(KINDS))}"
            )
        return KINDS[kind]


def _session(config: Values) -> Session:
    """A session with the credentials of a provider: its profile or the default chain, then its roles in order.

    https://github.com/hashicorp/aws-sdk-go-base/blob/main/credentials.go (`getCredentialsProvider`)
    """
    session = Session(profile=config.get("profile"))
    if config.get("region"):
        session.set_config_variable("region", config["region"])
    if web_identity := config.get("assumeRoleWithWebIdentity"):
        path = web_identity.get("webIdentityTokenFile")
        if not path:
            raise Refused("assumeRoleWithWebIdentity needs webIdentityTokenFile")
        arguments = _role_arguments(web_identity, {"webIdentityTokenFile", "sessionName", "duration"})
        fetcher = AssumeRoleWithWebIdentityCredentialFetcher(
            session.create_client, FileWebIdentityTokenLoader(path), web_identity["roleArn"], extra_args=arguments
        )
        _assume(session, "assume-role-with-web-identity", fetcher, web_identity["roleArn"])
    for role in config.get("assumeRoles") or ():
        source = session.get_credentials()
        if source is None:
            raise botocore.exceptions.NoCredentialsError
        arguments = _role_arguments(role, set(ROLE_INPUTS))
        fetcher = AssumeRoleCredentialFetcher(session.create_client, source, role["roleArn"], extra_args=arguments)
        _assume(session, "assume-role", fetcher, role["roleArn"])
    return session


def _role_arguments(role: Values, known: set[str]) -> Values:
    if unknown := sorted(set(role) - known - {"roleArn"}):
        raise Refused(f"the local stand-in of aws does not carry out {', '.join(unknown)} of a role to assume")
    parts = re.findall(r"(\d+)([hms])", role.get("duration", ""))
    seconds = sum(int(number) * SECONDS[unit] for number, unit in parts) or SESSION_SECONDS
    named = {ROLE_INPUTS[name]: role[name] for name in ("sessionName", "externalId") if name in role}
    return {**named, "DurationSeconds": seconds}


def _assume(session: Session, method: str, fetcher: Any, arn: str) -> None:
    """Let a session use credentials of a role, renewed before they expire. Raises an error if AWS denies the role."""
    credentials = DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method=method)
    try:
        credentials.get_frozen_credentials()
    except botocore.exceptions.ClientError as error:
        raise Refused(_not_assumed(arn, _api_error(error))) from error
    except OSError as error:
        raise Refused(_not_assumed(arn, f"failed to retrieve jwt from provide source, {error}")) from error
    # botocore's public setter accepts only credentials that are not renewed.
    session._credentials = credentials


def _not_assumed(arn: str, reason: str) -> str:
    # https://github.com/hashicorp/aws-sdk-go-base/blob/main/errors.go
    return (
        f"unable to validate AWS credentials.\nDetails: Cannot assume IAM Role\n\nIAM Role ({arn}) cannot be assumed."
        "\n\nThere are a number of possible causes of this - the most common are:\n"
        "  * The credentials used in order to assume the role are invalid\n"
        "  * The credentials do not have appropriate permission to assume the role\n"
        f"  * The role ARN is not valid\n\nError: {reason}\n"
    )


def _api_error(error: botocore.exceptions.ClientError) -> str:
    """An error formatted as in AWS's SDK for Go."""
    told, operation = error.response, error.operation_name
    metadata = told.get("ResponseMetadata", {})
    return (
        f"operation error STS: {operation}, https response error StatusCode: {metadata.get('HTTPStatusCode')}, "
        f"RequestID: {metadata.get('RequestId')}, api error {told['Error']['Code']}: {told['Error']['Message']}"
    )


def _generated(kind: str, name: str, seed: bytes, longest: int) -> str:
    # https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/resource_id.go (`NewUniqueName`)
    if longest and len(name) + 1 + NAME_SUFFIX_DIGITS > longest:
        raise Refused(
            f"could not make instance of '{kind}': name '{name}-' plus {NAME_SUFFIX_DIGITS} random chars is longer than"
            f" maximum length {longest}"
        )
    suffix = "".join(random.Random(seed).choices("0123456789abcdef", k=NAME_SUFFIX_DIGITS))
    return f"{name}-{suffix}"


# Import IDs with several parts ("Import" on each page of https://www.pulumi.com/registry/packages/aws/): the inputs in
# the import ID, and the form of the resource's ID.
IMPORT_IDS = {
    "aws:lambda/permission:Permission": (("function", "statementId"), "{statementId}"),
    "aws:apigateway/resource:Resource": (("restApi", "id"), "{id}"),
    "aws:apigateway/method:Method": (METHOD_PARTS, "agm-{restApi}-{resourceId}-{httpMethod}"),
    "aws:apigateway/integration:Integration": (METHOD_PARTS, "agi-{restApi}-{resourceId}-{httpMethod}"),
    "aws:apigateway/deployment:Deployment": (("restApi", "id"), "{id}"),
    "aws:apigateway/stage:Stage": (("restApi", "stageName"), "ags-{restApi}-{stageName}"),
}


def _imported(kind: str, identity: str) -> tuple[str, Values]:
    """The resource's ID, and the inputs in its import ID."""
    if kind not in IMPORT_IDS:
        return identity, {}
    names, form = IMPORT_IDS[kind]
    parts = identity.split("/")
    if len(parts) != len(names):
        raise Refused(f"the import ID of {kind} is {'/'.join(names)}; given: {identity}")
    said = dict(zip(names, parts, strict=True))
    return form.format(**said), {name: value for name, value in said.items() if name != "id"}


def _code(error: botocore.exceptions.ClientError) -> str:
    return str(error.response["Error"]["Code"])


def _done(identity: str) -> None:
    """The end of a `create` used as `update`: AWS calls such an operation put or set. The ID stays."""


def _pascal(name: str) -> str:
    return name[0].upper() + name[1:]


def _differs(name: str, old: Values, new: Values) -> bool:
    return not same(old.get(name) or "", new.get(name) or "")


def _dropped_tags(old: Values, new: Values) -> list[str]:
    return sorted(set(old.get("tags") or {}) - set(new.get("tags") or {}))


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def _tags(tags: dict[str, str]) -> Values:
    return {"tags": tags, "tagsAll": tags} if tags else {"tagsAll": {}}


def main() -> None:
    """Serve the provider to the engine that started this process."""
    serve_provider(AwsProvider())
