"""Nodes by their ids and authors, compared with the lists of policy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from governance.supply import rules as policy
from governance.supply.rows import Row, row
from governance.supply.rules import Rules

LOCAL = "local"
REGISTRY = "registry"
_SCP_LIKE = re.compile(r"(?:[^/@:]*@)?([^/:]+):(?!/)(.*)")


def of_url(url: str) -> str:
    """`github.com/cubiq` of a repository's URL; `local` of a folder of this machine."""
    scp_like = _SCP_LIKE.fullmatch(url) if "://" not in url else None
    if scp_like:
        host, path = scp_like[1], scp_like[2]
    else:
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path
    if not host:
        return LOCAL
    owner = path.strip("/").rpartition("/")[0]
    return f"{host}/{owner}".rstrip("/").lower()


def of_node(git_url: str, registry: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(who it surely comes from, whom it names besides).

    What the Comfy Registry publishes is its publisher's; the repository that it names was typed
    by the publisher and proves nothing, so it counts against a node and never for it.
    """
    if git_url:
        return [of_url(git_url)], []
    if not registry.get("id"):
        return [LOCAL], []
    named = [of_url(str(registry["repository"]))] if registry.get("repository") else []
    publisher = registry.get("publisher")
    return ([f"{REGISTRY}/{publisher}"] if publisher else []), named


def look(rules: Rules, node: str, git_url: str, registry: Mapping[str, Any]) -> list[Row]:
    """What the lists say of a node, its author and its id at the registry."""
    surely, named = of_node(git_url, registry)
    ids = [node, *filter(None, [str(registry.get("id", ""))])]
    return [
        *_listed(rules, policy.NODE, node, ids, ids, "nodes", f"the node {node}"),
        *_listed(rules, policy.AUTHOR, node, surely, named, "authors", _told(node, surely)),
    ]


def _told(node: str, surely: Sequence[str]) -> str:
    return f"{node} is of {surely[0]}, which" if surely else f"{node} has no known publisher, which"


def _listed(
    rules: Rules,
    kind: str,
    node: str,
    surely: Sequence[str],
    named: Sequence[str],
    key: str,
    what: str,
) -> list[Row]:
    blocked = rules.blocked_nodes if key == "nodes" else rules.blocked_authors
    allowed = rules.allowed_nodes if key == "nodes" else rules.allowed_authors
    item = policy.matching([*surely, *named], blocked)
    if item:
        why = f"{what} is blocked by {item!r} in policy.blocked_{key}"
    elif allowed and not policy.matching(surely, allowed):
        why = f"{what} is not in policy.allowed_{key}"
    else:
        return []
    return [row(rules, kind, node, "", why)]
