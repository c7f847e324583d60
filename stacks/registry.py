"""The registry stack: the repository in the registry's account."""

from collections.abc import Mapping

import pulumi

from components.repository import CrossAccountRepository, CrossAccountRepositoryArgs
from settings import RegistrySettings
from stacks import account_provider, stack_outputs


async def deploy(settings: RegistrySettings) -> pulumi.Inputs:
    """Create the repository. Returns the outputs, which consumer stacks read."""
    provider = account_provider("registry", account=settings.account, region=settings.region, credentials=settings)
    args = settings.args
    _warn_of_late_replicas(args, (await stack_outputs()).get("repositoryUrls") or {})
    repository = CrossAccountRepository("repository", args, opts=pulumi.ResourceOptions(provider=provider))
    return {
        "repositoryUrl": repository.url,
        "repositoryArn": repository.arn,
        "repositoryName": repository.repository_name,
        # From the settings, so that it is known in the first preview and for the previews of the consumers.
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
    """Warn about replicas that are added to an existing repository: ECR does not copy older images.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html

    Args:
        args: arguments of the repository.
        deployed: its URLs by Region after the last update.
    """
    late = [region for region in args.replicas if deployed and region not in deployed]
    if late:
        pulumi.log.warn(
            f"The repository {args.name} gets a replica in {', '.join(late)}. ECR copies only images that are pushed "
            "after this update. Copy the images that functions there will run: docs/configuration.md, Replicas."
        )
