"""A consumer stack: an image of the registry as a Lambda function, in another account."""

from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

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


class Registry(BaseModel):
    """The outputs of the registry stack, under their names in camel case."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel)

    repository_urls: dict[str, str]
    repository_name: str
    registry_id: str
    region: str
    consumer_accounts: list[str]
    organization: str


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
        region=settings.region,
        profile=settings.registry.profile or None,
        allowed_account_ids=[registry.registry_id],
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
        image, source = ExistingImage(uri=f"{registry.repository_urls[settings.region]}@{digest}"), REUSED
    function = ImageFunction(
        settings.function.name,
        ImageFunctionArgs(
            name=settings.function.name,
            image=image,
            route=ApiRoute(path=settings.api.path, stage=settings.api.stage, public=settings.api.public),
            memory=settings.function.memory,
            timeout=settings.function.timeout,
            architecture=settings.function.architecture,
            log_retention=settings.function.log_retention,
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
        RegistryUnusable: there is no such stack, or an output is missing, as before its first deployment.
    """
    try:
        await _stack_outputs(_qualified(stack))
    except Exception as error:
        reason = str(error).rpartition("error: ")[2]
        raise RegistryUnusable(
            f"The registry stack {stack!r} cannot be read: {reason}. Deploy it first: pulumi up -s {stack}"
        ) from None
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
    if settings.account not in registry.consumer_accounts and not registry.organization:
        accounts = [*registry.consumer_accounts, settings.account]
        entries = ", ".join(f'{{account: "{account}"}}' for account in sorted(accounts))
        raise RegistryUnusable(
            f"Account {settings.account} may not use the repository {registry.repository_name}; granted are "
            f"{', '.join(registry.consumer_accounts)}. Write in the registry's stack file: {project}:consumers: "
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
        registry_id=registry.registry_id, opts=pulumi.InvokeOutputOptions(provider=provider)
    )
    url = registry.repository_urls[registry.region]
    login = RegistryLogin(
        server=url.partition("/")[0],
        username=token.user_name,
        password=pulumi.Output.secret(token.password),
    )
    return BuiltImage(build=build, repository_url=url, login=login)


async def _existing_uri(settings: ConsumerSettings, registry: Registry, provider: aws.Provider) -> str:
    digest, tag = settings.image.digest, settings.image.tag
    if digest is None:
        found = await _digests(registry, provider)
        if tag not in found:
            raise ImageUnusable(
                f"There is no image {tag!r} in {registry.repository_urls[settings.region]}. "
                f"There are: {', '.join(sorted(found)) or 'none'}."
            )
        digest = found[tag]
    return f"{registry.repository_urls[settings.region]}@{digest}"


async def _digests(registry: Registry, provider: aws.Provider) -> dict[str, str]:
    """The repository's tags, each with the digest it names."""
    found = await aws.ecr.get_images(
        repository_name=registry.repository_name,
        registry_id=registry.registry_id,
        opts=pulumi.InvokeOptions(provider=provider),
    )
    return {image.image_tag: image.image_digest for image in found.image_ids if image.image_tag}


async def _is_own_push(build: ImageBuild) -> bool:
    """Whether this very stack has built and pushed the content before, so that its image is in its state."""
    outputs = await _stack_outputs(_qualified(pulumi.get_stack()))
    return outputs.get("imageSource") == BUILT and outputs.get("imageTag") == build.tag()


async def _stack_outputs(qualified: str) -> dict[str, Any]:
    """The outputs of a stack's last update, without a reference to it in this stack's state."""
    read = await pulumi.runtime.invoke_async("pulumi:pulumi:readStackOutputs", {"name": qualified})
    return dict(read["outputs"])


def _qualified(stack: str) -> str:
    """A bare stack name means the same organization and project.

    https://www.pulumi.com/docs/iac/concepts/stacks/#stackreferences
    """
    return stack if "/" in stack else f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"
