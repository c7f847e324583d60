"""The repository that the registry stack serves to a consumer, or in a preview is planned to serve."""

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
    """The outputs of the registry stack, under their names in camel case. A preview may not know the URLs."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel)

    repository_urls: dict[str, str]
    repository_name: str
    registry_id: str
    region: str
    consumer_accounts: list[str]
    consumer_regions: dict[str, list[str]]
    organization: str
    # Registries that were deployed before it do not have it.
    publishers: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The repository in the consumer's Region.

    Attributes:
        url: registry and name; empty in a preview if only the registry's update tells it.
        name: its name; empty as well if the registry stack has never been deployed.
        registry_id: account that owns it; empty as well.
        publishers: ARNs of the principals that may push besides the account.
        is_served: whether the consumer may pull from it already. Only previews go on without.
    """

    url: str
    name: str = ""
    registry_id: str = ""
    publishers: Sequence[str] = ()
    is_served: bool


async def find_repository(settings: ConsumerSettings) -> Repository:
    """The repository that the consumer uses.

    A preview takes as done what the registry's update does first: what `python -m deployment preview` has planned in
    the same run; without that, all that is missing, with a warning that names it.

    Raises:
        RegistryUnusable: the registry stack is not deployed, or does not serve this account and Region.
    """
    stack, is_preview = settings.registry.stack, pulumi.runtime.is_dry_run()
    deployed, missing = await _deployed(stack)
    planned = _planned(stack, deployed) if is_preview else None
    if deployed:
        missing = _refusal(deployed, settings)
    refused = _refusal(planned, settings) if planned else "" if is_preview else missing
    if refused:
        raise RegistryUnusable(refused)
    expected = planned or deployed
    if expected is None:
        pulumi.log.warn(f"After the registry: {missing} What only its update tells is unknown here.")
        return Repository(url="", is_served=False)
    _require_pushable(expected, settings)
    urls = expected.repository_urls
    url = urls.get(settings.region, "") if is_preview else urls[settings.region]
    is_served = bool(url) and not missing
    if planned and not is_served:
        missing = (
            f"the update of the stack {stack}, which goes first, lets account {settings.account} use the repository "
            f"{planned.repository_name} in {settings.region}."
        )
    if not is_served:
        pulumi.log.warn(f"After the registry: {missing}")
    return Repository(
        url=url,
        name=expected.repository_name,
        registry_id=expected.registry_id,
        publishers=expected.publishers,
        is_served=is_served,
    )


async def _deployed(stack: str) -> tuple[Registry | None, str]:
    """The registry stack's outputs, or why there are none, as before its first update.

    Raises:
        RegistryUnusable: they cannot be read.
    """
    try:
        await stack_outputs(stack)
    except Exception as error:
        said = reason(error)
        text = f"The registry stack {stack!r} cannot be read: {said}."
        if "unknown stack" in said:
            return None, f"{text} Deploy it first: pulumi stack init {stack} && pulumi up -s {stack}"
        raise RegistryUnusable(text) from None
    # The reference is what the engine records; of a missing stack it would only say "unknown stack".
    reference = pulumi.StackReference(qualified(stack))
    try:
        return Registry.model_validate(await reference.outputs.future() or {}), ""
    except ValidationError as error:
        wrong = ", ".join(str(problem["loc"][0]) for problem in error.errors())
        return None, f"The registry stack {stack!r} has no output {wrong}. Deploy it first: pulumi up -s {stack}"


def _planned(stack: str, deployed: Registry | None) -> Registry | None:
    """What `python -m deployment preview` knows of the registry's update, if this is part of such a run."""
    given: dict[str, Any] = pulumi.Config("deployment").get_object("registry") or {}
    if not given or qualified(given["stack"]) != qualified(stack):
        return None
    try:
        planned = Registry.model_validate({"repositoryUrls": {}, **given["outputs"]})
    except ValidationError:
        return None
    if deployed and (deployed.registry_id, deployed.repository_name) == (planned.registry_id, planned.repository_name):
        # One repository that is created makes all URLs unknown; the others keep theirs.
        known = {name: url for name, url in deployed.repository_urls.items() if name in planned.consumer_regions}
        return planned.model_copy(update={"repository_urls": {**known, **planned.repository_urls}})
    return planned


def _refusal(registry: Registry, settings: ConsumerSettings) -> str:
    """Why the registry does not serve this consumer, and what to run first; nothing if it does."""
    project, stack, regions = pulumi.get_project(), settings.registry.stack, registry.consumer_regions
    if settings.region not in regions:
        return (
            f"{project}:region is {settings.region}, the repository is in {', '.join(regions)}, and Lambda takes "
            f"images from its own Region only. Write in this stack's file: {project}:region: {registry.region}, or "
            f"add {settings.region} to the registry's repository.replicas and run: pulumi up -s {stack}"
        )
    if settings.account in regions[settings.region] or (registry.organization and not registry.consumer_accounts):
        return ""
    if settings.account in registry.consumer_accounts:
        return (
            f"Account {settings.account} may use the repository {registry.repository_name}, but not in "
            f"{settings.region}. Add the Region to its consumers entry in the registry's stack file and run: "
            f"pulumi up -s {stack}"
        )
    accounts = sorted([*registry.consumer_accounts, settings.account])
    entries = ", ".join(f'{{account: "{account}"}}' for account in accounts)
    return (
        f"Account {settings.account} may not use the repository {registry.repository_name}; granted are "
        f"{', '.join(registry.consumer_accounts)}. Write in the registry's stack file: {project}:consumers: "
        f"[{entries}] and run: pulumi up -s {stack}"
    )


def _require_pushable(registry: Registry, settings: ConsumerSettings) -> None:
    """Refuse to build where images only arrive as copies.

    Raises:
        RegistryUnusable: the stack builds in the Region of a replica.
    """
    if settings.image.context is not None and settings.region != registry.region:
        raise RegistryUnusable(
            f"Images are pushed to {registry.region} and copied to {settings.region} by ECR, some time later. Build in "
            f"a consumer stack of {registry.region} and name what it has built here. Example: "
            f'{pulumi.get_project()}:image: {{digest: "sha256:…"}}'
        )
