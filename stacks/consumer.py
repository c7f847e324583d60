"""A consumer stack: an image of the registry as a Lambda function, in another account."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

from components import (
    ApiRoute,
    BuiltImage,
    ExistingImage,
    ImageBuild,
    ImageFunction,
    ImageFunctionArgs,
    RegistryLogin,
)
from components.errors import ImageUnusable, RegistryUnusable
from components.image import PLATFORMS
from settings import ConsumerSettings

BUILT, REUSED, EXISTING = "built", "reused", "existing"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The outputs of the registry stack."""

    repositoryUrl: str
    repositoryName: str
    registryId: str
    region: str
    consumerAccounts: list[str]


async def deploy(settings: ConsumerSettings) -> pulumi.Inputs:
    """Build or find the image and run it. Returns the stack's outputs.

    Raises:
        RegistryUnusable: the registry stack is not deployed, or does not serve this account and Region.
        ImageUnusable: there is nothing to build, or no such image.
    """
    registry = await read_registry(settings.registry.stack)
    require_service(registry, settings)
    consumer_account = aws.Provider(
        "consumer",
        region=settings.region,
        profile=settings.profile or None,
        allowed_account_ids=[settings.account],
    )
    registry_account = aws.Provider(
        "registry",
        region=registry.region,
        profile=settings.registry.profile or None,
        allowed_account_ids=[registry.registryId],
    )
    build, source = _image_build(settings), EXISTING
    providers: list[pulumi.ProviderResource] = [consumer_account]
    image: BuiltImage | ExistingImage
    if build is None:
        image = ExistingImage(uri=await _existing_uri(settings, registry, registry_account))
    elif await _is_own_push(build) or not (digest := (await _digests(registry, registry_account)).get(build.tag())):
        image, source = _built_image(build, registry, registry_account), BUILT
        providers.append(docker.Provider("docker"))
    else:
        # An immutable tag is refused even with the same content: what another stack or an interrupted update has
        # pushed is taken as it is.
        image, source = ExistingImage(uri=f"{registry.repositoryUrl}@{digest}"), REUSED
    function = ImageFunction(
        settings.function.name,
        ImageFunctionArgs(
            name=settings.function.name,
            image=image,
            route=ApiRoute(path=settings.api.path, stage=settings.api.stage, public=settings.api.public),
            memory=settings.function.memory,
            timeout=settings.function.timeout,
            architecture=settings.function.architecture,
            log_retention=settings.function.logRetention,
        ),
        opts=pulumi.ResourceOptions(providers=providers),
    )
    outputs: dict[str, pulumi.Input[str]] = {
        "imageUri": function.image_uri,
        "imageSource": source,
        "functionName": function.function_name,
        "functionArn": function.function_arn,
        "endpointUrl": function.endpoint_url,
    }
    return outputs if build is None else {**outputs, "imageTag": build.tag()}


async def read_registry(stack: str) -> Registry:
    """The registry stack's outputs.

    Raises:
        RegistryUnusable: an output is missing, which is also how a stack looks that was never deployed.
    """
    reference = pulumi.StackReference(_qualified(stack))
    outputs = await reference.outputs.future() or {}
    missing = [name for name in Registry.__annotations__ if outputs.get(name) is None]
    if missing:
        raise RegistryUnusable(
            f"The registry stack {stack!r} has no output {', '.join(missing)}. Deploy it first: pulumi up -s {stack}"
        )
    return Registry(**{name: outputs[name] for name in Registry.__annotations__})


def require_service(registry: Registry, settings: ConsumerSettings) -> None:
    """Check that the registry serves this consumer, before anything is made.

    Raises:
        RegistryUnusable: another Region, or the account is not among its consumers.
    """
    project = pulumi.get_project()
    if registry.region != settings.region:
        raise RegistryUnusable(
            f"{project}:region is {settings.region}, the repository's is {registry.region}, and Lambda takes images "
            f"from its own Region only. Write in this stack's file: {project}:region: {registry.region}"
        )
    if settings.account not in registry.consumerAccounts:
        accounts = [*registry.consumerAccounts, settings.account]
        entries = ", ".join(f'{{account: "{account}"}}' for account in sorted(accounts))
        raise RegistryUnusable(
            f"Account {settings.account} may not use the repository {registry.repositoryName}; granted are "
            f"{', '.join(registry.consumerAccounts)}. Write in the registry's stack file: {project}:consumers: "
            f"[{entries}] and run: pulumi up -s {settings.registry.stack}"
        )


def _image_build(settings: ConsumerSettings) -> ImageBuild | None:
    image = settings.image
    if image.context is None:
        return None
    return ImageBuild(
        context=image.context,
        dockerfile=image.dockerfile,
        args={name: value for name, value in image.args.items() if value is not None},
        target=image.target,
        platform=PLATFORMS[settings.function.architecture],
    )


def _built_image(build: ImageBuild, registry: Registry, provider: aws.Provider) -> BuiltImage:
    token = aws.ecr.get_authorization_token_output(
        registry_id=registry.registryId, opts=pulumi.InvokeOutputOptions(provider=provider)
    )
    login = RegistryLogin(
        server=registry.repositoryUrl.partition("/")[0],
        username=token.user_name,
        password=pulumi.Output.secret(token.password),
    )
    return BuiltImage(build=build, repository_url=registry.repositoryUrl, login=login)


async def _existing_uri(settings: ConsumerSettings, registry: Registry, provider: aws.Provider) -> str:
    digest, tag = settings.image.digest, settings.image.tag
    if digest is None:
        found = await _digests(registry, provider)
        if tag not in found:
            raise ImageUnusable(
                f"There is no image {tag!r} in {registry.repositoryUrl}. There are: {', '.join(sorted(found)) or 'none'}."
            )
        digest = found[tag]
    return f"{registry.repositoryUrl}@{digest}"


async def _digests(registry: Registry, provider: aws.Provider) -> dict[str, str]:
    """The repository's tags, each with the digest it names."""
    found = await aws.ecr.get_images(
        repository_name=registry.repositoryName,
        registry_id=registry.registryId,
        opts=pulumi.InvokeOptions(provider=provider),
    )
    return {image.image_tag: image.image_digest for image in found.image_ids if image.image_tag}


async def _is_own_push(build: ImageBuild) -> bool:
    """Whether this very stack has built and pushed the content before, so that its image is in its state."""
    own = pulumi.StackReference(_qualified(pulumi.get_stack()))
    outputs = await own.outputs.future() or {}
    return outputs.get("imageSource") == BUILT and outputs.get("imageTag") == build.tag()


def _qualified(stack: str) -> str:
    """A bare stack name means the same organization and project.

    https://www.pulumi.com/docs/iac/concepts/stacks/#stackreferences
    """
    return stack if "/" in stack else f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"
