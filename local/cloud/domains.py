"""Custom domain names of APIs: which API a call of one reaches.

https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-custom-domains.html
"""

from ministack.core.responses import request_scope
from ministack.services import apigateway_v1


def mapped(host: str, path: str) -> str | None:
    """The path of the API that a domain name is mapped to, or None. REST and HTTP APIs share their domain names."""
    name, _, _ = host.partition(":")
    for (account, region, domain), _ in apigateway_v1._domain_names.all_items():
        if domain == name:
            with request_scope(account, region):
                found = apigateway_v1.resolve_base_path_mapping(name, path)
            return f"/_aws/execute-api/{found[0]}/{found[1]}{found[2]}" if found else None
    return None


def exists(host: str) -> bool:
    """Whether an account has this domain name."""
    return any(domain == host for (_, _, domain), _ in apigateway_v1._domain_names.all_items())
