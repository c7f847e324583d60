"""The registry stack: the repository, in the account that owns it."""

import pulumi

from components.repository import CrossAccountRepository
from settings import RegistrySettings
from stacks import account_provider


async def deploy(settings: RegistrySettings) -> pulumi.Inputs:
    """Create the repository. Returns the outputs, which consumer stacks read."""
    provider = account_provider("registry", account=settings.account, region=settings.region, profile=settings.profile)
    args = settings.component()
    repository = CrossAccountRepository("repository", args, opts=pulumi.ResourceOptions(provider=provider))
    return {
        "repositoryUrl": repository.url,
        "repositoryArn": repository.arn,
        "repositoryName": repository.repository_name,
        # Known in the first preview as well, for that of the consumers.
        "registryId": settings.account,
        "region": repository.region,
        "repositoryUrls": repository.urls,
        "organization": args.organization or "",
        "consumerAccounts": sorted(consumer.account for consumer in args.consumers),
        "consumerRegions": {
            region: sorted(consumer.account for consumer in args.consumers if consumer.is_in(region))
            for region in args.regions
        },
        "deployerPolicies": repository.deployer_policies,
    }
