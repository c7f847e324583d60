"""A consumer stack: runs an image from the registry as a Lambda function in another account."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

from components.errors import ImageUnusable
from components.function import ImageFunction, ImageFunctionArgs
from components.image.build import ImageBuild
from components.image.manifest import RepositoryReader, find_tag, require_runnable
from components.image.options import BuildOptions, Image
from components.image.plan import is_own_build, plan_build, plan_existing
from components.image.source import PLATFORMS, BuiltImage, ExistingImage, RegistryLogin
from settings import ConsumerSettings
from stacks import account_provider, reason, stack_outputs
from stacks.names import require_free_name
from stacks.served import Repository, find_repository


async def deploy(settings: ConsumerSettings) -> pulumi.Inputs:
    """Build or find the image and run it. Returns the stack's outputs.

    Raises:
        RegistryUnusable: the registry stack is not deployed, or does not serve this account and Region.
        ImageUnusable: the image cannot be built or found.
        NameTaken: another stack has a function of this name.
    """
    before = await stack_outputs()
    finding = asyncio.ensure_future(find_repository(settings))
    # A stack that the registry refuses gets no provider, unless it has it already.
    if not _runs_here(settings, before):
        await finding
    # The engine starts one provider after the other, so those that are certainly used start during the calls.
    consumer_account = account_provider(
        "consumer", account=settings.account, region=settings.region, credentials=settings
    )
    repository = await finding
    build = _image_build(settings)
    # A digest needs no lookup. Only a tag and a push need access to the registry's account.
    tag = build.tag if build else settings.image.tag
    is_early = tag and repository.url and settings.registry.has_credentials
    registry_account = _registry_account(settings, repository) if is_early else None
    loading = asyncio.get_running_loop().run_in_executor(None, _load_sdk)
    # A provider checks its credentials at its first call. Make that call before the push.
    caller = await aws.get_caller_identity(opts=pulumi.InvokeOptions(provider=consumer_account))
    await loading
    # Docker's provider starts after the accounts' providers, which are needed first.
    docker_engine = _docker_engine() if build and is_own_build(build.fingerprint, before) else None
    reader = await _reader(repository.url, consumer_account) if repository.url else None
    is_own_login = needs_no_registry_account(repository, settings, caller.arn)
    reference = tag or await _named_digest(settings.image)
    if repository.is_served and reader and reference:
        await require_runnable(reader, reference, settings.function.architecture, missing=bool(tag))
    digests: dict[str, str] | None = {}
    if tag and reader:
        if registry_account is None:
            registry_account = consumer_account if is_own_login else _registry_account(settings, repository)
        digests = await (find_tag(reader, tag) if is_own_login else _digests(repository, registry_account))
    await require_free_name(settings, before.get("logGroupName", ""), consumer_account)
    providers: list[pulumi.ProviderResource] = [consumer_account]
    image: BuiltImage | ExistingImage
    if build:
        plan = plan_build(build.tag, build.fingerprint, digests, before)
    else:
        digest = _tagged_digest(repository, tag, digests, is_listed=not is_own_login) if tag else reference
        plan = plan_existing(digest, before)
    if plan.is_gone:
        pulumi.log.warn(f"The repository no longer has the image {plan.tag}. It is built and pushed again.")
    if build and plan.source == "built":
        image = _built_image(build, repository, registry_account, plan.push)
        providers.append(docker_engine or _docker_engine())
    else:
        image = ExistingImage(uri=f"{repository.url}@{plan.digest}" if plan.digest and repository.url else _unknown())
    # The component's name is part of every URN and never changes; the function's name may change.
    function = ImageFunction(
        "function",
        function_args(settings, image, plan.previous_version),
        opts=pulumi.ResourceOptions(providers=providers),
    )
    return {**plan.outputs, **_outputs(function)}


def _outputs(function: ImageFunction) -> dict[str, pulumi.Input[Any]]:
    return {
        "imageUri": function.image_uri,
        "imageDigest": function.image_digest,
        "functionName": function.function_name,
        "functionArn": function.function_arn,
        "functionVersion": function.version,
        "aliasArn": function.alias_arn,
        "endpointUrl": function.endpoint_url,
        "apiKey": function.api_key,
        "domainTarget": function.domain_target,
        "logGroupName": function.log_group_name,
        "alarmTopicArn": function.alarm_topic_arn,
        "triggerPolicies": function.trigger_policies,
    }


def _load_sdk() -> None:
    """Load the SDK's modules that each consumer uses. The SDK loads a module at its first use, which takes 0.1 s."""
    for module in (aws.cloudwatch, aws.ecr, aws.iam, aws.lambda_):
        hasattr(module, "any")


def _runs_here(settings: ConsumerSettings, before: Mapping[str, Any]) -> bool:
    """Whether the function runs in this account and Region, so that the provider is in the stack's state."""
    return str(before.get("functionArn")).split(":")[3:5] == [settings.region, settings.account]


def _image_build(settings: ConsumerSettings) -> ImageBuild | None:
    """The build. None for an existing image, and in a first `python -m deployment preview --no-build`."""
    image = settings.image
    is_left_out = pulumi.runtime.is_dry_run() and pulumi.Config("deployment").get_bool("build") is False
    if image.context is None or is_left_out:
        return None
    options = {name: getattr(image, name) for name in BuildOptions.model_fields}
    options["args"] = image.known_args(os.environ)
    return ImageBuild(context=image.context, platform=PLATFORMS[settings.function.architecture], **options)


async def _reader(url: str, account: aws.Provider) -> RepositoryReader:
    """The repository with this account's permissions. Lambda accepts an image only if the deployer may pull it."""
    token = await aws.ecr.get_authorization_token(opts=pulumi.InvokeOptions(provider=account))
    return RepositoryReader(url=url, username=token.user_name, password=token.password)


def needs_no_registry_account(repository: Repository, settings: ConsumerSettings, caller: str) -> bool:
    """Whether the stack's own credentials look up tags and push, instead of credentials of the registry's account.

    This is the case if `registry` names no credentials, and the stack's own may push or no push is needed. A preview
    does not push, and its role may differ from the role that deploys, so any publisher in the account is enough.

    Args:
        repository: the registry's repository.
        settings: settings of the stack.
        caller: ARN of the stack's own credentials.
    """
    if settings.registry.has_credentials:
        return False
    if settings.account == repository.registry_id or settings.image.context is None:
        return True
    if pulumi.runtime.is_dry_run():
        return any(arn.split(":")[4] == settings.account for arn in repository.publishers)
    return any(is_principal(caller, arn) for arn in repository.publishers)


def is_principal(caller: str, principal: str) -> bool:
    """Whether a principal in a policy includes the caller: an account, a user, a role or a session of a role.

    The ARN of a role session does not contain the role's path.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns
    """
    *_, account, resource = caller.split(":")
    *_, owner, name = principal.split(":")
    kind, _, session = resource.partition("/")
    is_role = kind == "assumed-role" and name.startswith("role/")
    same_role = is_role and name.rpartition("/")[2] == session.partition("/")[0]
    return account == owner and (name in ("root", resource) or same_role)


def _registry_account(settings: ConsumerSettings, repository: Repository) -> aws.Provider:
    return account_provider(
        "registry", account=repository.registry_id, region=settings.region, credentials=settings.registry
    )


async def _digests(repository: Repository, provider: aws.Provider) -> dict[str, str]:
    """The repository's tags, each with the digest of its image."""
    found = await aws.ecr.get_images(
        repository_name=repository.name,
        registry_id=repository.registry_id,
        opts=pulumi.InvokeOptions(provider=provider),
    )
    return {image.image_tag: image.image_digest for image in found.image_ids if image.image_tag}


async def _named_digest(image: Image) -> str:
    """The digest that the configuration names, or that another stack runs. Empty for a tag, and without a build."""
    return image.digest or (await _promoted_digest(image.promote) if image.promote else "")


def _tagged_digest(repository: Repository, tag: str, digests: dict[str, str] | None, *, is_listed: bool) -> str:
    """The digest of a configured tag. Empty if a preview cannot tell it."""
    if digests is None or not (repository.url and (is_listed or repository.is_served)):
        return ""
    if tag not in digests:
        known = (
            f"Its tags: {', '.join(sorted(digests)) or 'none'}. Name one of them" if is_listed else "Name another one"
        )
        raise ImageUnusable(f"There is no image {tag!r} in {repository.url}. {known}, or push it first.")
    return digests[tag]


async def _promoted_digest(stack: str) -> str:
    """The digest that another consumer stack runs.

    Raises:
        ImageUnusable: there is no such stack, or it runs nothing yet.
    """
    try:
        digest = (await stack_outputs(stack)).get("imageDigest")
    except Exception as error:
        raise ImageUnusable(f"The stack {stack!r} cannot be read: {reason(error)}.") from None
    if not digest:
        raise ImageUnusable(f"The stack {stack!r} runs no image yet. Deploy it first: pulumi up -s {stack}")
    return str(digest)


def _built_image(build: ImageBuild, repository: Repository, account: aws.Provider | None, push: int) -> BuiltImage:
    if account is None:  # a preview before the registry's update creates the repository
        login = RegistryLogin(server=_unknown(), username=_unknown(), password=pulumi.Output.secret(_unknown()))
        return BuiltImage(build=build, repository_url=_unknown(), login=login, push=push)
    token = aws.ecr.get_authorization_token_output(
        registry_id=repository.registry_id, opts=pulumi.InvokeOutputOptions(provider=account)
    )
    login = RegistryLogin(
        server=repository.url.partition("/")[0],
        username=token.user_name,
        password=pulumi.Output.secret(token.password),
    )
    return BuiltImage(build=build, repository_url=repository.url, login=login, push=push)


def _unknown() -> pulumi.Output[str]:
    """A value that is unknown until the update."""
    return pulumi.Output.from_input(pulumi.UNKNOWN).apply(str)


def _docker_engine() -> docker.Provider:
    return docker.Provider("docker", opts=pulumi.ResourceOptions(transformations=[_without_host]))


def _without_host(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
    """Keep the address of the Docker engine, which the SDK copies from `DOCKER_HOST`, out of the state."""
    props = {name: value for name, value in args.props.items() if name != "host"}
    return pulumi.ResourceTransformationResult(props=props, opts=args.opts)


def function_args(
    settings: ConsumerSettings, image: BuiltImage | ExistingImage, previous_version: str
) -> ImageFunctionArgs:
    """The arguments of the component; `previous_version` may keep a share of the calls."""
    return ImageFunctionArgs(
        **settings.function.options(),
        image=image,
        endpoint=settings.api,
        secret_environment=settings.has_secret_environment,
        previous_version=previous_version if previous_version.isdigit() else None,
    )
