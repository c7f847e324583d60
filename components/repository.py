"""`CrossAccountRepository`: a private ECR repository whose images Lambda functions of other accounts run."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.errors import InvalidArgument
from components.policies import repository_policy

ACCOUNT_ID = re.compile(r"\d{12}")


@dataclass(frozen=True, kw_only=True)
class CrossAccountRepositoryArgs:
    """Arguments of `CrossAccountRepository`.

    Attributes:
        name: the repository's name, 2 to 256 characters, lower case, digits and `._-/`.
            https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
        consumers: IDs of the accounts, 12 digits each, whose Lambda functions may use the images. At least one.
        region: the repository's Region. Only functions in the same Region can use it.
        scan_on_push: look for known vulnerabilities in every image pushed. Default on.
        force_delete: let `pulumi destroy` delete a repository that still holds images. Default off. It has to be
            applied (`pulumi up`) before it counts.

    Raises:
        InvalidArgument: no consumer, or one that is not an account ID.
    """

    name: str
    consumers: Sequence[str]
    region: str
    scan_on_push: bool = True
    force_delete: bool = False

    def __post_init__(self) -> None:
        wrong = [account for account in self.consumers if not ACCOUNT_ID.fullmatch(account)]
        if wrong or not self.consumers:
            raise InvalidArgument(
                f"CrossAccountRepository consumers: {wrong or 'none'} given; allowed are AWS account IDs of 12 digits, "
                'at least one. Example: consumers=["222222222222"]'
            )


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

    def __init__(self, name: str, args: CrossAccountRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cross-account-ecr:index:CrossAccountRepository", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        repository = aws.ecr.Repository(
            name,
            name=args.name,
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": args.scan_on_push},
            force_delete=args.force_delete,
            opts=child,
        )
        policy = aws.ecr.RepositoryPolicy(
            f"{name}-policy",
            repository=repository.name,
            policy=json.dumps(repository_policy(args.consumers, args.region)),
            opts=child,
        )
        self.url = pulumi.Output.all(repository.repository_url, policy.id).apply(lambda known: str(known[0]))
        self.arn = repository.arn
        self.repository_name = repository.name
        self.registry_id = repository.registry_id
        self.register_outputs(
            {
                "url": self.url,
                "arn": self.arn,
                "repository_name": self.repository_name,
                "registry_id": self.registry_id,
            }
        )
