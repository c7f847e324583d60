"""What a change of a repository's policy means, in words."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deployment.events import UNKNOWN
from deployment.markdown import codes

PULL = frozenset({"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"})
PUSH = "ecr:PutImage"
ACCOUNT_ROOT = re.compile(r"arn:[^:]+:iam::(\d{12}):root")
ROLE = re.compile(r"arn:[^:]+:iam::(\d{12}):\S+")
FUNCTION = re.compile(r"arn:[^:]+:lambda:[^:]*:(?P<account>\d{12}|\*):function:(?P<name>\S+)")
EVERYONE = "*"

Statement = Mapping[str, Any]


@dataclass
class Grant:
    """What an account, or `*` for all of an organization, may do.

    Attributes:
        principals: who of it may create and update functions with the images; `*` is anyone whom the account allows.
        functions: patterns of the functions for which Lambda itself may pull.
    """

    principals: set[str]
    functions: set[str]


@dataclass
class Grants:
    """A policy, read.

    Attributes:
        accounts: who may pull.
        organizations: those that callers and functions have to belong to.
        publishers: who may push.
        others: what else it says, by statement.
    """

    accounts: dict[str, Grant]
    organizations: set[str]
    publishers: set[str]
    others: dict[str, Statement]

    @classmethod
    def of(cls, policy: str) -> "Grants":
        """Read a policy's JSON; an empty one grants nothing.

        Raises:
            ValueError: it is no policy.
        """
        grants = cls({}, set(), set(), {})
        for statement in _listed(json.loads(policy)["Statement"]) if policy else []:
            grants._add(statement)
        return grants

    def _add(self, statement: Statement) -> None:
        principal, actions = statement.get("Principal"), set(_listed(statement.get("Action")))
        conditions = statement.get("Condition", {})
        equal, like = conditions.get("StringEquals", {}), conditions.get("StringLike", {})
        plain = statement.get("Effect") == "Allow" and set(conditions) <= {"StringEquals", "StringLike"}
        named = _listed(principal.get("AWS")) if isinstance(principal, dict) else _listed(principal)
        service = principal.get("Service") if isinstance(principal, dict) else None
        if plain and actions == PULL and service == "lambda.amazonaws.com" and set(like) == {"aws:sourceArn"}:
            for match in map(FUNCTION.fullmatch, _listed(like["aws:sourceArn"])):
                if match:
                    self._grant(match["account"]).functions.add(match["name"])
            self.organizations |= set(_listed(equal.get("aws:SourceOrgID")))
        elif plain and actions == PULL and named and not like and set(equal) <= {"aws:PrincipalOrgID"}:
            for arn in named:
                root, role = ACCOUNT_ROOT.fullmatch(arn), ROLE.fullmatch(arn)
                account = root[1] if root else role[1] if role else EVERYONE
                self._grant(account).principals.add(arn if role and not root else EVERYONE)
            self.organizations |= set(_listed(equal.get("aws:PrincipalOrgID")))
        elif plain and PUSH in actions and named and not conditions:
            self.publishers |= set(named)
        else:
            self.others[str(statement.get("Sid", "without a name"))] = statement

    def _grant(self, account: str) -> Grant:
        return self.accounts.setdefault(account, Grant(set(), set()))


def changes(before: str, after: str) -> list[str]:
    """What changes for whom, a sentence each, sorted; names are in backquotes.

    Args:
        before: the policy's JSON, empty if there was none.
        after: the same afterwards.
    """
    if UNKNOWN in after:
        return ["the policy is known only when the update runs"]
    try:
        old, new = Grants.of(before), Grants.of(after)
    except (ValueError, KeyError, TypeError):
        return ["the policy changes; it cannot be read as one"]
    return [*_accounts(old, new), *_organizations(old, new), *_publishers(old, new), *_others(old, new)]


def _accounts(old: Grants, new: Grants) -> Iterator[str]:
    for account in sorted({*old.accounts, *new.accounts}):
        who = "every account of the organization" if account == EVERYONE else f"account {account}"
        before, after = old.accounts.get(account), new.accounts.get(account)
        if after is None:
            yield f"{who} no longer may pull"
        elif before is None:
            yield f"{who} may now pull, by {_by(after)}, for functions {_names(after.functions)}"
        else:
            if before.principals != after.principals:
                yield f"{who} may pull by {_by(after)}, no longer by {_by(before)}"
            if before.functions != after.functions:
                now, then = _names(after.functions), _names(before.functions)
                yield f"{who} may pull for functions {now}, no longer for {then}"
        if after and bool(after.principals) != bool(after.functions):
            yield f"{who} has one half of the grant only: functions will fail"


def _organizations(old: Grants, new: Grants) -> Iterator[str]:
    for organization in sorted(new.organizations - old.organizations):
        yield f"whoever pulls has to belong to organization {_names([organization])} now"
    for organization in sorted(old.organizations - new.organizations):
        yield f"whoever pulls no longer has to belong to organization {_names([organization])}"


def _publishers(old: Grants, new: Grants) -> Iterator[str]:
    for publisher in sorted(new.publishers - old.publishers):
        yield f"{_names([publisher])} may now push"
    for publisher in sorted(old.publishers - new.publishers):
        yield f"{_names([publisher])} no longer may push"


def _others(old: Grants, new: Grants) -> Iterator[str]:
    for sid in sorted({*old.others, *new.others}):
        before, after = old.others.get(sid), new.others.get(sid)
        if after is None:
            yield f"statement {_names([sid])} is gone"
        elif before != after:
            what = f"{after.get('Effect')} of {_names(_listed(after.get('Action')))}"
            yield f"statement {_names([sid])} is {'new' if before is None else 'another'}: {what}"


def _by(grant: Grant) -> str:
    if EVERYONE in grant.principals:
        return "anyone whom the account allows"
    return _names(grant.principals) if grant.principals else "nobody"


def _names(names: Any) -> str:
    return codes(sorted(names)) or "none"


def _listed(value: Any) -> list[Any]:
    """A policy may say one thing without a list around it."""
    return value if isinstance(value, list) else [] if value is None else [value]
