"""Byte code that gov compiled itself, and what a candidate begins with of it.

ComfyUI's first start in a new environment takes two to three times as long as a later one, since
all that it imports is compiled.  gov compiles, from the sealed sources of prod, what earlier runs
imported (a run names modules, it never hands over byte code), keeps it with prod's papers where
nothing that was observed can write, and takes over what the generation before had of the same
files.  Python believes byte code that has the time and size of its source.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import process, scratch, store
from governance.environments import byte_code, generations, interpreter, records
from governance.truth.workspace import Workspace

IMPORTED = "imported.json"
_MARK = ".written-in"
SCRIPT = Path(byte_code.__file__)
_MOST = 50_000
_SECONDS = 120.0
_FEW = 50  # modules that are not worth a second process


def folder(workspace: Workspace, generation: str) -> Path:
    """Of a generation; within it byte code lies below the path of its source."""
    return generations.papers(workspace, generation) / "pycache"


def sound(workspace: Workspace, generation: str) -> Path:
    """Its folder, without what a power loss may have torn."""
    own = folder(workspace, generation)
    empty_if_torn(own)
    return own


def empty_if_torn(own: Path) -> None:
    """Where it was written when the machine went down: an import fails for half a file of byte
    code."""
    try:
        written = (own / _MARK).read_text()
    except OSError:
        return
    if written != _boot():
        store.remove_tree(own)


@contextmanager
def writing(own: Path) -> Iterator[None]:
    """What is written meanwhile counts after a restart of the machine only once it is durable."""
    store.make_folder(own)
    store.write(own / _MARK, _boot().encode())
    try:
        yield
    finally:
        store.sync_filesystem(own)
        (own / _MARK).unlink(missing_ok=True)


def _boot() -> str:
    """Another one after each start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def note(workspace: Workspace, generation: str, seen: Path) -> None:
    """Keep which modules of the environment, and of Python's library, a run imported; `seen` is
    its byte code.  What cannot be kept costs a later start some seconds, no more."""
    own = generations.path(workspace, generation)
    roots = [os.path.realpath(own), *_library(workspace, generation)]
    rows = []
    for source, name in byte_code.sources(str(seen), roots):
        relative = source.removeprefix(f"{own}/")
        rows.append(f"{relative}\t{name}")
    text = json.dumps(sorted(rows)[:_MOST])
    prod = generations.current(workspace)
    for name in dict.fromkeys((generation, *([prod] if prod else []))):
        target = generations.papers(workspace, name) / IMPORTED
        with suppress(OSError):
            # Not made durable: a torn list is as good as none.  Of prod the first will do.
            if name == generation or not target.exists():
                target.write_text(text)


def begin(workspace: Workspace, generation: str, target: Path) -> None:
    """Copy into `target` what is known of the environment that a candidate starts with: byte code
    of the files that it shares with prod.  Whatever fails, the start is only slower."""
    prod = generations.usable_prod(workspace)
    if prod is None:
        return
    try:
        _complete(workspace, prod.name, prod.parent)
        _copy(workspace, prod.name, generation, target)
    except (OSError, GovError):
        store.empty_folder(target)  # half a file would fail an import


def _copy(workspace: Workspace, prod: str, generation: str, target: Path) -> None:
    trusted, source = folder(workspace, prod), generations.path(workspace, prod)
    other = generations.path(workspace, generation)
    for known, place in _for_other(trusted, source, other, target):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(known, place)


def _for_other(trusted: Path, own: Path, other: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """(byte code of `own`, its place for `other`), where the source is the same file."""
    begin = f"{trusted}{own}/"
    for path in all_files(trusted):
        relative = path.removeprefix(begin)
        if relative == path:  # of Python's own library
            yield Path(path), Path(f"{target}{path.removeprefix(str(trusted))}")
        elif own == other or _is_same(*(f"{one}/{source_of(relative)}" for one in (own, other))):
            yield Path(path), Path(f"{target}{other}/{relative}")


def source_of(byte_code: str) -> str:
    """Beside it, in whatever folder both are looked at from."""
    name = byte_code.rpartition("/")[2]
    return f"{byte_code.removesuffix(name)}{name.partition('.')[0]}.py"


def _is_same(one: str, other: str) -> bool:
    """A file that generations share."""
    facts = records.facts_of(one)
    return facts is not None and facts == records.facts_of(other)


def all_files(trusted: Path) -> Iterator[str]:
    for place, _, names in os.walk(trusted):
        yield from (f"{place}/{name}" for name in names if name.endswith(".pyc"))


# --- prod's own -------------------------------------------------------------------------------


def _complete(workspace: Workspace, name: str, parent: str | None) -> None:
    """All that is known to be imported is there: linked from the generation before where the
    source is the same file, else compiled."""
    own, trusted = generations.path(workspace, name), sound(workspace, name)
    wanted = dict(_wanted(workspace, name, parent, trusted))
    if parent is not None:
        earlier = generations.path(workspace, parent)
        _link(wanted, own, earlier, sound(workspace, parent))
    absent = [(source, target) for source, target in wanted.items() if not target.exists()]
    missing = [(source, target) for source, target in absent if Path(source).is_file()]
    if missing:
        with writing(trusted):
            _compile(workspace, name, missing)


def _wanted(
    workspace: Workspace, name: str, parent: str | None, trusted: Path
) -> Iterator[tuple[str, Path]]:
    """(source, place of its byte code) of what runs imported."""
    own = generations.path(workspace, name)
    roots = (f"{own}/", *(f"{root}/" for root in _library(workspace, name)))
    for row in _imported(workspace, name) or (_imported(workspace, parent) if parent else ()):
        relative, _, file = row.partition("\t")
        source = os.path.normpath(own / relative)
        if source.startswith(roots) and "/" not in file and file.endswith(".pyc"):
            yield source, _place(trusted, source, file)


def _place(trusted: Path, source: str, file: str) -> Path:
    return Path(f"{trusted}{source.rpartition('/')[0]}/{file}")


def _imported(workspace: Workspace, name: str) -> list[str]:
    return noted(generations.papers(workspace, name) / IMPORTED)[:_MOST]


def noted(path: Path) -> list[str]:
    """The names in a list that a run left; a list that is none is empty."""
    try:
        rows = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [row for row in rows if isinstance(row, str)] if isinstance(rows, list) else []


def _link(wanted: Mapping[str, Path], own: Path, earlier: Path, before: Path) -> None:
    for source, target in wanted.items():
        then = source.replace(f"{own}/", f"{earlier}/", 1)
        place = _place(before, then, target.name)
        if not target.exists() and place.is_file() and _is_same(source, then):
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):
                os.link(place, target)


def _compile(workspace: Workspace, name: str, pairs: Iterable[tuple[str, Path]]) -> None:
    rows = [(source, str(target)) for source, target in pairs]
    compile_all(generations.python_of(generations.path(workspace, name)), rows)


def compile_all(python: Path, rows: Sequence[Sequence[str]]) -> None:
    """`rows` are (source, target), or (source, target, what tracebacks are to call the source)."""
    workers = min(os.cpu_count() or 1, len(rows) // _FEW + 1)
    with scratch.folder("compile") as place:

        def work(number: int) -> None:
            names = place / f"{number}.json"
            names.write_text(json.dumps(rows[number::workers]))
            argv = [str(python), "-I", "-S", str(SCRIPT), "now", str(names)]
            process.run(argv, env={}, cwd=Path("/"), timeout=_SECONDS)

        process.side_by_side(work, range(workers))


def _library(workspace: Workspace, generation: str) -> list[str]:
    """Python's own library, as the environment's interpreter has it."""
    home = interpreter.configuration(generations.path(workspace, generation)).get("home", "")
    return (
        [os.path.realpath(path) for path in Path(home).parent.glob("lib/python3.*")] if home else []
    )
