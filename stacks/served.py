"""Finds the repository of the registry stack that a consumer may use, or will be allowed to use in a preview."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from components.errors import RegistryUnusable
from settings import ConsumerSettings
from stacks import qualified, reason, stack_outputs


class Registry(BaseModel):
    """The outputs of the registry stack. In a preview, the URLs may be unknown."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel)

    repository_urls: dict[str, str]
    repository_name: str
    registry_id: str
    region: str
    consumer_accounts: list[str]
    consumer_regions: dict[str, list[str]]
    organization: str
    # Registries that were deployed by older versions do not have this output.
    publishers: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The repository in the consumer's Region.

    Attributes:
        url: URL without a tag; empty in a preview if it is unknown until the registry's update.
        name: name of the repository; empty if the registry stack was never deployed.
        registry_id: account that owns the repository; empty if the registry stack was never deployed.
        publishers: ARNs of the principals of other accounts that may push.
        is_served: whether the consumer may already pull from it. Always true in an update.
    """

    url: str
    name: str = ""
    registry_id: str = ""
    publishers: Sequence[str] = ()
    is_served: bool


async def find_repository(settings: ConsumerSettings) -> Repository:
    """The repository that the consumer uses.

    A preview assumes that the registry is updated first. `python -m deployment preview` passes the planned outputs of
    the registry. Without them, the preview warns about what the registry's update must add.

    Raises:
        RegistryUnusable: the registry stack is not deployed, or does not serve this account and Region.
    """
    stack, is_preview = settings.registry.stack, pulumi.runtime.is_dry_run()
    deployed, missing = await _deployed(stack)
    if deployed:
        missing = _refusal(deployed, settings)
    if missing and not is_preview:
        raise RegistryUnusable(missing)
    planned = _planned(stack, deployed) if is_preview else None
    if planned and (refused := _refusal(planned, settings)):
        raise RegistryUnusable(refused)
    expected = planned or deployed
    if expected is None:
        pulumi.log.warn(f"Update the registry first. {missing} Until then, its URLs are unknown.")
        return Repository(url="", is_served=False)
    _require_pushable(expected, settings)
    urls = expected.repository_urls
    url = urls.get(settings.region, "") if is_preview else urls[settings.region]
    is_served = bool(url) and not missing
    if planned and not is_served:
        missing = (
            f"The planned update of the stack {stack} allows account {settings.account} to use the repository "
            f"{planned.repository_name} in {settings.region}."
        )
    if not is_served:
        pulumi.log.warn(f"Update the registry first. {missing}")
    return Repository(
        url=url,
        name=expected.repository_name,
        registry_id=expected.registry_id,
        publishers=expected.publishers,
        is_served=is_served,
    )


async def _deployed(stack: str) -> tuple[Registry | None, str]:
    """The registry stack's outputs; or None and the reason, if the stack was not deployed.

    Raises:
        RegistryUnusable: the outputs cannot be read.
    """
    try:
        await stack_outputs(stack)
    except Exception as error:
        said = reason(error)
        text = f"The registry stack {stack!r} cannot be read: {said}."
        if "unknown stack" in said:
            return None, f"{text} Deploy it first: pulumi stack init {stack} && pulumi up -s {stack}"
        raise RegistryUnusable(text) from None
    # The engine records a stack reference. For a missing stack, its error would only be "unknown stack".
    reference = pulumi.StackReference(qualified(stack))
    try:
        return Registry.model_validate(await reference.outputs.future() or {}), ""
    except ValidationError as error:
        wrong = ", ".join(str(problem["loc"][0]) for problem in error.errors())
        return None, f"The registry stack {stack!r} has no output {wrong}. Deploy it first: pulumi up -s {stack}"


def _planned(stack: str, deployed: Registry | None) -> Registry | None:
    """The registry's outputs that `python -m deployment preview` has planned, if this preview is part of such a run."""
    given: dict[str, Any] = pulumi.Config("deployment").get_object("registry") or {}
    if not given or qualified(given["stack"]) != qualified(stack):
        return None
    try:
        planned = Registry.model_validate({"repositoryUrls": {}, **given["outputs"]})
    except ValidationError:
        return None
    if deployed and (deployed.registry_id, deployed.repository_name) == (planned.registry_id, planned.repository_name):
        # If one repository is created, all URLs are unknown in the plan. The existing repositories keep their URLs.
        known = {name: url for name, url in deployed.repository_urls.items() if name in planned.consumer_regions}
        return planned.model_copy(update={"repository_urls": {**known, **planned.repository_urls}})
    return planned


def _refusal(registry: Registry, settings: ConsumerSettings) -> str:
    """Why this consumer may not use the registry, and what to run first. Empty if it may."""
    project, stack, regions = pulumi.get_project(), settings.registry.stack, registry.consumer_regions
    if settings.region not in regions:
        return (
            f"{project}:region is {settings.region}, but the repository is in {', '.join(regions)}. Lambda uses "
            f"images from its own Region only. Set {project}:region: {registry.region} in this stack's file, or add "
            f"{settings.region} to repository.replicas of the registry and run: pulumi up -s {stack}"
        )
    if settings.account in regions[settings.region] or (registry.organization and not registry.consumer_accounts):
        return ""
    if settings.account in registry.consumer_accounts:
        return (
            f"Account {settings.account} may use the repository {registry.repository_name}, but not in "
            f"{settings.region}. In the registry's stack file, add the Region to the account's entry in consumers, "
            f"and run: pulumi up -s {stack}"
        )
    accounts = sorted([*registry.consumer_accounts, settings.account])
    entries = ", ".join(f'{{account: "{account}"}}' for account in accounts)
    return (
        f"Account {settings.account} may not use the repository {registry.repository_name}; only "
        f"{', '.join(registry.consumer_accounts)} may. In the registry's stack file, set {project}:consumers: "
        f"[{entries}], and run: pulumi up -s {stack}"
    )


def _require_pushable(registry: Registry, settings: ConsumerSettings) -> None:
    """Refuse to build in the Region of a replica.

    Raises:
        RegistryUnusable: the stack builds an image, and its Region has a replica.
    """
    if settings.image.context is not None and settings.region != registry.region:
        raise RegistryUnusable(
            f"Images are pushed to {registry.region} and copied to {settings.region} by ECR. Build the image in a "
            f"consumer stack in {registry.region}, and name its digest here. Example: "
            f'{pulumi.get_project()}:image: {{digest: "sha256:…"}}'
        )
