"""Addresses that programs connected to which the recorder does not see, since they are no Python.

The fence's own record (sandbox/contacts.py) has each address with the program's words; whose
program it was is told by the recorder, which saw it being started.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from governance.boundaries import store

Row = dict[str, Any]

KERNEL = "the kernel"
_MOST = 500
_NAMES = 53


def unseen(file: Path, hosts: Sequence[Mapping[str, Any]], programs: Sequence[Row]) -> list[Row]:
    """Rows as those of `hosts`, of contacts that are not in it: {node, at, phase, host, port, how,
    argv, times}."""
    told = {(row.get("host"), row.get("port")) for row in hosts}
    told |= {(server, _NAMES) for server in _name_servers()}
    found: dict[tuple[str, int, str], Row] = {}
    for row in _rows(file):
        host, port, argv = str(row["host"]), int(row["port"]), [str(word) for word in row["argv"]]
        if (host, port) in told:
            continue
        starter = next((p for p in programs if _same(p.get("argv", ()), argv)), {})
        made = {
            "node": starter.get("node"),
            "at": starter.get("at"),
            "phase": starter.get("phase"),
            "host": host,
            "port": port,
            "how": [KERNEL],
            "argv": argv,
            "times": 0,
        }
        found.setdefault((host, port, str(starter.get("at"))), made)["times"] += 1
    return list(found.values())[:_MOST]


def _rows(file: Path) -> Iterator[Mapping[str, Any]]:
    try:
        lines = store.read_bytes(file).splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue  # cut off when it was ended
        if isinstance(row, dict) and {"host", "port", "argv"} <= row.keys():
            yield row


def _same(started: Sequence[str], runs: Sequence[str]) -> bool:
    """`runs` may be what a shell or `env` made of it: the last words count."""
    words = list(map(str, started))
    line = " ".join(words)
    return bool(words) and (words[1:] == list(runs)[1:] or " ".join(runs) in line)


def _name_servers() -> list[str]:
    """That names are looked up is no news."""
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except OSError:
        return []
    return [line.split()[1] for line in lines if line.startswith("nameserver ")]
