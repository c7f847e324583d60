"""A consumer stack: an image of the registry as a Lambda function, in another account."""

import os
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from components.errors import ImageUnusable, RegistryUnusable
from components.function import ImageFunction, ImageFunctionArgs
from components.image.build import ImageBuild, Platform
from components.image.manifest import RepositoryReader, require_runnable
from components.image.options import BuildOptions, Image
from components.image.plan import plan_build, plan_existing
from components.image.source import PLATFORMS, BuiltImage, ExistingImage, RegistryLogin
from settings import ConsumerSettings
from stacks import account_provider


class Registry(BaseModel):
    """The outputs of the registry stack, under their names in camel case."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel)

    repository_urls: dict[str, str]
    repository_name: str
    registry_id: str
    region: str
    consumer_accounts: list[str]
    consumer_regions: dict[str, list[str]]
    organization: str


async def deploy(settings: ConsumerSettings) -> pulumi.Inputs:
    """Build or find the image and run it. Returns the stack's outputs.

    Raises:
        RegistryUnusable: the registry stack is not deployed, or does not serve this account and Region.
        ImageUnusable: there is nothing to build, or no such image.
    """
    registry = await read_registry(settings.registry.stack)
    require_service(registry, settings)
    consumer_account = account_provider(
        "consumer", account=settings.account, region=settings.region, profile=settings.profile
    )
    # Providers check their credentials when they are first used: now, not after a push.
    await aws.get_caller_identity(opts=pulumi.InvokeOptions(provider=consumer_account))
    url = registry.repository_urls[settings.region]
    build = _image_build(settings.image, PLATFORMS[settings.function.architecture])
    # A digest is taken as it is: only a tag has to be looked up, and a push made, with the registry's account.
    registry_account = _registry_account(settings, registry) if build or settings.image.tag else None
    digests = await _digests(registry, registry_account) if registry_account else {}
    before = await _stack_outputs(_qualified(pulumi.get_stack()))
    providers: list[pulumi.ProviderResource] = [consumer_account]
    image: BuiltImage | ExistingImage
    if build is None or registry_account is None:
        plan = plan_existing(await _existing_digest(settings, url, digests), before)
    else:
        plan = plan_build(build.tag, build.fingerprint, digests, before)
    reader = await _reader(url, consumer_account)
    is_built = plan.source == "built"
    await require_runnable(reader, plan.digest or plan.tag, settings.function.architecture, missing=is_built)
    if plan.is_gone:
        pulumi.log.warn(f"The image {plan.tag} is gone from the repository; it is built and pushed again.")
    if build and registry_account and is_built:
        image = _built_image(build, url, registry, registry_account, plan.push)
        providers.append(docker.Provider("docker", opts=pulumi.ResourceOptions(transformations=[_without_host])))
    else:
        image = ExistingImage(uri=f"{url}@{plan.digest}")
    # The name of the component is part of every URN and never changes; the function's own may.
    function = ImageFunction(
        "function",
        function_args(settings, image, plan.previous_version),
        opts=pulumi.ResourceOptions(providers=providers),
    )
    return {
        **plan.outputs,
        "imageUri": function.image_uri,
        "imageDigest": function.image_digest,
        "functionName": function.function_name,
        "functionArn": function.function_arn,
        "functionVersion": function.version,
        "aliasArn": function.alias_arn,
        "endpointUrl": function.endpoint_url,
        "apiKey": function.api_key,
        "logGroupName": function.log_group_name,
        "alarmTopicArn": function.alarm_topic_arn,
    }


def function_args(
    settings: ConsumerSettings, image: BuiltImage | ExistingImage, previous_version: str
) -> ImageFunctionArgs:
    """The function as the settings describe it; `previous_version` may keep a share of the calls."""
    return ImageFunctionArgs(
        **settings.function.options(),
        image=image,
        endpoint=settings.api,
        secret_environment=settings.has_secret_environment,
        previous_version=previous_version if previous_version.isdigit() else None,
    )


async def read_registry(stack: str) -> Registry:
    """The registry stack's outputs.

    Raises:
        RegistryUnusable: there is no such stack, or an output is missing, as before its first deployment.
    """
    try:
        await _stack_outputs(_qualified(stack))
    except Exception as error:
        reason = _reason(error)
        hint = (
            f" Deploy it first: pulumi stack init {stack} && pulumi up -s {stack}" if "unknown stack" in reason else ""
        )
        raise RegistryUnusable(f"The registry stack {stack!r} cannot be read: {reason}.{hint}") from None
    # The reference is what the engine records; of a missing stack it would only say "unknown stack".
    reference = pulumi.StackReference(_qualified(stack))
    try:
        return Registry.model_validate(await reference.outputs.future() or {})
    except ValidationError as error:
        wrong = ", ".join(str(problem["loc"][0]) for problem in error.errors())
        raise RegistryUnusable(
            f"The registry stack {stack!r} has no output {wrong}. Deploy it first: pulumi up -s {stack}"
        ) from None


def require_service(registry: Registry, settings: ConsumerSettings) -> None:
    """Check that the registry serves this consumer, before anything is made.

    Raises:
        RegistryUnusable: another Region, or the account is not among its consumers.
    """
    project = pulumi.get_project()
    granted = registry.consumer_regions.get(settings.region, [])
    if settings.region not in registry.repository_urls:
        raise RegistryUnusable(
            f"{project}:region is {settings.region}, the repository is in {', '.join(registry.repository_urls)}, and "
            f"Lambda takes images from its own Region only. Write in this stack's file: {project}:region: "
            f"{registry.region}, or add {settings.region} to the registry's repository.replicas."
        )
    if settings.image.context is not None and settings.region != registry.region:
        raise RegistryUnusable(
            f"Images are pushed to {registry.region} and copied to {settings.region} by ECR, some time later. Build in "
            f"a consumer stack of {registry.region} and name what it has built here. Example: {project}:image: "
            '{digest: "sha256:…"}'
        )
    everyone = bool(registry.organization) and not registry.consumer_accounts
    if settings.account in registry.consumer_accounts and settings.account not in granted:
        raise RegistryUnusable(
            f"Account {settings.account} may use the repository {registry.repository_name}, but not in "
            f"{settings.region}. Add the Region to its consumers entry in the registry's stack file and run: "
            f"pulumi up -s {settings.registry.stack}"
        )
    if settings.account not in granted and not everyone:
        accounts = [*registry.consumer_accounts, settings.account]
        entries = ", ".join(f'{{account: "{account}"}}' for account in sorted(accounts))
        raise RegistryUnusable(
            f"Account {settings.account} may not use the repository {registry.repository_name}; granted are "
            f"{', '.join(registry.consumer_accounts)}. Write in the registry's stack file: {project}:consumers: "
            f"[{entries}] and run: pulumi up -s {settings.registry.stack}"
        )


def _image_build(image: Image, platform: Platform) -> ImageBuild | None:
    if image.context is None:
        return None
    options = {name: getattr(image, name) for name in BuildOptions.model_fields}
    options["args"] = image.known_args(os.environ)
    return ImageBuild(context=image.context, platform=platform, **options)


def _without_host(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
    """Keep the address of this machine's Docker engine, which the SDK copies from `DOCKER_HOST`, out of the state."""
    props = {name: value for name, value in args.props.items() if name != "host"}
    return pulumi.ResourceTransformationResult(props=props, opts=args.opts)


def _registry_account(settings: ConsumerSettings, registry: Registry) -> aws.Provider:
    return account_provider(
        "registry", account=registry.registry_id, region=settings.region, profile=settings.registry.profile
    )


def _built_image(build: ImageBuild, url: str, registry: Registry, provider: aws.Provider, push: int) -> BuiltImage:
    token = aws.ecr.get_authorization_token_output(
        registry_id=registry.registry_id, opts=pulumi.InvokeOutputOptions(provider=provider)
    )
    login = RegistryLogin(
        server=url.partition("/")[0],
        username=token.user_name,
        password=pulumi.Output.secret(token.password),
    )
    return BuiltImage(build=build, repository_url=url, login=login, push=push)


async def _reader(url: str, account: aws.Provider) -> RepositoryReader:
    """The repository as this account sees it: Lambda takes an image only if the deployer may pull it."""
    token = await aws.ecr.get_authorization_token(opts=pulumi.InvokeOptions(provider=account))
    return RepositoryReader(url=url, username=token.user_name, password=token.password)


async def _existing_digest(settings: ConsumerSettings, url: str, digests: dict[str, str]) -> str:
    digest, tag, stack = settings.image.digest, settings.image.tag, settings.image.promote
    if stack is not None:
        return await _promoted_digest(stack)
    if digest is not None:
        return digest
    if tag is None or tag not in digests:
        raise ImageUnusable(
            f"There is no image {tag!r} in {url}. There are: {', '.join(sorted(digests)) or 'none'}. "
            "Name one of them, or push it first."
        )
    return digests[tag]


async def _promoted_digest(stack: str) -> str:
    """The digest that another consumer stack runs.

    Raises:
        ImageUnusable: there is no such stack, or it runs nothing yet.
    """
    try:
        digest = (await _stack_outputs(_qualified(stack))).get("imageDigest")
    except Exception as error:
        raise ImageUnusable(f"The stack {stack!r} cannot be read: {_reason(error)}.") from None
    if not digest:
        raise ImageUnusable(f"The stack {stack!r} runs no image yet. Deploy it first: pulumi up -s {stack}")
    return str(digest)


def _reason(error: Exception) -> str:
    """What the engine says of a failed call, without the names of the functions it went through."""
    return str(error).rpartition("error: ")[2]


async def _digests(registry: Registry, provider: aws.Provider) -> dict[str, str]:
    """The repository's tags, each with the digest it names."""
    found = await aws.ecr.get_images(
        repository_name=registry.repository_name,
        registry_id=registry.registry_id,
        opts=pulumi.InvokeOptions(provider=provider),
    )
    return {image.image_tag: image.image_digest for image in found.image_ids if image.image_tag}


async def _stack_outputs(qualified: str) -> dict[str, Any]:
    """The outputs of a stack's last update, without a reference to it in this stack's state."""
    read = await pulumi.runtime.invoke_async("pulumi:pulumi:readStackOutputs", {"name": qualified})
    return dict(read["outputs"])


def _qualified(stack: str) -> str:
    """A bare stack name means the same organization and project.

    https://www.pulumi.com/docs/iac/concepts/stacks/#stackreferences
    """
    return stack if "/" in stack else f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"
