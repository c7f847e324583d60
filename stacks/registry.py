"""The registry stack: the repository, in the account that owns it."""

import pulumi
import pulumi_aws as aws

from components import CrossAccountRepository, CrossAccountRepositoryArgs
from settings import RegistrySettings


async def deploy(settings: RegistrySettings) -> pulumi.Inputs:
    """Make the repository. Returns the outputs, which consumer stacks read."""
    provider = aws.Provider(
        "registry",
        region=settings.region,
        profile=settings.profile or None,
        allowed_account_ids=[settings.account],
    )
    accounts = sorted(consumer.account for consumer in settings.consumers)
    repository = CrossAccountRepository(
        "repository",
        CrossAccountRepositoryArgs(
            name=settings.repository.name,
            consumers=accounts,
            region=settings.region,
            scan_on_push=settings.repository.scan_on_push,
            force_delete=settings.repository.force_delete,
        ),
        opts=pulumi.ResourceOptions(provider=provider),
    )
    return {
        "repositoryUrl": repository.url,
        "repositoryArn": repository.arn,
        "repositoryName": repository.repository_name,
        "registryId": repository.registry_id,
        "region": settings.region,
        "consumerAccounts": accounts,
    }
