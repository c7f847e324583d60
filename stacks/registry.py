"""The registry stack: the repository, in the account that owns it."""

from collections.abc import Mapping

import pulumi

from components.repository import CrossAccountRepository, CrossAccountRepositoryArgs
from settings import RegistrySettings
from stacks import account_provider, stack_outputs


async def deploy(settings: RegistrySettings) -> pulumi.Inputs:
    """Create the repository. Returns the outputs, which consumer stacks read."""
    provider = account_provider("registry", account=settings.account, region=settings.region, credentials=settings)
    args = settings.component()
    _warn_of_late_replicas(args, (await stack_outputs()).get("repositoryUrls") or {})
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
        "publishers": sorted(args.publishers),
        "deployerPolicies": repository.deployer_policies,
    }


def _warn_of_late_replicas(args: CrossAccountRepositoryArgs, deployed: Mapping[str, str]) -> None:
    """ECR copies only what is pushed from then on.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html

    Args:
        args: of the repository.
        deployed: its URLs by Region as of the last update.
    """
    late = [region for region in args.replicas if deployed and region not in deployed]
    if late:
        pulumi.log.warn(
            f"The repository {args.name} gets a replica in {', '.join(late)}, to which ECR copies only images that are "
            "pushed from then on. Copy those that run there, by digest: docs/configuration.md, Replicas."
        )
