"""A view, cut down to what this machine supports: what `enter` is told to do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from governance.base.errors import GovError
from governance.sandbox import landlock
from governance.sandbox.limits import Limits
from governance.sandbox.network import Network
from governance.sandbox.view import Layer, Support, View

ENTER = Path(__file__).with_name("enter.py")


class LayerPlan(TypedDict):
    lower: str
    upper: str
    work: str
    keep: list[str]
    needed: bool


class Plan(TypedDict):
    """All paths are absolute; a layer's `upper` and `work` as named, all others real.

    `folder`: where the program begins, "" for the caller's own; it may exist in the layers only.
    `seal` is by mounts; `landlock` is an ABI, 0 is none.  `ports` are those that may be connected
    to, where the program has no network of its own.
    """

    folder: str

    layers: list[LayerPlan]
    writable: list[str] | None
    read_only: list[str]
    open: list[str]
    hidden: list[str]
    own_memory: bool
    calls: bool
    limits: Limits | None
    contacts: str
    network: Network | None
    ports: list[int] | None
    fence: bool
    seal: bool
    landlock: int
    pid_namespace: bool
    user_namespace: bool
    grace: float


def plan(view: View, support: Support, folder: Path | None = None) -> Plan:
    """Raises GovError where the view needs a layer and none can be had."""
    if view.layer is not None and not support.layer:
        raise GovError(
            f"no scratch layer can be mounted over {view.layer.lower}: {support.layer_reason}",
            hint="use a copy of the environment instead of a layer",
            code="no_layer",
        )
    layers = [_real_layer(layer, needed=False) for layer in view.scratch if support.layer]
    layers += [_real_layer(view.layer, needed=True)] if view.layer is not None else []
    layers.sort(key=lambda layer: len(layer["lower"]))  # what lies above would hide what is within
    seal = view.is_fenced and support.read_only_mounts
    own_processes = view.own_processes and support.pid_namespace
    own_memory = view.strict and seal and support.private
    network = _network(view) if support.network else None
    return Plan(
        folder=os.path.abspath(folder) if folder is not None else "",  # noqa: PTH100
        layers=layers,
        writable=None if view.writable is None else [_real(path) for path in view.writable],
        read_only=[_real(path) for path in view.read_only],
        open=[_real(path) for path in view.open],
        hidden=[_real(path) for path in view.hidden],
        own_memory=own_memory,
        calls=view.strict and support.calls,
        limits=_limits(view),
        contacts=_real(view.contacts) if view.contacts is not None and support.calls else "",
        network=network,
        ports=_ports(view) if closes_ports(view, support) else None,
        fence=view.is_fenced,
        seal=seal,
        landlock=support.landlock if _uses_landlock(view, seal) else 0,
        pid_namespace=own_processes,
        user_namespace=support.user_namespace
        and (seal or own_processes or own_memory or bool(layers) or network is not None),
        grace=view.grace,
    )


def wrap(
    view: View,
    support: Support,
    argv: Sequence[str],
    python: str = sys.executable,
    *,
    folder: Path | None = None,
) -> list[str]:
    """An argv that runs `argv` inside `view`, as far as `support` goes.

    Environment, standard streams and, without `folder`, the working directory are inherited.  The
    exit is the program's own, by exit code or by signal; 125 with one line on stderr: it was never
    started.
    """
    made = json.dumps(plan(view, support, folder))
    return [python, "-I", "-S", str(ENTER), made, "--", *argv]


def isolation(view: View, support: Support) -> str:
    """How writes are fenced: "full" (mounts and Landlock), "mounts", "landlock" or "none"."""
    made = plan(view, support)
    if made["seal"]:
        return "full" if made["landlock"] else "mounts"
    return "landlock" if made["landlock"] else "none"


def _limits(view: View) -> Limits | None:
    if view.limits is None:
        return None
    layers = [layer for layer in (view.layer, *view.scratch) if layer is not None]
    folders = {_real(path) for path in (*(view.writable or ()), *(one.upper for one in layers))}
    tops = [path for path in folders if not any(path.startswith(f"{o}/") for o in folders)]
    given = view.limits
    return Limits(
        processes=given.processes, memory=given.memory, disk=given.disk, folders=sorted(tops)
    )


def _network(view: View) -> Network | None:
    given = view.network
    if given is None:
        return None
    return Network(folder=_real(given.folder), allowed=list(given.allowed))


def closes_ports(view: View, support: Support) -> bool:
    """Whether the view's network is closed by Landlock, which knows ports and no hosts."""
    can = support.landlock >= landlock.KNOWS_PORTS and view.writable is not None
    return view.network is not None and not support.network and can


def _ports(view: View) -> list[int]:
    allowed = view.network.allowed if view.network is not None else ()
    found = (place.rpartition(":")[2] for place in allowed)
    return sorted({int(port) for port in found if port.isdigit()})


def _uses_landlock(view: View, seal: bool) -> bool:
    # It only knows what is allowed.  "All but these" is said better by mounts, where there are.
    return view.writable is not None or (view.is_fenced and not seal)


def _real_layer(layer: Layer, *, needed: bool) -> LayerPlan:
    """Upper and work as they are named: a link that leads to them is refused, never followed."""
    upper, work = (os.path.abspath(path) for path in (layer.upper, layer.work))  # noqa: PTH100
    keep = [_real(path) for path in layer.keep]
    return LayerPlan(lower=_real(layer.lower), upper=upper, work=work, keep=keep, needed=needed)


def _real(path: Path) -> str:
    return os.path.realpath(path)
