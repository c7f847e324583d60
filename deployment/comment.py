"""A preview as a pull-request comment, with the riskiest changes first. Each machine writes the same for a commit.

Only values that cannot be secret are shown: numbers, booleans and names in the properties of `WEIGHTY`. Other changes
show the name of the property, or of the environment variable.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployment import grants
from deployment.content_diff import IMAGE, ContentDiff
from deployment.errors import DeploymentError
from deployment.events import STACK, UNKNOWN, Diagnostic, Step
from deployment.markdown import block, code, codes, table
from deployment.results import UNCHANGED, StackResult

# Finds the comment to update.
MARKER = "<!-- deployment preview -->"

# https://github.com/orgs/community/discussions/41331
LIMIT = 65_536

# The start of the consumer's warning in `stacks/served.py`.
AFTER = "Update the registry first."

POLICY = "aws:ecr/repositoryPolicy:RepositoryPolicy"
PROVIDER = "pulumi:providers:"
PULLING = ["account", "Lambda pulls for functions", "may deploy them"]
OPERATIONS = ("delete", "replace", "update", "create")

# What is lost when a resource is deleted. A change of the routes replaces the others, and loses nothing.
DELETED = {
    "aws:apigateway/method:Method": "callers of the route get no answer",
    "aws:apigatewayv2/route:Route": "callers of the route get no answer",
}

# What is lost when a resource is deleted or replaced.
LOST = {
    "aws:apigateway/apiKey:ApiKey": "callers need another key",
    "aws:apigateway/basePathMapping:BasePathMapping": "callers of the domain get no answer",
    "aws:apigateway/domainName:DomainName": "callers of the domain get no answer",
    "aws:apigateway/restApi:RestApi": "callers need another URL",
    "aws:apigateway/stage:Stage": "callers get no answer",
    "aws:apigatewayv2/api:Api": "callers need another URL",
    "aws:apigatewayv2/apiMapping:ApiMapping": "callers of the domain get no answer",
    "aws:apigatewayv2/domainName:DomainName": "callers of the domain get no answer",
    "aws:apigatewayv2/stage:Stage": "callers get no answer",
    "aws:cloudwatch/eventRule:EventRule": "events that call no function are lost",
    "aws:cloudwatch/eventTarget:EventTarget": "events that call no function are lost",
    "aws:cloudwatch/logGroup:LogGroup": "its log lines are lost",
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": "images are kept for ever, or deleted by other rules",
    "aws:ecr/replicationConfiguration:ReplicationConfiguration": "other Regions get no images",
    "aws:ecr/repository:Repository": "its images are lost",
    "aws:lambda/alias:Alias": "callers of the alias get no answer",
    "aws:lambda/eventSourceMapping:EventSourceMapping": "messages wait in the queue",
    "aws:lambda/function:Function": "its versions and their settings are lost",
    "aws:lambda/functionUrl:FunctionUrl": "callers need another URL",
    "aws:scheduler/schedule:Schedule": "runs are missed",
    "aws:sns/topic:Topic": "its subscriptions are lost",
    "aws:sns/topicSubscription:TopicSubscription": "messages that call no function are lost",
}

# Properties that change cost, retention or permissions, and the effect of the change.
WEIGHTY = {
    ("aws:apigateway/stage:Stage", "xrayTracingEnabled"): "[billed](https://aws.amazon.com/xray/pricing/)",
    ("aws:cloudwatch/logGroup:LogGroup", "retentionInDays"): "lines older than that are deleted, the others "
    "[billed](https://aws.amazon.com/cloudwatch/pricing/)",
    ("aws:ecr/lifecyclePolicy:LifecyclePolicy", "policy"): "other images are deleted",
    ("aws:ecr/repository:Repository", "forceDelete"): "a destroy deletes the images with it",
    ("aws:ecr/repository:Repository", "imageTagMutability"): "whether a tag may move to another image",
    ("aws:ecr/repository:Repository", "imageScanningConfiguration"): "whether images are scanned",
    ("aws:lambda/function:Function", "architectures"): "[billed](https://aws.amazon.com/lambda/pricing/)",
    ("aws:lambda/function:Function", "ephemeralStorage"): "[billed](https://aws.amazon.com/lambda/pricing/)",
    ("aws:lambda/function:Function", "memorySize"): "[billed](https://aws.amazon.com/lambda/pricing/)",
    ("aws:lambda/function:Function", "reservedConcurrentExecutions"): "taken from the account's pool; 0 stops it",
    ("aws:lambda/function:Function", "timeout"): "a call may be billed for that long",
    ("aws:lambda/function:Function", "tracingConfig"): "[billed](https://aws.amazon.com/xray/pricing/)",
    ("aws:apigateway/method:Method", "apiKeyRequired"): "who may call it",
    ("aws:apigateway/authorizer:Authorizer", "authorizerUri"): "who may call it",
    ("aws:apigateway/authorizer:Authorizer", "providerArns"): "who may call it",
    ("aws:apigateway/method:Method", "authorization"): "who may call it",
    ("aws:apigatewayv2/authorizer:Authorizer", "jwtConfiguration"): "who may call it",
    ("aws:apigatewayv2/route:Route", "authorizationType"): "who may call it",
    ("aws:lambda/functionUrl:FunctionUrl", "authorizationType"): "who may call it",
    ("aws:cloudwatch/eventRule:EventRule", "eventPattern"): "other events call the function",
    ("aws:lambda/eventSourceMapping:EventSourceMapping", "functionResponseTypes"): "which messages are read again",
    ("aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig", "destinationConfig"): "where failed events go",
    ("aws:scheduler/schedule:Schedule", "scheduleExpression"): "when the function is called",
    ("aws:sns/topicSubscription:TopicSubscription", "filterPolicy"): "other messages call the function",
}

# Resources that cost money while they exist.
BILLED = {
    "aws:cloudwatch/metricAlarm:MetricAlarm": "https://aws.amazon.com/cloudwatch/pricing/",
    "aws:ecr/replicationConfiguration:ReplicationConfiguration": "https://aws.amazon.com/ecr/pricing/",
    "aws:lambda/provisionedConcurrencyConfig:ProvisionedConcurrencyConfig": "https://aws.amazon.com/lambda/pricing/",
}

# The path of an environment variable.
VARIABLE = re.compile(r'^environment\.variables(?:\["([^"]+)"\]|\.(\w+))$')

Outcomes = Mapping[str, StackResult | DeploymentError]


@dataclass(frozen=True)
class Part:
    """A part of the comment.

    Attributes:
        text: the Markdown.
        weight: parts with the lowest weight are left out first if the comment is too long.
        name: the name to list if the part is left out.
    """

    text: str
    weight: int
    name: str = ""


def comment(
    outcomes: Outcomes,
    diffs: Mapping[str, ContentDiff | None],
    *,
    built: bool = True,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The comment.

    Args:
        outcomes: the outcome of each stack's preview, in the order of `up`.
        diffs: the content diff of each stack that would build an image.
        built: whether the previews included the builds.
        environment: the variables of a GitHub workflow, to link the commit. Default: no links.
    """
    repository, commit = _commit(environment or {})
    of = f" of {_linked(repository, commit)}" if commit else ""
    results = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, StackResult)}
    failed = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, DeploymentError)}
    parts = [Part(f"{MARKER}\n### Preview{of}", 9), Part(_overview(outcomes), 9)]
    parts += [Part(_failure(error), 8) for error in failed.values()]
    if not built:
        parts.append(Part("This preview uses the images that run now, without a build.", 8))
    if statements := {text: None for result in results.values() for text in _statements(result)}:
        text = "#### Statements to review: they are not explained below\n\n" + "\n\n".join(statements)
        parts.append(Part(text, 8))
    if rows := [row for result in results.values() for row in _weighty(result)]:
        text = f"#### Review first\n\n{table(['stack', 'resource', 'change', 'means'], rows)}"
        parts.append(Part(text, 7, "the list of weighty changes"))
    if sentences := [sentence for result in results.values() for sentence in _granted(result)]:
        lines = "\n".join(f"- {sentence}" for sentence in sentences)
        rows = [list(row) for row in dict.fromkeys(row for result in results.values() for row in _pulling(result))]
        standing = f"\n\nAfter the update:\n\n{table(PULLING, rows)}" if rows else ""
        parts.append(Part(f"#### Who may use the images\n\n{lines}{standing}", 6, "who may use the images"))
    for name, result in results.items():
        if built and (text := _image(result, diffs.get(name), repository)):
            parts.append(Part(text, 5, f"the image of {name}"))
    for name, result in results.items():
        told = (line for line in result.diagnostics if (_warns(line) and line.urn) or _is_after(line))
        if warnings := sorted({line.text for line in told}):
            text = f"#### Warnings of {code(name)}\n\n" + block("\n".join(warnings))
            parts.append(Part(text, 4, f"the warnings of {name}"))
    parts += [part for result in results.values() for part in _details(result)]
    if not failed and len(parts) == 2:
        parts.append(Part("Nothing changes.", 9))
    return _fitting(parts)


def _commit(environment: Mapping[str, str]) -> tuple[str, str]:
    """URL of the repository and the commit that a GitHub workflow runs for; empty elsewhere.

    In a pull request GITHUB_SHA is a temporary merge commit.
    https://docs.github.com/en/actions/reference/workflows-and-actions/variables
    """
    server, name = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_REPOSITORY")
    if not server or not name:
        return "", ""
    commit = environment.get("GITHUB_SHA", "")
    try:
        event = json.loads(Path(environment.get("GITHUB_EVENT_PATH", "")).read_text())
        commit = str(event["pull_request"]["head"]["sha"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return f"{server}/{name}", commit


def _linked(repository: str, commit: str) -> str:
    """A commit, as a link if its repository is known."""
    return f"[{code(commit[:12])}]({repository}/commit/{commit})" if repository else code(commit[:12])


def _overview(outcomes: Outcomes) -> str:
    rows = []
    for name, outcome in outcomes.items():
        if isinstance(outcome, DeploymentError):
            rows.append([code(name), *[""] * len(OPERATIONS), "failed"])
            continue
        counts = [sum(step.operation == operation for step in _shown(outcome)) for operation in OPERATIONS]
        same = sum(step.operation in UNCHANGED and step.type.startswith("aws:") for step in outcome.steps)
        rows.append([code(name) + _after(outcome), *(str(count or "") for count in counts), str(same)])
    return table(["stack", *OPERATIONS, "unchanged"], rows)


def _after(result: StackResult) -> str:
    return ", after the registry" if any(map(_is_after, result.diagnostics)) else ""


def _warns(line: Diagnostic) -> bool:
    return line.severity == "warning"


def _is_after(line: Diagnostic) -> bool:
    """Whether a diagnostic warns that the preview needs the registry's update first."""
    return _warns(line) and line.text.startswith(AFTER)


def _failure(error: DeploymentError) -> str:
    hint = f"\n\n{error.hint}" if error.hint else ""
    return f"#### {code(error.stack)} could not be previewed\n\n{block(str(error))}{hint}"


def _weighty(result: StackResult) -> list[list[str]]:
    """Losses, then changes of cost, retention or permissions."""
    losses, others = [], []
    billed: dict[tuple[str, str], list[str]] = {}
    for step in _shown(result):
        resource = f"{code(step.type)} {code(step.name)}"
        lost = (LOST | DELETED if step.operation == "delete" else LOST).get(step.type)
        if step.operation in ("delete", "replace") and lost:
            why = f" for {codes(step.forcing)}" if step.forcing else ""
            lost = "stays in the account, unmanaged" if step.retained else lost
            losses.append([code(result.stack), resource, f"**{step.operation}**{why}", lost])
        if step.operation in ("create", "delete") and step.type in BILLED:
            billed.setdefault((step.type, step.operation), []).append(step.name)
        if step.operation in ("update", "replace"):
            for name in sorted({path.partition(".")[0].partition("[")[0] for path in step.changed}):
                if meaning := WEIGHTY.get((step.type, name)):
                    change = f"{code(name)} {_value(step.old.get(name))} → {_value(step.new.get(name))}"
                    others.append([code(result.stack), resource, change, meaning])
            if change := _variables(step):
                others.append([code(result.stack), resource, change, "environment variables; values are not shown"])
    for (type_, operation), names in billed.items():
        others.append([code(result.stack), f"{code(type_)} {codes(names)}", operation, f"[billed]({BILLED[type_]})"])
    return losses + others


def _variables(step: Step) -> str:
    """The names of environment variables that change. Secret values look equal; the changed paths name them."""
    old, new = (_of(_of(values, "environment"), "variables") for values in (step.old, step.new))
    told = {quoted or plain for path in step.changed for quoted, plain in VARIABLE.findall(path)}
    changed = {name for name in old.keys() & new.keys() if old[name] != new[name]} | (told - (old.keys() ^ new.keys()))
    kinds = {"new": new.keys() - old.keys(), "removed": old.keys() - new.keys(), "changed": changed}
    return "; ".join(f"{kind} {codes(sorted(names))}" for kind, names in kinds.items() if names)


def _of(values: Any, name: str) -> Mapping[str, Any]:
    """A part of a property; empty if the property is unknown or secret."""
    found = values.get(name) if isinstance(values, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _value(value: Any) -> str:
    """A short value that cannot be secret, or `another`."""
    if value is None:
        return "none"
    if value == UNKNOWN:
        return "known later"
    simple = isinstance(value, bool | int | float) or (isinstance(value, str) and value.isidentifier())
    if isinstance(value, list) and all(isinstance(item, str) and item.isidentifier() for item in value):
        return codes(value)
    if isinstance(value, dict) and len(value) == 1:
        return _value(next(iter(value.values())))
    return code(value) if simple else "another"


def _statements(result: StackResult) -> list[str]:
    """The changed policy statements that `grants` does not describe, as JSON."""
    return [
        f"{change} in {code(result.stack)}:\n\n{block(statement)}"
        for step in _policies(result)
        for change, statement in grants.unread(
            str(step.old.get("policy", "")), str(step.new.get("policy", "")), _owner(result)
        )
    ]


def _policies(result: StackResult) -> list[Step]:
    """The changes of repository policies, except deletions that keep the policy in the account."""
    return [step for step in _shown(result) if step.type == POLICY and not _stays(step)]


def _stays(step: Step) -> bool:
    return step.retained and step.operation == "delete"


def _granted(result: StackResult) -> list[str]:
    """The effect of changed repository policies on accounts. Regions with the same effect are not repeated."""
    sentences: dict[str, None] = {}
    for step in _shown(result):
        if step.type == POLICY and _stays(step):
            sentences[f"{code(step.name)} stays in the account as it is, unmanaged"] = None
    for step in _policies(result):
        before, after = str(step.old.get("policy", "")), str(step.new.get("policy", ""))
        for change in grants.changes(before, after, _owner(result)):
            sentences[change] = None
    return list(sentences)


def _pulling(result: StackResult) -> list[tuple[str, ...]]:
    """The functions for which the new policies let Lambda pull."""
    policies = (str(step.new.get("policy", "")) for step in _policies(result))
    return [tuple(row) for policy in policies for row in grants.pulling(policy, _owner(result))]


def _owner(result: StackResult) -> str:
    """The registry's account, whose principals need only their own policies."""
    return str(result.outputs.get("registryId", ""))


def _image(result: StackResult, diff: ContentDiff | None, repository: str) -> str:
    old, new = result.outputs_before, result.outputs
    tags = [str(outputs.get("imageTag") or outputs.get("imageDigest") or "") for outputs in (old, new)]
    if tags[0] == tags[1]:
        return ""
    sources = {"built": "is built by the update", "reused": "is in the repository already"}
    source = sources.get(new.get("imageSource", ""), "was pushed before")
    parts = [f"#### Image of {code(result.stack)}", f"{code(tags[0]) or 'none'} → {code(tags[1])}, which {source}."]
    if diff:
        parts.append(_files(diff, repository))
    return "\n\n".join(parts)


def _files(diff: ContentDiff, repository: str) -> str:
    where = f"{code(diff.context)}, {diff.files} {'file' if diff.files == 1 else 'files'}"
    if not diff.base:
        return f"Built from {where}."
    base = _linked(repository, diff.base)
    running = "which is what runs now" if diff.same_as_running else "which is not what runs now"
    marked = [*(("+", name) for name in diff.added), *(("~", name) for name in diff.changed)]
    marked += [("-", name) for name in diff.removed]
    if not marked:
        return f"Built from {where}. None of them differs from {base}, {running}: options of the build do."
    lines = "\n".join(f"- {mark} {code(name)}" for mark, name in marked)
    return f"Built from {where}. What differs from {base}, {running}:\n\n{lines}"


def _details(result: StackResult) -> list[Part]:
    """All changes of a stack, in one part for each operation."""
    parts = []
    for weight, operation in enumerate(reversed(OPERATIONS)):
        rows = [
            [code(step.type), code(step.name), codes(step.changed)]
            for step in _shown(result)
            if step.operation == operation
        ]
        if rows:
            title = f"{code(result.stack)}: {operation} {len(rows)}"
            text = table(["type", "name", "properties"], rows)
            summary = f"<b>{result.stack}</b>: {operation} {len(rows)}"
            parts.append(Part(f"<details><summary>{summary}</summary>\n\n{text}\n</details>", weight, title))
    return parts[::-1]


def _shown(result: StackResult) -> Sequence[Step]:
    """The changes in a fixed order, without changes that exist only in the state.

    An image resource records where it was built, which differs between machines. Its deletion deletes no image.
    """
    order = {operation: place for place, operation in enumerate(OPERATIONS)}
    steps = [step for step in result.changed if step.type not in (STACK, IMAGE) and not step.type.startswith(PROVIDER)]
    return sorted(steps, key=lambda step: (order.get(step.operation, len(order)), step.type, step.name))


def _fitting(parts: Sequence[Part]) -> str:
    """The parts that fit into a comment. The parts with the lowest weight are left out first."""
    kept, left_out = list(parts), list[str]()
    while True:
        note = f"\n\nLeft out, because a comment holds {LIMIT} characters: {'; '.join(left_out)}." if left_out else ""
        text = "\n\n".join(part.text for part in kept) + note + "\n"
        named = [part for part in kept if part.name]
        if len(text) <= LIMIT or not named:
            return text[:LIMIT]
        least = min(reversed(named), key=lambda part: part.weight)
        kept.remove(least)
        left_out.append(least.name)
