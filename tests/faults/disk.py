"""What a power loss may leave: a file system that keeps what was synced and loses what it likes.

The calls of a real command (strace) become effects: an entry of a folder set or removed (a rename
is one effect), bytes appended to a file.  Until its file or folder is synced an effect may be lost
alone, in any combination with others, and bytes may be torn.  Stricter than any journal: a synced
file does not bring its name along, nor a folder its parents.
"""

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_CALL = re.compile(r"^([a-z0-9]+)\((.*)\)\s+= (-?\d+)(?:<.*>)?(?: .*)?$", re.DOTALL)
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OPENED = re.compile(r"^\d+<([^>]*)>")
CALLS = (
    "openat,write,rename,renameat,renameat2,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,"
    "fsync,fdatasync,syncfs,ftruncate"
)

Entry = tuple[int, str, int | None]
Image = dict[str, bytes | str | None]


@dataclass(frozen=True)
class Effect:
    """Entries set (None: removed), or bytes appended to file `ino`; `call` is its place in time."""

    call: int
    entries: tuple[Entry, ...] = ()
    ino: int = -1
    data: bytes = b""


@dataclass(frozen=True)
class Sync:
    """What becomes durable: a file's bytes or a folder's entries; everything where ino is None."""

    call: int
    ino: int | None
    place: str


@dataclass
class Tree:
    """Inodes: a dict is a folder, bytes a file, a str a link."""

    inodes: dict[int, dict[str, int] | bytes | str] = field(default_factory=lambda: {0: {}})

    def copy(self) -> "Tree":
        return Tree({i: dict(v) if isinstance(v, dict) else v for i, v in self.inodes.items()})

    def new(self, value) -> int:
        ino = len(self.inodes)
        self.inodes[ino] = value
        return ino

    def find(self, parts: tuple[str, ...]) -> int | None:
        ino = 0
        for part in parts:
            folder = self.inodes.get(ino)
            if not isinstance(folder, dict) or part not in folder:
                return None
            ino = folder[part]
        return ino

    def put(self, parts: tuple[str, ...], value) -> int:
        """Set a path, its folders made as needed."""
        ino = 0
        for part in parts[:-1]:
            folder = self.inodes[ino]
            ino = folder[part] if part in folder else folder.setdefault(part, self.new({}))
        made = self.new(value)
        self.inodes[ino][parts[-1]] = made
        return made

    def apply(self, effect: Effect, torn: float = 1.0) -> None:
        for folder, name, ino in effect.entries:
            entries = self.inodes[folder]
            if ino is None:
                entries.pop(name, None)
            else:
                entries[name] = ino
        if effect.data:
            self.inodes[effect.ino] += effect.data[: int(len(effect.data) * torn)]

    def image(self) -> Image:
        """Path to bytes, link target, or None for a folder."""
        found: Image = {}
        stack: list[tuple[str, int]] = [("", 0)]
        while stack:
            path, ino = stack.pop()
            value = self.inodes[ino]
            if isinstance(value, dict):
                found[path] = None
                stack += [(f"{path}/{name}", child) for name, child in value.items()]
            else:
                found[path] = value
        return found


class Story:
    """The effects and syncs of one command, in order, over the tree that it began with."""

    def __init__(self, before: Tree, place: Path, view) -> None:
        """`view.made_by_children` yields, for a path made, the files that a child puts there, and
        whether at once or after the next sync."""
        self.before = before
        self.place = str(place)
        self.view = view
        self.now = before.copy()
        self.steps: list[Effect | Sync] = []
        self.soon: list[tuple[tuple[str, ...], bytes]] = []

    def read(self, trace: str) -> "Story":
        for number, line in enumerate(trace.splitlines()):
            match = _CALL.match(line)
            if match and not match[3].startswith("-"):
                self._call(number, match[1], match[2], line)
        return self

    def _parts(self, path: str) -> tuple[str, ...] | None:
        if not path.startswith(self.place + "/"):
            return None
        parts = tuple(path[len(self.place) + 1 :].split("/"))
        return parts if self.view.is_watched(parts) else None

    def _call(self, number: int, name: str, rest: str, line: str) -> None:
        texts = [_unescaped(text) for text in _TEXT.findall(rest)]
        paths = [text.decode(errors="replace") for text in texts]
        opened = _OPENED.match(rest)
        if name in ("fsync", "fdatasync"):
            self._sync(number, opened[1])
        elif name == "syncfs":
            place = opened[1].removeprefix(self.place + "/")
            self._synced(Sync(number, None, self.view.sync_of_all(place)))
        elif name == "write" and opened:
            self._write(number, opened[1], texts[0] if texts else b"")
        elif name == "openat" and "O_CREAT" in rest:
            self._create(number, line.rpartition("<")[2].rstrip(">\n"), "O_TRUNC" in rest)
        elif name == "rename":
            self._rename(number, *paths)
        elif name == "symlink":
            self._make(number, paths[1], paths[0])
        elif name == "mkdir":
            self._make(number, paths[0], {})
        elif name == "unlinkat":
            self._remove(number, f"{opened[1]}/{paths[0]}" if opened else paths[0])
        elif name in ("unlink", "rmdir"):
            self._remove(number, paths[0])

    def _synced(self, sync: Sync) -> None:
        """A child starts only after what was synced before it; it writes, and syncs nothing."""
        self.steps.append(sync)
        soon, self.soon = self.soon, []
        for below, data in soon:
            self._child_made(sync.call, below, data)

    def _do(self, effect: Effect) -> None:
        self.now.apply(effect)
        self.steps.append(effect)

    def _sync(self, number: int, path: str) -> None:
        parts = self._parts(path)
        ino = self.now.find(parts) if parts else None
        if ino is not None:
            self._synced(Sync(number, ino, "/".join(parts)))

    def _write(self, number: int, path: str, data: bytes) -> None:
        parts = self._parts(path)
        ino = self.now.find(parts) if parts else None
        if ino is not None:
            self._do(Effect(number, ino=ino, data=data))

    def _create(self, number: int, path: str, truncates: bool) -> None:
        parts = self._parts(path)
        if parts and (truncates or self.now.find(parts) is None):
            self._make(number, path, b"")

    def _make(self, number: int, path: str, value) -> None:
        parts = self._parts(path)
        if not parts:
            return
        folder = self.now.find(parts[:-1])
        ino = self.now.new(value)
        self.before.inodes[ino] = {} if isinstance(value, dict) else value
        self._do(Effect(number, ((folder, parts[-1], ino),)))
        for below, data, at_once in self.view.made_by_children(parts):
            if at_once:
                self._child_made(number, below, data)
            else:
                self.soon.append((below, data))

    def _child_made(self, number: int, parts: tuple[str, ...], data: bytes) -> None:
        if self.now.find(parts[:-1]) is None:
            self._make(number, f"{self.place}/{'/'.join(parts[:-1])}", {})
        self._make(number, f"{self.place}/{'/'.join(parts)}", b"")
        self._do(Effect(number, ino=self.now.find(parts), data=data))

    def _rename(self, number: int, source: str, target: str) -> None:
        old, new = self._parts(source), self._parts(target)
        if not old or not new:
            return
        from_folder, to_folder = self.now.find(old[:-1]), self.now.find(new[:-1])
        self._do(Effect(number, ((to_folder, new[-1], self.now.find(old)),
                                 (from_folder, old[-1], None))))  # fmt: skip

    def _remove(self, number: int, path: str) -> None:
        parts = self._parts(path)
        if parts and self.now.find(parts) is not None:
            self._do(Effect(number, ((self.now.find(parts[:-1]), parts[-1], None),)))

    # --- images -----------------------------------------------------------------------------

    def places(self) -> list[str]:
        """What is synced, without what chance put into the names."""
        return list(dict.fromkeys(plain(step.place) for step in self.steps if _is_sync(step)))

    def without(self, place: str) -> "Story":
        """The same story, its syncs of `place` left out."""
        told = Story(self.before, Path(self.place), self.view)
        told.now = self.now
        told.steps = [
            step for step in self.steps if not (_is_sync(step) and plain(step.place) == place)
        ]
        return told

    def crashes(
        self, most: int, seed: int, *, only_end: bool = False
    ) -> Iterator[tuple[bool, Tree]]:
        """Every image after every step, or after the last alone, at most `most` a step; and whether
        the story was over."""
        chance = random.Random(seed)
        durable, pending = self.before.copy(), []
        for at, step in enumerate(self.steps):
            if isinstance(step, Sync):
                kept = [effect for effect in pending if not _covers(step, effect)]
                for effect in pending:
                    if _covers(step, effect):
                        durable.apply(effect)
                pending = kept
            else:
                pending.append(step)
            over = at == len(self.steps) - 1
            if only_end and not over:
                continue
            for chosen in _choices(pending, most, chance):
                tree = durable.copy()
                for effect, torn in chosen:
                    tree.apply(effect, torn)
                yield over, tree


def _choices(pending: list[Effect], most: int, chance: random.Random):
    """Combinations of what survives; each survivor that is bytes may be torn."""
    size = len(pending)
    if 2**size <= most:
        masks: list[tuple[bool, ...]] = list(itertools.product((False, True), repeat=size))
    else:
        prefixes = [tuple(at < kept for at in range(size)) for kept in range(size + 1)]
        lost = [tuple(at != one for at in range(size)) for one in range(size)]
        alone = [tuple(at == one for at in range(size)) for one in range(size)]
        masks = [*prefixes, *lost, *alone]
        while len(masks) < most:
            masks.append(tuple(chance.random() < 0.5 for _ in range(size)))
    for mask in masks:
        survivors = [effect for effect, kept in zip(pending, mask, strict=True) if kept]
        yield [(effect, 1.0) for effect in survivors]
        for torn in (0.0, 0.5) if any(effect.data for effect in survivors) else ():
            yield [(effect, torn if effect.data else 1.0) for effect in survivors]


def _covers(sync: Sync, effect: Effect) -> bool:
    if sync.ino is None or (effect.data and effect.ino == sync.ino):
        return True
    # A rename across folders is one act; what lasts is where it leads to.
    return bool(effect.entries) and effect.entries[0][0] == sync.ino


def _is_sync(step: Effect | Sync) -> bool:
    return isinstance(step, Sync)


def plain(place: str) -> str:
    place = re.sub(r"-[0-9a-f]{8}\b", "", place)
    place = re.sub(r"[0-9]{8}T[0-9]{6}Z(-snap)?(-[0-9a-f]{6})?", "ID", place)
    return re.sub(r"[0-9a-f]{12}-[0-9a-f]{4}", "GEN", place)


def _unescaped(text: str) -> bytes:
    return text.encode("latin-1", "replace").decode("unicode_escape").encode("latin-1")
