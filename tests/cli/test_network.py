"""The network of observed programs is a policy, and what was in force is told."""

import socket

import pytest

CALLS = """
import socket, sys
try:
    socket.create_connection(("127.0.0.1", {port}), 2)
    print("SERVED", file=sys.stderr)
except OSError:
    print("CLOSED", file=sys.stderr)
NODE_CLASS_MAPPINGS = {{}}
"""


@pytest.mark.privileged
@pytest.mark.parametrize(("policy", "says"), [("record", "SERVED"), ("none", "CLOSED")])
def test_policy_decides_whom_a_node_reaches(settled, policy, says):
    site = settled.site
    path = site.root / "config.toml"
    path.write_text(path.read_text().replace('network = "record"', f'network = "{policy}"'))
    with socket.create_server(("127.0.0.1", 0)) as server:
        name = f"calls-{policy}"
        site.world.add(name, {"__init__.py": CALLS.format(port=server.getsockname()[1])})
        site.add(name)
        site.gov("tx", "run", name).ok()
    data = site.gov("tx", "inspect", "last", "--json").data
    seen = data["observation"]
    if seen["network"] == "open":
        pytest.skip("neither a namespace nor a filter can be had here")
    assert (seen["network"], seen["ready"]) == (policy, True)
    assert says in (site.root / data["logs"]["stderr"]).read_text()
