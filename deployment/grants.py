"""Describe changes of a repository policy in words.

Only statements in the exact form that this program writes, for consumers and publishers, are described. All others are
shown as JSON for a person to read.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.iam import PULL_ACTIONS, PUSH_ACTIONS, READ_ACTIONS
from deployment.events import UNKNOWN
from deployment.markdown import codes

ROOT = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):root|([0-9]{12})")
ROLE = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):(?:role|user)/[\w+=,.@/-]+", re.ASCII)
PUBLISHER = re.compile(r"arn:[a-z-]+:(?:iam|sts)::[0-9]{12}:[\w+=,.@/-]+", re.ASCII)
FUNCTION = re.compile(r"arn:[a-z-]+:lambda:[a-z0-9-]+:([0-9]{12}|\*):function:([\w*?-]+)", re.ASCII)
ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}")
EVERYONE = "*"

Statement = Mapping[str, Any]


@dataclass
class Grant:
    """Permissions of an account, or of `*`, all accounts of an organization.

    Attributes:
        principals: principals that may create and update functions with the images; `*` leaves it to the account.
        functions: patterns of the functions for which Lambda may pull.
    """

    principals: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Pull:
    """A statement that lets accounts pull and nothing else.

    Attributes:
        grants: the grants by account.
        organizations: the organizations that callers and functions must belong to.
    """

    grants: Mapping[str, Grant]
    organizations: frozenset[str]

    def is_of(self, account: str) -> bool:
        """Whether the statement is only for functions of this account, without an organization."""
        return set(self.grants) == {account} and not self.organizations


@dataclass(frozen=True)
class Grants:
    """A parsed policy.

    Attributes:
        accounts: accounts that may pull.
        organizations: organizations that callers and functions must belong to.
        readers: principals that may list and pull images.
        publishers: principals that may push.
        others: all other statements, by their content.
    """

    accounts: dict[str, Grant] = field(default_factory=dict)
    organizations: frozenset[str] = frozenset()
    readers: frozenset[str] = frozenset()
    publishers: frozenset[str] = frozenset()
    others: dict[str, Statement] = field(default_factory=dict)

    @classmethod
    def of(cls, policy: str, owner: str) -> "Grants":
        """Parse a policy's JSON. An empty text grants nothing.

        Args:
            policy: the JSON.
            owner: the repository's account, whose principals need only their own policies.

        Raises:
            ValueError: the text is not a policy.
        """
        if not policy:
            return cls()
        document = json.loads(policy, object_pairs_hook=_without_duplicates)
        statements: list[Any] = _listed(document.get("Statement")) if isinstance(document, dict) else [None]
        if not all(isinstance(statement, dict) for statement in statements):
            raise ValueError("a statement is not an object")
        pulls = [(statement, _pull(statement)) for statement in statements]
        # The description names one organization for all statements. A person must read statements that differ.
        bounds = {pull.organizations for _, pull in pulls if pull and not pull.is_of(owner)}
        accounts: dict[str, Grant] = {}
        readers: set[str] = set()
        publishers: set[str] = set()
        others: dict[str, Statement] = {}
        for statement, pull in pulls:
            if pull and (pull.is_of(owner) or len(bounds) == 1):
                for account, grant in pull.grants.items():
                    known = accounts.setdefault(account, Grant())
                    known.principals |= grant.principals | ({EVERYONE} if account == owner else set())
                    known.functions |= grant.functions
            elif reading := _only(statement, READ_ACTIONS, ROLE):
                readers |= reading
            elif pushing := _only(statement, PUSH_ACTIONS, PUBLISHER):
                publishers |= pushing
            else:
                others[json.dumps(_plain(statement), sort_keys=True)] = statement
        organizations = next(iter(bounds)) if len(bounds) == 1 else frozenset()
        return cls(accounts, organizations, frozenset(readers), frozenset(publishers), others)


def changes(before: str, after: str, owner: str = "") -> list[str]:
    """A sorted list of sentences that describe the changes. Names are in backquotes.

    Args:
        before: the policy's JSON, empty if there was none.
        after: the same afterwards.
        owner: the repository's account.
    """
    if after == UNKNOWN:
        return ["the policy is known only when the update runs"]
    old, new = _read(before, owner), _read(after, owner)
    if new is None:
        return ["the policy changes, but cannot be read"]
    known = old or Grants()
    told = [*_accounts(known, new), *_organizations(known, new), *_reading(known, new), *_pushing(known, new)]
    return told if old else ["the previous policy cannot be read; this is the whole new one", *told]


def pulling(policy: str, owner: str = "") -> list[list[str]]:
    """For each account: its ID, the functions for which Lambda may pull, and the principals that may deploy them."""
    known = None if policy == UNKNOWN else _read(policy, owner)
    return [
        ["every account of the organization" if account == EVERYONE else account, _names(grant.functions), _by(grant)]
        for account, grant in sorted((known or Grants()).accounts.items())
    ]


def unread(before: str, after: str, owner: str = "") -> list[tuple[str, str]]:
    """Changed statements that `changes` does not describe: `new` or `gone`, and the JSON of the statement.

    Args:
        before: the policy's JSON, empty if there was none.
        after: the same afterwards.
        owner: the repository's account.
    """
    if after == UNKNOWN:
        return []
    old, new = _read(before, owner), _read(after, owner)
    if new is None:
        return [("new", after)]
    others = old.others if old else {}
    gone = [("gone", json.dumps(others[key])) for key in others if key not in new.others]
    return [*(("new", json.dumps(new.others[key])) for key in new.others if key not in others), *gone]


def _read(policy: str, owner: str) -> Grants | None:
    try:
        return Grants.of(policy, owner)
    except (ValueError, RecursionError):
        return None


def _pull(statement: Statement) -> Pull | None:
    """Parse a statement for accounts or for the Lambda service. Returns None if this program cannot have written it."""
    if not _allows(statement, PULL_ACTIONS):
        return None
    conditions = _conditions(statement)
    principal = statement["Principal"]
    key, grants = "aws:principalorgid", _callers(_named(principal))
    if principal in ({"Service": "lambda.amazonaws.com"}, {"Service": ["lambda.amazonaws.com"]}):
        arns = conditions.pop(("StringLike", "aws:sourcearn"), []) or conditions.pop(("ArnLike", "aws:sourcearn"), [])
        key, grants = "aws:sourceorgid", _functions(arns)
    organizations = conditions.pop(("StringEquals", key), [])
    if conditions or not grants or (EVERYONE in grants and not organizations):
        return None
    # A second organization allows more than a sentence about the first describes.
    if len(organizations) > 1 or not all(map(ORGANIZATION.fullmatch, organizations)):
        return None
    return Pull(grants, frozenset(organizations))


def _callers(principals: Sequence[str]) -> dict[str, Grant]:
    """Grants for principals; empty if one of them is not an account, a role or a user."""
    grants: dict[str, Grant] = {}
    for arn in principals:
        if arn == EVERYONE:
            grants.setdefault(EVERYONE, Grant()).principals.add(EVERYONE)
        elif root := ROOT.fullmatch(arn):
            grants.setdefault(root[1] or root[2], Grant()).principals.add(EVERYONE)
        elif role := ROLE.fullmatch(arn):
            grants.setdefault(role[1], Grant()).principals.add(arn)
        else:
            return {}
    return grants


def _functions(arns: Sequence[str]) -> dict[str, Grant]:
    """Grants for functions; empty if one of the ARNs is not a pattern of functions."""
    grants: dict[str, Grant] = {}
    for arn in arns:
        if not (match := FUNCTION.fullmatch(arn)):
            return {}
        grants.setdefault(match[1], Grant()).functions.add(match[2])
    return grants


def _only(statement: Statement, actions: Sequence[str], who: re.Pattern[str]) -> set[str]:
    """The principals of a statement that allows exactly these actions, without conditions; empty for others."""
    named = _named(statement.get("Principal"))
    plain = _allows(statement, actions) and not _conditions(statement)
    return set(named) if plain and all(map(who.fullmatch, named)) else set()


def _allows(statement: Statement, actions: Sequence[str]) -> bool:
    """Whether a statement allows exactly these actions and has no unknown keys."""
    given = [str(action).lower() for action in _listed(statement.get("Action"))]
    known = set(statement) <= {"Sid", "Effect", "Principal", "Action", "Condition"} and "Principal" in statement
    return known and statement.get("Effect") == "Allow" and set(given) == {action.lower() for action in actions}


def _named(principal: Any) -> list[str]:
    """The AWS principals; empty if there are principals of another type."""
    if principal == EVERYONE:
        return [EVERYONE]
    if not isinstance(principal, dict) or set(principal) != {"AWS"}:
        return []
    named = _listed(principal["AWS"])
    return named if all(isinstance(arn, str) for arn in named) else []


def _conditions(statement: Statement) -> dict[tuple[str, str], list[str]]:
    """The values of each operator and key. Keys are not case-sensitive, so they are in lower case."""
    conditions = statement.get("Condition") or {}
    found: dict[tuple[str, str], list[str]] = {}
    for operator, keys in conditions.items() if isinstance(conditions, dict) else [("", conditions)]:
        for key, values in keys.items() if isinstance(keys, dict) else [("", keys)]:
            listed = _listed(values)
            name = (operator, key.lower())
            # Values that are not strings, and duplicate keys, are not supported.
            known = listed and name not in found and all(isinstance(value, str) for value in listed)
            found[name if known else ("", key)] = listed
    return found


def _accounts(old: Grants, new: Grants) -> Iterator[str]:
    for account in sorted({*old.accounts, *new.accounts}):
        who = "every account of the organization" if account == EVERYONE else f"account {account}"
        before, after = old.accounts.get(account), new.accounts.get(account)
        if after is None:
            yield f"{who} may no longer pull"
        elif before is None:
            yield f"{who} may now pull, by {_by(after)}, for functions {_names(after.functions)}"
        else:
            if before.principals != after.principals:
                yield f"{who} may pull by {_by(after)}, no longer by {_by(before)}"
            if before.functions != after.functions:
                now, then = _names(after.functions), _names(before.functions)
                yield f"{who} may pull for functions {now}, no longer for {then}"
        if after and bool(after.principals) != bool(after.functions):
            yield f"{who} is in only one of the two statements: functions will fail"


def _organizations(old: Grants, new: Grants) -> Iterator[str]:
    for organization in sorted(new.organizations - old.organizations):
        yield f"principals that pull must now belong to organization {_names([organization])}"
    for organization in sorted(old.organizations - new.organizations):
        yield f"principals that pull no longer have to belong to organization {_names([organization])}"


def _reading(old: Grants, new: Grants) -> Iterator[str]:
    for reader in sorted(new.readers - old.readers):
        yield f"{_names([reader])} may now list and pull images"
    for reader in sorted(old.readers - new.readers):
        yield f"{_names([reader])} may no longer list images"


def _pushing(old: Grants, new: Grants) -> Iterator[str]:
    for publisher in sorted(new.publishers - old.publishers):
        yield f"{_names([publisher])} may now push"
    for publisher in sorted(old.publishers - new.publishers):
        yield f"{_names([publisher])} may no longer push"


def _by(grant: Grant) -> str:
    if EVERYONE in grant.principals:
        return "any principal that the account allows"
    return _names(grant.principals) if grant.principals else "nobody"


def _names(names: Any) -> str:
    return codes(sorted(names)) or "none"


def _listed(value: Any) -> list[Any]:
    """A list, also for a single value, which IAM allows without a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _plain(value: Any) -> Any:
    """A statement in a normal form for comparison: the order of a list does not matter."""
    if isinstance(value, dict):
        return {key: item if key == "Sid" else _plain(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) == 1:
        return _plain(value[0])
    return sorted(map(_plain, value), key=json.dumps) if isinstance(value, list) else value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises an error for a duplicate key, which is ambiguous."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key appears twice")
    return dict(pairs)
