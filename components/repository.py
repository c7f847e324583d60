"""`CrossAccountRepository`: a private ECR repository whose images Lambda functions of other accounts run."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.errors import InvalidArgument
from components.iam import Consumer, compact, deployer_policy, repository_policy
from components.lifecycle import DEFAULT_LIFECYCLE, LifecycleRule, lifecycle_policy

ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}")

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
MUTABLE_TAG_FILTERS = 5
MUTABLE_TAG = re.compile(r"[a-zA-Z0-9._*-]{1,128}")


@dataclass(frozen=True, kw_only=True)
class CrossAccountRepositoryArgs:
    """Arguments of `CrossAccountRepository`.

    Attributes:
        name: the repository's name, 2 to 256 characters, lower case, digits and `._-/`.
            https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
        region: the repository's Region. Only functions in the same Region can use it.
        consumers: the accounts whose Lambda functions may use the images, each once.
        owner: ID of the account that owns the repository, which is refused as a consumer. Default: not checked.
        organization: ID of an AWS organization that callers and functions must belong to. Only on request: AWS advises
            to enumerate accounts. Without consumers every account of it is granted.
        publishers: ARNs of principals that may push. They must exist. Default none: the owner's account pushes.
        extra_statements: further statements of the repository's policy, each with a `Sid` of its own.
        mutable_tags: up to 5 patterns of tags that may move, such as `dev-*`. Default none: scanners look for the word
            `IMMUTABLE`, which a repository with exceptions does not have.
        scan_on_push: look for known vulnerabilities in every image pushed. Default on.
        kms_key: ARN of the KMS key that encrypts the images. Default AES-256 with a key of ECR's. It cannot be changed
            later: another key means another repository, and the images of this one are gone.
            https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html
        lifecycle: rules that delete images. Default none: no rule can tell which images functions run.
        keep: protect the repository, and leave it in place when it leaves the program. Default on.
        force_delete: let `pulumi destroy` delete a repository that still holds images; needs `keep=False`. Default off.
            It has to be applied (`pulumi up`) before it counts.
        replica_regions: further Regions to have the images in. Each gets the repository with its policy, which ECR does
            not replicate. ECR selects by the beginning of the name: repositories whose names begin with this one's are
            copied as well. The replication rules are one set for the whole registry: this component must be the only
            one of the account that sets them. https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html

    Raises:
        InvalidArgument: nobody granted, an account granted twice, the owner granted, more than 5 patterns, or a policy
            that is too long.
    """

    name: str
    region: str
    consumers: Sequence[Consumer] = ()
    owner: str = ""
    organization: str = ""
    publishers: Sequence[str] = ()
    extra_statements: Sequence[Mapping[str, Any]] = ()
    mutable_tags: Sequence[str] = ()
    scan_on_push: bool = True
    kms_key: str = ""
    lifecycle: Sequence[LifecycleRule] = DEFAULT_LIFECYCLE
    keep: bool = True
    force_delete: bool = False
    replica_regions: Sequence[str] = ()

    def __post_init__(self) -> None:
        accounts = [consumer.account for consumer in self.consumers]
        if not accounts and not self.organization:
            raise InvalidArgument(
                "CrossAccountRepository consumers: none given; allowed is one account or more, or an organization. "
                'Example: consumers=[Consumer(account="222222222222")]'
            )
        if twice := sorted({account for account in accounts if accounts.count(account) > 1}):
            raise InvalidArgument(
                f"CrossAccountRepository consumers: {', '.join(twice)} given more than once; allowed is one entry an "
                "account, with all its Regions and one function pattern."
            )
        if self.owner in accounts:
            raise InvalidArgument(
                f"CrossAccountRepository consumers: the owner {self.owner} given; its own functions need no grant, "
                "Lambda adds what they need. Leave it out."
            )
        if self.organization and not ORGANIZATION.fullmatch(self.organization):
            raise InvalidArgument(
                f"CrossAccountRepository organization: {self.organization!r} given; allowed is an organization ID. "
                'Example: organization="o-abcdef1234"'
            )
        if len(self.mutable_tags) > MUTABLE_TAG_FILTERS:
            raise InvalidArgument(
                f"CrossAccountRepository mutable_tags: {len(self.mutable_tags)} given; allowed are up to "
                f'{MUTABLE_TAG_FILTERS} patterns. Example: mutable_tags=["dev-*"]'
            )
        if wrong := [pattern for pattern in self.mutable_tags if not MUTABLE_TAG.fullmatch(pattern)]:
            raise InvalidArgument(
                f"CrossAccountRepository mutable_tags: {wrong[0]!r} given; allowed are up to 128 letters, digits and "
                '. _ -, with * as wildcard. Example: mutable_tags=["dev-*"]'
            )
        if self.force_delete and self.keep:
            raise InvalidArgument(
                "CrossAccountRepository force_delete: given together with keep, which protects the repository. "
                "Example: keep=False, force_delete=True"
            )
        if self.region in self.replica_regions or len(set(self.replica_regions)) != len(self.replica_regions):
            raise InvalidArgument(
                f"CrossAccountRepository replica_regions: {list(self.replica_regions)} given; allowed are other "
                f"Regions than {self.region}, each once."
            )
        if self.kms_key and self.replica_regions:
            raise InvalidArgument(
                "CrossAccountRepository kms_key: given together with replica_regions; allowed is one of them, for a "
                "key belongs to one Region."
            )
        regions = (self.region, *self.replica_regions)
        for consumer in self.consumers:
            if not any(map(consumer.is_in, regions)):
                raise InvalidArgument(
                    f"CrossAccountRepository consumers: {consumer.account} given for {', '.join(consumer.regions)}; "
                    f"the repository is in {', '.join(regions)}. Name one of these, or none for all."
                )
        for region in regions:
            if self.consumers and not any(consumer.is_in(region) for consumer in self.consumers):
                raise InvalidArgument(
                    f"CrossAccountRepository consumers: none given for {region}, where the repository is as well. "
                    "Leave the Region out of replica_regions, or add it to a consumer."
                )
            self.policy_in(region)
        lifecycle_policy(self.lifecycle)

    def policy_in(self, region: str) -> str:
        """The repository's policy in one of its Regions, as JSON."""
        policy = repository_policy(
            self.consumers,
            region,
            organization=self.organization,
            publishers=self.publishers,
            extra_statements=self.extra_statements,
        )
        return compact(policy)


class CrossAccountRepository(pulumi.ComponentResource):
    """A private ECR repository with the two policy statements that cross-account Lambda needs.

    Tags are immutable: a tag names one image for ever, which is what lets a consumer trust it.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
    """

    url: pulumi.Output[str]
    """Registry and name to push to and pull from, without a tag. Known only after the policy is in place."""
    arn: pulumi.Output[str]
    """ARN of the repository."""
    repository_name: pulumi.Output[str]
    """Name of the repository."""
    registry_id: pulumi.Output[str]
    """ID of the account that owns it."""
    region: pulumi.Output[str]
    """Region that is pushed to."""
    urls: pulumi.Output[dict[str, str]]
    """URL by Region, replicas included."""
    deployer_policies: pulumi.Output[dict[str, str]]
    """For each consumer account, the JSON policy that its deploying principal needs."""

    def __init__(self, name: str, args: CrossAccountRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cross-account-ecr:index:CrossAccountRepository", name, None, opts)
        if not args.keep:
            # A destroy does not run the program: what is applied before it is the last chance to name who is served.
            pulumi.log.warn(_deletable(args), self)
        primary, primary_url = self._repository_in(args.region, name, args)
        replicas = {region: self._repository_in(region, f"{name}-{region}", args) for region in args.replica_regions}
        if replicas:
            self._replicate(name, args, primary.registry_id, [replica for replica, _ in replicas.values()])
        self.url = primary_url
        self.arn = primary.arn
        self.repository_name = primary.name
        self.registry_id = primary.registry_id
        self.region = pulumi.Output.from_input(args.region)
        self.urls = pulumi.Output.all(**{args.region: primary_url, **{key: url for key, (_, url) in replicas.items()}})
        regions = [args.region, *args.replica_regions]
        arns = pulumi.Output.all(primary.arn, *(replica.arn for replica, _ in replicas.values()))
        self.deployer_policies = arns.apply(
            lambda known: {
                consumer.account: json.dumps(deployer_policy(consumer, known, regions)) for consumer in args.consumers
            }
        )
        self.register_outputs(
            {
                "url": self.url,
                "arn": self.arn,
                "repository_name": self.repository_name,
                "registry_id": self.registry_id,
                "region": self.region,
                "urls": self.urls,
                "deployer_policies": self.deployer_policies,
            }
        )

    def _repository_in(
        self, region: str, name: str, args: CrossAccountRepositoryArgs
    ) -> tuple[aws.ecr.Repository, pulumi.Output[str]]:
        """The repository of one Region with its policies, and its URL, which is known when they are in place."""
        # Without its policy a repository that is kept would stop serving its consumers, so both stay.
        child = pulumi.ResourceOptions(parent=self, protect=args.keep, retain_on_delete=args.keep)
        # The provider's own Region needs no mention.
        elsewhere = region if region != args.region else None
        repository = aws.ecr.Repository(
            name,
            name=args.name,
            region=elsewhere,
            image_tag_mutability="IMMUTABLE_WITH_EXCLUSION" if args.mutable_tags else "IMMUTABLE",
            image_tag_mutability_exclusion_filters=[
                {"filter": pattern, "filter_type": "WILDCARD"} for pattern in args.mutable_tags
            ]
            or None,
            image_scanning_configuration={"scan_on_push": args.scan_on_push},
            encryption_configurations=[{"encryption_type": "KMS", "kms_key": args.kms_key}] if args.kms_key else None,
            force_delete=args.force_delete,
            opts=child,
        )
        # Policies go with the repository, and not before it: ECR refuses to delete one that holds images, and it has to
        # go on serving its consumers then.
        policy = aws.ecr.RepositoryPolicy(
            f"{name}-policy",
            repository=repository.name,
            region=elsewhere,
            policy=args.policy_in(region),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(deleted_with=repository)),
        )
        if args.lifecycle:
            # Other rules are another resource to the provider. It is not protected, since without it no image is lost.
            aws.ecr.LifecyclePolicy(
                f"{name}-lifecycle",
                repository=repository.name,
                region=elsewhere,
                policy=json.dumps(lifecycle_policy(args.lifecycle)),
                opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True, deleted_with=repository),
            )
        url = pulumi.Output.all(repository.repository_url, policy.id).apply(lambda known: str(known[0]))
        return repository, url

    def _replicate(
        self,
        name: str,
        args: CrossAccountRepositoryArgs,
        registry_id: pulumi.Output[str],
        replicas: list[aws.ecr.Repository],
    ) -> None:
        """Have ECR copy what is pushed. The targets exist before, else ECR would make them without their policies."""
        aws.ecr.ReplicationConfiguration(
            f"{name}-replication",
            replication_configuration={
                "rules": [
                    {
                        "destinations": [
                            {"region": region, "registry_id": registry_id} for region in args.replica_regions
                        ],
                        "repository_filters": [{"filter": args.name, "filter_type": "PREFIX_MATCH"}],
                    }
                ]
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=replicas),
        )


def _deletable(args: CrossAccountRepositoryArgs) -> str:
    """What it means for its consumers that a repository may be deleted."""
    when = "with all its images" if args.force_delete else "once it holds no image"
    accounts = ", ".join(sorted(consumer.account for consumer in args.consumers))
    return (
        f"The repository {args.name} is not kept: `pulumi destroy` deletes it, {when}. Functions of "
        f"{accounts or args.organization} that run its images fail then, at the latest when Lambda pulls them again. "
        "Destroy the stacks of these consumers first."
    )
