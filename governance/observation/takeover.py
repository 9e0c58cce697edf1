"""Two nodes that register one class: ComfyUI serves the one that it loaded last, without a word.

Who serves a class is told by /object_info; who else registers it, by the nodes' source.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from governance import comfyui
from governance.observation.request import Request

Registered = Mapping[str, Collection[str]]
Row = dict[str, str]

CORE = "ComfyUI"
_NODES = "custom_nodes."
_NAMED = 8


def places(request: Request) -> dict[str, Path]:
    """Whose source is to be read: that of all nodes, and ComfyUI's own."""
    folder = comfyui.custom_nodes(request.comfyui_dir)
    own = {f"{CORE}/{path.name}": path for path in comfyui.class_sources(request.comfyui_dir)}
    return {**own, **{name: folder / name for name in request.expected}}


def find(request: Request, classes: Mapping[str, str], registered: Registered) -> list[Row]:
    """Classes that somebody else serves now: {class, by, from}, the owner from before.

    Before is the baseline; without one, what the source of ComfyUI and the governed nodes
    registers, and then only the subjects are blamed.
    """
    known = request.baseline.classes if request.baseline else {}
    owners = {name: _owner(module) for name, module in known.items()}
    return list(_taken(request, classes, registered, owners or _of_source(request, registered)))


def _taken(
    request: Request,
    classes: Mapping[str, str],
    registered: Registered,
    before: Mapping[str, str],
) -> Iterator[Row]:
    is_known = bool(request.baseline and request.baseline.classes)
    subjects = set(map(_plain, request.subjects))
    there = {CORE, *map(_plain, request.expected)}
    for name, module in sorted(classes.items()):
        by = _owner(module)
        old = before.get(name, by)
        if old == by or old not in there or (not is_known and by not in subjects):
            continue
        if old in subjects and not _still_registers(old, name, registered):
            continue  # its new code gave the class away
        yield {"class": name, "by": by, "from": old}


def _still_registers(node: str, name: str, registered: Registered) -> bool:
    """Also where its source does not tell, since the names are computed."""
    own = next((own for key, own in registered.items() if _plain(key) == node), ())
    return not own or name in own


def _of_source(request: Request, registered: Registered) -> dict[str, str]:
    """class -> owner; ComfyUI's own cannot be registered by a node once more."""
    others = [name for name in request.governed if name not in request.subjects]
    nodes = {name: _plain(other) for other in others for name in registered.get(other, ())}
    own = {
        name: CORE for key in registered if key.startswith(f"{CORE}/") for name in registered[key]
    }
    return {**nodes, **own}


def shadowed(
    loaded: Collection[str], classes: Mapping[str, str], registered: Registered
) -> list[Row]:
    """Classes of the subjects that loaded, of which another's is served: {class, by, from}."""
    return [
        {"class": name, "by": by, "from": _plain(subject)}
        for subject in loaded
        for name in sorted(registered.get(subject, ()))
        if (by := _owner(classes.get(name, _NODES + subject))) != _plain(subject)
    ]


def sentence(rows: Collection[Row]) -> str | None:
    """Both nodes and the classes, in a few words."""
    told = [
        f"{by} also registers {names} and takes {'it' if count == 1 else 'them'} over from {old}"
        for by, old, names, count in _pairs(rows)
    ]
    return "; ".join(told) or None


def culprits(rows: Collection[Row], subjects: Collection[str]) -> dict[str, str]:
    """The subjects that took a class, each with what it took."""
    found = {name: sentence([r for r in rows if r["by"] == _plain(name)]) for name in subjects}
    return {name: told for name, told in found.items() if told}


def robbed(rows: Collection[Row], known: Collection[str]) -> list[str]:
    """Nodes that lost a class and are not named as broken yet."""
    plain = {CORE, *map(_plain, known)}
    return sorted({row["from"] for row in rows} - plain)


def shadow_sentences(rows: Collection[Row]) -> list[str]:
    return [
        f"{names} {'is' if count == 1 else 'are'} also registered by {by}; "
        f"{'that' if count == 1 else 'those'} of {old} {'is' if count == 1 else 'are'} not served"
        for by, old, names, count in _pairs(rows)
    ]


def _pairs(rows: Collection[Row]) -> Iterator[tuple[str, str, str, int]]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        found.setdefault((row["by"], row["from"]), []).append(row["class"])
    for (by, old), names in found.items():
        yield by, old, _list(names), len(names)


def _owner(module: str) -> str:
    """The node, or ComfyUI for its own modules."""
    return _plain(module.removeprefix(_NODES)) if module.startswith(_NODES) else CORE


def _plain(name: str) -> str:
    """A node of a single file is named with or without its ending."""
    return name.removesuffix(".py")


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
