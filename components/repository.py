"""`CrossAccountRepository`: a private ECR repository for Lambda functions in other accounts."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

import pulumi
import pulumi_aws as aws
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from components import iam
from components.lifecycle import DEFAULT_LIFECYCLE, LifecycleRule, lifecycle_policy, require_order
from components.limits import AccountId, KmsKeyArn, PrincipalArn, Region, RoleArn, Switch
from components.model import Model, allowed, rule

OWN_SIDS = (
    "CrossAccountPermission",
    "LambdaECRImageCrossAccountRetrievalPolicy",
    "LambdaECRImageRetrievalPolicy",
    "Publishers",
    "Readers",
)
EVERY_FUNCTION = ("*",)


def _listed(value: Any) -> Any:
    """Convert a single text to a list."""
    return [value] if isinstance(value, str) else value


class Consumer(Model):
    """An account whose Lambda functions may use a repository's images."""

    account: AccountId
    """ID of the account."""
    regions: Annotated[Sequence[Region], allowed("a list of Regions", ["us-east-1"])] = ()
    """Regions of its functions. Default: all Regions of the repository."""
    functions: Annotated[
        Sequence[
            Annotated[
                str,
                allowed(
                    "1 to 64 letters, digits, - and _, with the wildcards * and ?",
                    "orders-*",
                    pattern=r"^[a-zA-Z0-9_*?-]{1,64}$",
                ),
            ]
        ],
        BeforeValidator(_listed),
        allowed("a list of function names, with the wildcards * and ?", ["orders-*"], min_length=1),
    ] = EVERY_FUNCTION
    """Names of its functions that may use the images. A single name does not need a list. Default: all functions."""
    roles: Annotated[
        Sequence[RoleArn], allowed("a list of role ARNs", ["arn:aws:iam::222222222222:role/deployer"])
    ] = ()
    """The only roles of the account that may deploy these functions. They must exist; otherwise ECR refuses the policy.
    Default: every principal that the account allows."""
    readers: Annotated[
        Sequence[RoleArn], allowed("a list of role ARNs", ["arn:aws:iam::222222222222:role/preview"])
    ] = ()
    """Further roles of the account that may list and pull images, such as the role of previews. They must exist."""

    @field_validator("roles", "readers")
    @classmethod
    def _own_roles(cls, roles: Sequence[str], info: ValidationInfo) -> Sequence[str]:
        account = info.data.get("account")
        for index, role in enumerate(roles):
            if account and f"::{account}:role/" not in role:
                raise rule(f"{role} must be a role of account {account}", index)
        return roles

    def is_in(self, region: str) -> bool:
        """Whether the account has functions in a Region."""
        return not self.regions or region in self.regions


class Repository(Model):
    """An ECR repository."""

    RENAMED: ClassVar = {"keep": "protect and retainOnDelete"}

    name: Annotated[
        str,
        allowed(
            "2 to 256 lower-case letters and digits, with single . _ - / between them",
            "cross-account-function",
            min_length=2,
            max_length=256,
            pattern=r"^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$",
        ),
    ]
    """Name of the repository. https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html"""
    scan_on_push: Switch = True
    """Whether every pushed image is scanned for known vulnerabilities."""
    kms_key: KmsKeyArn | None = None
    """KMS key that encrypts the images. Default: AES-256 with a key of ECR. A change replaces the repository, and its
    images are lost. https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html"""
    mutable_tags: Annotated[
        Sequence[
            Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9._-]*(\*[a-zA-Z0-9._-]*){0,2}$")]
        ],
        allowed("a list of up to 5 patterns of tags with up to 2 *", ["dev-*"], max_length=5),
    ] = ()
    """Tags that may move; all others are immutable.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html"""
    organization: Annotated[
        str | None, allowed("the ID of an AWS organization", "o-abcdef1234", pattern=r"^o-[a-z0-9]{10,32}$")
    ] = None
    """AWS organization that callers and functions must belong to. Without `consumers`, all of its accounts may use the
    images. AWS recommends listing accounts instead."""
    publishers: Annotated[
        Sequence[PrincipalArn], allowed("a list of principal ARNs", ["arn:aws:iam::222222222222:role/publisher"])
    ] = ()
    """Principals of other accounts that may push. They must exist."""
    statements: Annotated[
        Sequence[Mapping[str, Any]],
        allowed(
            "a list of policy statements with a Sid each",
            [{"Sid": "Auditors", "Effect": "Allow", "Action": "ecr:ListImages", "Principal": {"AWS": "…"}}],
        ),
    ] = ()
    """Further statements of the repository's policy. A statement for a service needs a condition on
    `aws:SourceAccount`, `aws:SourceArn` or `aws:SourceOrgID`; its value may be `*`."""
    lifecycle: Annotated[
        Sequence[LifecycleRule],
        AfterValidator(require_order),
        allowed("a list of rules", [{"days": 30, "tag_prefixes": ["pr-"]}]),
    ] = DEFAULT_LIFECYCLE
    """Rules that delete images. Default: none, because no rule can tell which images functions run."""
    replicas: Annotated[Sequence[Region], allowed("a list of Regions", ["eu-west-1"])] = ()
    """Further Regions to copy the images to, each with a repository with the same policy. ECR has one set of
    replication rules for the whole registry, so nothing else in the account may set them. A rule selects repositories
    by name prefix.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html"""
    protect: Switch = True
    """Whether Pulumi refuses to delete the repository. https://www.pulumi.com/docs/iac/concepts/resources/options/protect/"""
    retain_on_delete: Switch = True
    """Whether the repository stays in AWS when it is removed from the program or its stack is destroyed.
    https://www.pulumi.com/docs/iac/concepts/resources/options/retainondelete/"""
    force_delete: Switch = False
    """Whether a destroy may delete the repository with its images. Run `pulumi up` with this option before the
    destroy."""

    @field_validator("statements")
    @classmethod
    def _named_and_bounded(cls, statements: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        sids = [statement.get("Sid") for statement in statements]
        for index, (sid, statement) in enumerate(zip(sids, statements, strict=True)):
            if not isinstance(sid, str) or not sid or sid in OWN_SIDS or sids.count(sid) > 1:
                raise rule('must have a Sid that no other statement has. Example: {"Sid": "AuditorsMayList", …}', index)
            if iam.is_for_any_source(statement):
                raise rule(
                    "lets a service act for anyone. Add a Condition on aws:SourceAccount, aws:SourceArn or "
                    'aws:SourceOrgID. Example: {"StringEquals": {"aws:SourceAccount": "222222222222"}}; if any source '
                    'is meant: {"StringLike": {"aws:SourceAccount": "*"}}',
                    index,
                )
        return statements

    @field_validator("replicas")
    @classmethod
    def _replicable(cls, replicas: Sequence[str], info: ValidationInfo) -> Sequence[str]:
        if len(set(replicas)) < len(replicas):
            raise rule("must name each Region once")
        if replicas and info.data.get("kms_key"):
            raise rule("cannot be combined with `kms_key`, because a key belongs to one Region")
        return replicas

    @field_validator("force_delete")
    @classmethod
    def _deletable(cls, force_delete: bool, info: ValidationInfo) -> bool:
        if force_delete and (info.data.get("protect") or info.data.get("retain_on_delete")):
            raise rule("requires `protect` and `retain_on_delete` to be false, because both keep the repository")
        return force_delete


def _served(consumers: Sequence[Consumer], info: ValidationInfo) -> Sequence[Consumer]:
    """See `require_served`. The repository's options are next to the consumers, or in `repository`."""
    repository = info.data.get("repository")
    options = {**(repository.options() if repository else {}), **info.data}
    if "name" in options:
        return require_served(consumers, **options)
    # The repository itself is invalid. Check only what does not depend on it.
    return require_served(consumers, account=options.get("account")) if consumers else consumers


Consumers = Annotated[
    Sequence[Consumer],
    allowed("a list of accounts", [{"account": "222222222222"}], validate_default=True),
    AfterValidator(_served),
]


class CrossAccountRepositoryArgs(Repository):
    """Arguments of `CrossAccountRepository`."""

    account: AccountId | None = None
    """ID of the account that owns the repository. Required if this account is also a consumer, because its functions
    need another statement."""
    region: Region
    """Region of the repository. Only functions in the same Region can use its images."""
    consumers: Consumers = ()
    """Accounts whose Lambda functions may use the images."""

    @model_validator(mode="after")
    def _fits(self) -> "CrossAccountRepositoryArgs":
        for region, policy in self.policies.items():
            require_size(policy, self.consumers, region)
        return self

    @property
    def regions(self) -> list[str]:
        """All Regions of the repository. Images are pushed to the first one."""
        return [self.region, *self.replicas]

    @cached_property
    def policies(self) -> dict[str, str]:
        """The repository's policy in each of its Regions, as JSON."""
        return {
            region: iam.compact(
                repository_policy(
                    self.consumers,
                    region,
                    owner=self.account,
                    organization=self.organization,
                    publishers=self.publishers,
                    statements=self.statements,
                )
            )
            for region in self.regions
        }


def require_served(
    consumers: Sequence[Consumer],
    *,
    account: str | None = None,
    region: str | None = None,
    replicas: Sequence[str] = (),
    organization: str | None = None,
    **_: Any,
) -> Sequence[Consumer]:
    """Check that each consumer has a repository in its Regions, and each Region has a consumer.

    Args:
        consumers: consumers of the repository.
        account: account that owns the repository.
        region: Region of the repository; None if it is invalid.
        replicas: further Regions of the repository.
        organization: organization of the repository.
    """
    accounts = [consumer.account for consumer in consumers]
    if not accounts and not organization:
        raise rule(
            'must be a list of one account or more, or set `organization`. Example: [{"account": "222222222222"}]'
        )
    if twice := sorted({one for one in accounts if accounts.count(one) > 1}):
        raise rule(
            "must name each account once, with all of its Regions and functions; more than once: "
            f'{", ".join(twice)}. Example: [{{"account": "{twice[0]}", "functions": ["orders-*", "payments-*"]}}]'
        )
    for index, consumer in enumerate(consumers):
        is_narrowed = consumer.roles or consumer.readers or tuple(consumer.functions) != EVERY_FUNCTION
        if consumer.account == account and is_narrowed:
            raise rule(
                "is the registry's own account: it must have no `functions`, `roles` or `readers`. The policies of its "
                "principals decide who deploys which functions",
                index,
            )
    if region is None:
        return consumers
    if region in replicas:
        raise rule(f"cannot be used: `replicas` must not contain {region}, the Region of the repository")
    regions = [region, *replicas]
    for index, consumer in enumerate(consumers):
        if not any(map(consumer.is_in, regions)):
            raise rule(f"must contain a Region of the repository: {', '.join(regions)}", index, "regions")
    for one in regions:
        if consumers and not any(consumer.is_in(one) for consumer in consumers):
            raise rule(f"must contain an account with functions in {one}; otherwise remove {one} from `replicas`")
    return consumers


def repository_policy(
    consumers: Iterable[Consumer],
    region: str,
    *,
    owner: str | None = None,
    organization: str | None = None,
    publishers: Iterable[str] = (),
    statements: Iterable[Mapping[str, Any]] = (),
) -> iam.Document:
    """Allow Lambda functions of accounts to use a repository's images.

    Args:
        consumers: the accounts, in any order.
        region: Region of the repository and of the functions.
        owner: account that owns the repository. Its functions have a separate statement.
        organization: ID of the AWS organization that callers and functions must belong to. Without consumers, all of
            its accounts may use the images.
        publishers: ARNs of the principals that may push.
        statements: further statements.
    """
    # An organization allows all of its accounts only if there are no consumers at all, not if there are none in a
    # Region.
    listed = list(consumers)
    named = sorted((one for one in listed if one.is_in(region)), key=lambda one: one.account)
    others = [one for one in named if one.account != owner]
    callers = [arn for one in others for arn in sorted(set(one.roles)) or [iam.account_arn(one.account, region)]]
    functions = [
        iam.function_arn(one.account, region, pattern) for one in others for pattern in sorted(set(one.functions))
    ]
    granting: list[iam.Statement] = []
    if others:
        granting = [iam.callers_pull(callers, organization), iam.lambda_pulls(functions, organization)]
    elif organization and not listed:
        granting = [
            iam.callers_pull("*", organization),
            iam.lambda_pulls([iam.function_arn("*", region, "*")], organization),
        ]
    if owner and len(others) < len(named):
        granting.append(iam.own_lambda_pulls(owner, region))
    if readers := sorted({arn for one in named for arn in one.readers}):
        granting.append(iam.readers_read(readers))
    if pushing := sorted(set(publishers)):
        granting.append(iam.publishers_push(pushing))
    return iam.document(*granting, *map(dict, statements))


def require_size(policy: str, consumers: Sequence[Consumer], region: str) -> None:
    """Refuse a policy that is longer than ECR allows, with the number of accounts that fit."""
    if len(policy) > iam.POLICY_CHARACTERS:
        named = [one for one in consumers if one.is_in(region)]
        granting = [len(iam.compact(repository_policy(some, region))) for some in (named[:1], named)]
        each = (granting[1] - granting[0]) / max(len(named) - 1, 1)
        fit = max(len(named) - math.ceil((len(policy) - iam.POLICY_CHARACTERS) / max(each, 1)), 0)
        raise rule(
            f"needs a policy of {len(policy)} characters for {len(named)} accounts; ECR allows "
            f"{iam.POLICY_CHARACTERS}, which is about {fit} accounts here. Use a second repository for the other "
            "accounts, or set `organization`",
            "consumers",
        )


class CrossAccountRepository(pulumi.ComponentResource):
    """A private ECR repository with the two policy statements that cross-account Lambda needs.

    Tags are immutable: a tag always names the same image.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
    """

    url: pulumi.Output[str]
    """URL without a tag, to push to and pull from. Known only after the policy is set."""
    arn: pulumi.Output[str]
    """ARN of the repository."""
    repository_name: pulumi.Output[str]
    """Name of the repository."""
    registry_id: pulumi.Output[str]
    """ID of the account that owns it."""
    region: pulumi.Output[str]
    """Region of the repository that images are pushed to."""
    urls: pulumi.Output[dict[str, str]]
    """URL by Region, replicas included."""
    deployer_policies: pulumi.Output[dict[str, str]]
    """For each consumer account, the JSON policy that its deploying principal needs."""

    def __init__(self, name: str, args: CrossAccountRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cross-account-ecr:index:CrossAccountRepository", name, None, opts)
        self._args = args
        if not (args.protect or args.retain_on_delete):
            # A destroy does not run the program, so warn in the update before it.
            pulumi.log.warn(_deletable(args), self)
        primary, primary_url = self._repository_in(args.region, name)
        replicas = {region: self._repository_in(region, f"{name}-{region}") for region in args.replicas}
        if replicas:
            self._replicate(name, primary.registry_id, [replica for replica, _ in replicas.values()])
        self.url = primary_url
        self.arn = primary.arn
        self.repository_name = primary.name
        self.registry_id = primary.registry_id
        self.region = pulumi.Output.from_input(args.region)
        self.urls = pulumi.Output.all(**{args.region: primary_url, **{key: url for key, (_, url) in replicas.items()}})
        arns = pulumi.Output.all(primary.arn, *(replica.arn for replica, _ in replicas.values()))
        self.deployer_policies = arns.apply(
            lambda known: {
                one.account: json.dumps(deployer_policy_of(one, known, args.regions)) for one in args.consumers
            }
        )
        self.register_outputs({output: getattr(self, output) for output in CrossAccountRepository.__annotations__})

    def _repository_in(self, region: str, name: str) -> "tuple[aws.ecr.Repository, pulumi.Output[str]]":
        """The repository in one Region with its policies, and its URL, which is known when the policies are set."""
        args = self._args
        # A retained repository needs its policy to stay usable for its consumers, so the policy is retained as well.
        child = pulumi.ResourceOptions(parent=self, protect=args.protect, retain_on_delete=args.retain_on_delete)
        # The provider's own Region is the default.
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
        # The policy is deleted with the repository, not before it. If ECR refuses to delete a repository with images,
        # its consumers can still use it.
        policy = aws.ecr.RepositoryPolicy(
            f"{name}-policy",
            repository=repository.name,
            region=elsewhere,
            policy=args.policies[region],
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(deleted_with=repository)),
        )
        if args.lifecycle:
            # A change of the rules replaces this resource. It is not protected, because deleting it deletes no images.
            aws.ecr.LifecyclePolicy(
                f"{name}-lifecycle",
                repository=repository.name,
                region=elsewhere,
                policy=json.dumps(lifecycle_policy(args.lifecycle)),
                opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True, deleted_with=repository),
            )
        url = pulumi.Output.all(repository.repository_url, policy.id).apply(lambda known: str(known[0]))
        return repository, url

    def _replicate(self, name: str, registry_id: pulumi.Output[str], replicas: "list[aws.ecr.Repository]") -> None:
        """Replicate pushed images to existing repositories. ECR would create missing ones without their policies."""
        aws.ecr.ReplicationConfiguration(
            f"{name}-replication",
            replication_configuration={
                "rules": [
                    {
                        "destinations": [
                            {"region": region, "registry_id": registry_id} for region in self._args.replicas
                        ],
                        "repository_filters": [{"filter": self._args.name, "filter_type": "PREFIX_MATCH"}],
                    }
                ]
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=replicas),
        )


def deployer_policy_of(consumer: Consumer, arns: Iterable[str], regions: Iterable[str]) -> iam.Document:
    """The policy of the principal that deploys in a consumer account, for all of its Regions."""
    served = [region for region in regions if consumer.is_in(region)]
    return iam.deployer_policy(
        (arn for arn in arns if arn.split(":")[3] in served),
        (iam.function_arn(consumer.account, region, pattern) for region in served for pattern in consumer.functions),
    )


def _deletable(args: CrossAccountRepositoryArgs) -> str:
    """The warning for a repository that can be deleted."""
    when = "with all its images" if args.force_delete else "once it holds no image"
    accounts = ", ".join(sorted(consumer.account for consumer in args.consumers))
    return (
        f"The repository {args.name} is not protected: `pulumi destroy` deletes it, {when}. Then functions in "
        f"{accounts or args.organization} that run its images fail when Lambda pulls an image again. Destroy the "
        "stacks of these consumers first."
    )
