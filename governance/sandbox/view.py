"""What an observed program may see, and what this machine can do about it, as values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Layer:
    """An overlay mounted over `lower`'s own path; `upper` and `work` lie on one filesystem.

    `keep` are places within `lower` that stay what they are, beside the overlay; what is kept is
    read-only, unless it is itself writable or the lower of another layer.
    """

    lower: Path
    upper: Path
    work: Path
    keep: tuple[Path, ...] = ()

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Layer:
        lower, upper, work = (Path(document[name]) for name in ("lower", "upper", "work"))
        return cls(lower, upper, work, tuple(map(Path, document.get("keep", ()))))


@dataclass(frozen=True)
class Network:
    """`folder` receives the sockets of the door and the gate; `allowed` are `host:port`, none for
    no network at all."""

    folder: Path
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    processes: int = 0
    memory: int = 0
    disk: int = 0


@dataclass(frozen=True)
class View:
    """How one program sees the disk, and how its descendants end.

    `scratch` are further layers, over folders that a program may want to write though nothing of
    it is to stay; one that cannot be had is left out, and its folder is read-only then.
    `hidden` are folders and files that look empty.  `strict` is for a program that nobody knows:
    shared memory and message queues of its own, no sockets of others, no system calls that no node
    needs.  `limits` bound what it takes of the machine, in processes and bytes; 0 is none.
    `contacts` is a file that gets a line for each address that is connected to.
    `network`: None is the machine's own; where none of its own can be had, only the ports of what
    is allowed may be connected to, where the kernel knows that.
    `writable`: None is no fence; else the only places that may be written, besides the layers,
    devices and the program's own /proc.  `read_only` holds even without a fence and inside a
    writable place, but for what lies in `open`.  `grace`: seconds between SIGTERM and SIGKILL for
    what the program leaves.
    """

    layer: Layer | None = None
    scratch: tuple[Layer, ...] = ()
    writable: tuple[Path, ...] | None = None
    read_only: tuple[Path, ...] = ()
    open: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    strict: bool = False
    limits: Limits | None = None
    contacts: Path | None = None
    network: Network | None = None
    own_processes: bool = True
    grace: float = 2.0

    @property
    def is_fenced(self) -> bool:
        return self.writable is not None or bool(self.read_only)

    def to_json(self) -> dict[str, Any]:
        document = json.loads(json.dumps(asdict(self), default=str))
        assert isinstance(document, dict)
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> View:
        layer, writable, limits = (document[name] for name in ("layer", "writable", "limits"))
        return cls(
            layer=Layer.from_json(layer) if layer else None,
            scratch=tuple(map(Layer.from_json, document["scratch"])),
            writable=None if writable is None else tuple(map(Path, writable)),
            read_only=tuple(map(Path, document["read_only"])),
            open=tuple(map(Path, document["open"])),
            hidden=tuple(map(Path, document["hidden"])),
            strict=document["strict"],
            limits=None if limits is None else Limits(**limits),
            contacts=Path(document["contacts"]) if document["contacts"] else None,
            network=_network(document["network"]),
            own_processes=document["own_processes"],
            grace=document["grace"],
        )


def _network(document: dict[str, Any] | None) -> Network | None:
    if document is None:
        return None
    return Network(Path(document["folder"]), tuple(document["allowed"]))


@dataclass(frozen=True)
class Support:
    """What was really tried and worked here; each reason is "" where it works.

    `landlock` is the kernel's ABI number, 0 where there is none.  `user_namespace`: the caller
    lacks the right to mount, so its own user namespace had to be used.  `private` is memory and
    message queues of its own, `calls` the filter of system calls, `network` a namespace of its own.
    """

    layer: bool
    layer_reason: str
    read_only_mounts: bool
    read_only_reason: str
    landlock: int
    pid_namespace: bool
    pid_reason: str
    user_namespace: bool
    private: bool = False
    private_reason: str = ""
    calls: bool = False
    calls_reason: str = ""
    network: bool = False
    network_reason: str = ""
