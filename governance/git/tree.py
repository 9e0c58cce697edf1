"""What a commit would put on the disk, read before anything is put there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from governance.base.errors import Refused
from governance.git.call import Limits, run

MAX_FILES = 100_000
_MAX_LINK_BYTES = 4096
_MAX_HOPS = 40  # as the kernel's
_LINK, _SUBMODULE = "120000", "160000"


@dataclass(frozen=True)
class Entry:
    """`size` is in bytes, 0 for a submodule."""

    mode: str
    object: str
    size: int
    path: str


def entries(commit: str, env: Mapping[str, str], limits: Limits) -> list[Entry]:
    """All files of the commit; Refused where there are more than anybody needs."""
    listed = run(["ls-tree", "-r", "-l", "-z", "--full-tree", commit], env, limits=limits)
    lines = [line for line in listed.text().split("\0") if line]
    if not listed.ok or len(lines) > MAX_FILES:
        raise Refused(
            f"the files of commit {commit[:12]} cannot be listed or are more than {MAX_FILES}",
            hint="look at the repository; no ComfyUI node needs that many",
            code="too_large",
        )
    return [_entry(line) for line in lines]


def refuse_leading_outside(found: Sequence[Entry], env: Mapping[str, str], limits: Limits) -> None:
    """Refused (code "policy") where a link of the repository leads out of it or into `.git`."""
    made = [entry for entry in found if entry.mode == _LINK]
    # A target that no link can hold is not read; taking it for an absolute one refuses it.
    short = [entry.object for entry in made if entry.size <= _MAX_LINK_BYTES]
    targets = _contents(short, env, limits)
    links = {entry.path: os.fsdecode(targets.get(entry.object, b"/")) for entry in made}
    outside = sorted(path for path in links if leads_outside(path, links))
    if outside:
        shown = ", ".join(f"{path!a} -> {links[path]!a}" for path in outside[:5])
        raise Refused(
            f"the repository holds links that lead outside of it: {shown}",
            hint="ask its author to put the files themselves there",
            code="policy",
            facts={"links": [ascii(path) for path in outside]},
        )


def leads_outside(path: str, links: Mapping[str, str]) -> bool:
    """Follow the link `path` through the other `links` (path -> target), as the kernel would."""
    at = path.split("/")[:-1]
    ahead = links[path].split("/")
    hops = 0
    if links[path].startswith("/"):
        return True
    while ahead:
        step = ahead.pop(0)
        if step == ".." and not at:
            return True
        if step == "..":
            at.pop()
        elif step not in ("", "."):
            at.append(step)
            target = links.get("/".join(at))
            if at[0] == ".git" or hops > _MAX_HOPS or (target or "").startswith("/"):
                return True
            if target is not None:
                hops += 1
                at.pop()
                ahead = target.split("/") + ahead
    return False


def notes(found: Sequence[Entry], env: Mapping[str, str], limits: Limits) -> list[str]:
    """What a plain clone of this commit leaves out, in sentences."""
    said = []
    submodules = [entry.path for entry in found if entry.mode == _SUBMODULE]
    if submodules:
        said.append(f"submodules are not fetched: {', '.join(map(ascii, submodules[:5]))}")
    attributes = [entry.object for entry in found if _is_attributes(entry)]
    if any(b"filter=lfs" in text for text in _contents(attributes, env, limits).values()):
        said.append("files kept by Git LFS stay pointers; fetch them with `git lfs pull`")
    return said


def _entry(line: str) -> Entry:
    facts, _, path = line.partition("\t")
    mode, _, name, size = facts.split()
    return Entry(mode, name, int(size) if size.isdigit() else 0, path)


def _is_attributes(entry: Entry) -> bool:
    return entry.path.rpartition("/")[2] == ".gitattributes" and entry.size <= _MAX_LINK_BYTES * 16


def _contents(objects: Sequence[str], env: Mapping[str, str], limits: Limits) -> dict[str, bytes]:
    """Object name -> bytes; git answers each with `<name> <type> <size>`, the bytes, a newline."""
    given = "".join(f"{name}\n" for name in objects).encode()
    rest = run(["cat-file", "--batch"], env, limits=limits, given=given).stdout
    found = {}
    while rest:
        head, _, rest = rest.partition(b"\n")
        name, _, size = head.decode().split()
        found[name], rest = rest[: int(size)], rest[int(size) + 1 :]
    return found
