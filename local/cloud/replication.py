"""ECR: copies pushed images to the Regions in the registry's replication configuration.

ECR copies within minutes; here, images are copied at once. Replication to other accounts is not supported here.
https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html
"""

from typing import Any

from ministack.core.responses import AccountRegionScopedDict
from ministack.services import ecr

Rules = list[dict[str, Any]]

ACTIONS = ("PutReplicationConfiguration", "DescribeRegistry")
# There is one configuration for each account and Region.
CONFIGURATIONS = AccountRegionScopedDict()
NAME = "replication"


def rules_of(account: str, region: str) -> Rules:
    """A registry's rules."""
    return list(CONFIGURATIONS.get_scoped(account, region, NAME, []))


def put(account: str, region: str, rules: Rules) -> str | None:
    """Set a registry's rules. Returns an error, or None."""
    for place in (place for rule in rules for place in rule["destinations"]):
        if place["registryId"] != account or place["region"] == region:
            return f"Replication to {place['registryId']} in {place['region']} is not supported here."
    CONFIGURATIONS.set_scoped(account, region, NAME, rules)
    return None


def copy(account: str, region: str, name: str) -> None:
    """Copy the images of a repository to its replicas, except those that they already have."""
    for rule in rules_of(account, region):
        prefixes = [chosen["filter"] for chosen in rule.get("repositoryFilters", [])] or [""]
        if name.startswith(tuple(prefixes)):
            for place in rule["destinations"]:
                _copy(account, name, region, place["region"])


def _copy(account: str, name: str, source: str, target: str) -> None:
    if not ecr._repositories.contains_scoped(account, target, name):
        # ECR creates a missing repository without the policies of its source.
        record = ecr._repositories.get_scoped(account, source, name)
        places = {
            "repositoryArn": record["repositoryArn"].replace(f":{source}:", f":{target}:"),
            "repositoryUri": record["repositoryUri"].replace(f".{source}.", f".{target}."),
        }
        made = {**record, **places, "imageTagMutability": "MUTABLE", "tags": []}
        ecr._repositories.set_scoped(account, target, name, made)
    for store in (ecr._layer_blobs, ecr._manifest_blobs):
        both = {**store.get_scoped(account, target, name, {}), **store.get_scoped(account, source, name, {})}
        store.set_scoped(account, target, name, both)
    there = list(ecr._images.get_scoped(account, target, name, []))
    known = {image["imageDigest"] for image in there}
    pushed = ecr._images.get_scoped(account, source, name, [])
    there += [{**image} for image in pushed if image["imageDigest"] not in known]
    ecr._images.set_scoped(account, target, name, there)
