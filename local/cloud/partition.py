"""AWS's partitions: MiniStack supports only `aws`, so ARNs and host names are translated in requests and responses.

The Region of a request selects its partition. The two names of a translation are swapped, so that a name of the wrong
partition stays wrong for MiniStack, and is returned as it was given.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import botocore.session
from ministack.core.responses import get_region

from local.cloud.asgi import App, Receive, Scope, Send, giving, header, read, rewriting, with_headers

# As the SDK's table has them: https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json
_TABLE: list[dict[str, Any]] = (
    botocore.session.get_session().get_component("data_loader").load_data("partitions")["partitions"]
)
SUFFIXES = "|".join(sorted({re.escape(one["outputs"]["dnsSuffix"]) for one in _TABLE}, reverse=True))
KNOWN = "aws"
SUFFIX = "amazonaws.com"
# Of these the body is the function's own.
INVOCATIONS = re.compile(r".*/(invocations|invoke-async|response-streaming-invocations)/?")
ARN = re.compile(rb"arn(?::|%3[aA])(aws-[a-z-]+)(?::|%3[aA])")


@dataclass(frozen=True)
class Partition:
    """A partition.

    Attributes:
        name: as ARNs have it, such as `aws-cn`.
        suffix: that of its host names, such as `amazonaws.com.cn`.
    """

    name: str
    suffix: str

    def swap(self, text: bytes) -> bytes:
        """A text with the names of this partition and of the one that MiniStack knows in each other's places."""
        if self.name == KNOWN:
            return text
        names = {KNOWN.encode(): self.name.encode(), self.name.encode(): KNOWN.encode()}
        text = re.sub(
            rb"\barn(:|%3[aA])(" + b"|".join(sorted(names, reverse=True)) + rb")(?=:|%3[aA])",
            lambda match: b"arn" + match[1] + names[match[2]], text,
        )  # fmt: skip
        suffixes = {SUFFIX.encode(): self.suffix.encode(), self.suffix.encode(): SUFFIX.encode()}
        return re.sub(
            rb"(\.(?:ecr|execute-api)\.[a-z0-9-]+\.)(" + b"|".join(map(re.escape, sorted(suffixes, reverse=True)))
            + rb")(?![.\w-])",
            lambda match: match[1] + suffixes[match[2]], text,
        )  # fmt: skip

    def text(self, text: str) -> str:
        """The same of a text."""
        return self.swap(text.encode()).decode()


@cache
def of(region: str) -> Partition:
    """The partition of a Region."""
    found = (one["outputs"] for one in _TABLE if re.match(one["regionRegex"], region))
    outputs = next(found, {"name": KNOWN, "dnsSuffix": SUFFIX})
    return Partition(outputs["name"], outputs["dnsSuffix"])


def named(text: bytes) -> Partition:
    """The partition that a call without a signature names by an ARN."""
    match = ARN.search(text)
    name = match[1].decode() if match else KNOWN
    outputs = (one["outputs"] for one in _TABLE if one["outputs"]["name"] == name)
    return next((Partition(name, one["dnsSuffix"]) for one in outputs), Partition(KNOWN, SUFFIX))


async def translate(inner: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass an API call on in the words that MiniStack knows, and its answer back in the caller's."""
    unsigned = scope["caller"] is None
    body = await read(receive) if unsigned else b""
    partition = named(body) if unsigned else of(get_region())
    if partition.name == KNOWN:
        await inner(scope, giving(body, receive) if unsigned else receive, send)
        return
    path = partition.swap(scope["path"].encode()).decode()
    changed = {name: partition.swap(scope.get(name) or b"") for name in ("raw_path", "query_string")}
    scope = {**scope, **changed, "path": path}
    if INVOCATIONS.fullmatch(path):
        await inner(scope, receive, send)
        return
    body = partition.swap(body or await read(receive))
    if header(scope, "content-length"):
        scope = with_headers(scope, content_length=str(len(body)).encode())
    await inner(scope, giving(body, receive), rewriting(send, partition.swap))
