"""What a program that nobody knows may take of the machine, and how it finds the road to the index.

For candidates and for builds alike.
"""

from __future__ import annotations

import os

from governance import sandbox
from governance.truth.workspace import Workspace


def limits(workspace: Workspace) -> sandbox.Limits:
    config = workspace.config
    return sandbox.Limits(
        processes=int(config.number("sandbox.max_processes")),
        memory=int(config.number("sandbox.max_memory_gb") * (1 << 30)),
        disk=int(config.number("sandbox.max_disk_gb") * (1 << 30)),
    )


def proxies(network: sandbox.Network | None) -> dict[str, str]:
    """The gate, for who asks these variables; the operator's own proxy is for the gate alone."""
    if network is None or not network.allowed:
        return {}
    host, port = sandbox.PROXY
    is_near = any(place.startswith(("127.", "localhost:")) for place in network.allowed)
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    given = dict.fromkeys(names, f"http://{host}:{port}")
    given["NO_PROXY"] = "" if is_near else "localhost,127.0.0.1,::1"
    given |= {name.lower(): value for name, value in given.items()}
    own = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or ""
    return {**given, sandbox.PROXY_VARIABLE: own}
