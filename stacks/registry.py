"""The registry stack: the repository, in the account that owns it."""

import pulumi

from components.iam import Consumer
from components.lifecycle import DEFAULT_LIFECYCLE, LifecycleRule
from components.repository import CrossAccountRepository, CrossAccountRepositoryArgs
from settings import RegistrySettings
from stacks import account_provider


async def deploy(settings: RegistrySettings) -> pulumi.Inputs:
    """Make the repository. Returns the outputs, which consumer stacks read.

    Raises:
        InvalidArgument: what only the whole tells, such as a policy that is too long.
    """
    provider = account_provider("registry", account=settings.account, region=settings.region, profile=settings.profile)
    args = repository_args(settings)
    repository = CrossAccountRepository("repository", args, opts=pulumi.ResourceOptions(provider=provider))
    return {
        "repositoryUrl": repository.url,
        "repositoryArn": repository.arn,
        "repositoryName": repository.repository_name,
        "registryId": repository.registry_id,
        "region": repository.region,
        "repositoryUrls": repository.urls,
        "organization": settings.repository.organization,
        "consumerAccounts": sorted(consumer.account for consumer in args.consumers),
        "consumerRegions": {
            region: sorted(consumer.account for consumer in args.consumers if consumer.is_in(region))
            for region in (args.region, *args.replica_regions)
        },
        "deployerPolicies": repository.deployer_policies,
    }


def repository_args(settings: RegistrySettings) -> CrossAccountRepositoryArgs:
    """The repository as the settings describe it.

    Raises:
        InvalidArgument: what only the whole tells, such as a policy that is too long.
    """
    options = settings.repository
    lifecycle = (
        DEFAULT_LIFECYCLE
        if options.lifecycle is None
        else [LifecycleRule(**rule.model_dump()) for rule in options.lifecycle]
    )
    return CrossAccountRepositoryArgs(
        name=options.name,
        region=settings.region,
        consumers=[Consumer(**consumer.model_dump()) for consumer in settings.consumers],
        owner=settings.account,
        organization=options.organization,
        publishers=options.publishers,
        extra_statements=options.statements,
        mutable_tags=options.mutable_tags,
        scan_on_push=options.scan_on_push,
        kms_key=options.kms_key,
        lifecycle=lifecycle,
        keep=options.keep,
        force_delete=options.force_delete,
        replica_regions=options.replicas,
    )
