"""The code of a change: what lies on the disk, what is to lie there, and the files between.

New code is staged in the transaction's work folder.  A candidate sees it in its own layer; the
real folders move only with the redo record of the commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance import git
from governance.base.errors import GovError, Refused
from governance.boundaries import process, store
from governance.changes.draft import COMFYUI, Draft, Target
from governance.changes.staging import Stages
from governance.code import capture, head, moves
from governance.code.capture import State
from governance.code.moves import FileMove
from governance.code.repository import Repository
from governance.environments.node_code import Place
from governance.truth import inventory, redo, registry
from governance.truth.documents import Plugin
from governance.truth.workspace import Workspace


def repository(workspace: Workspace, place: str) -> Repository:
    """The workspace's own repository of a node's code, or of ComfyUI's."""
    return Repository(workspace.code / f"{place}.git")


def folder(workspace: Workspace, place: str, plugins: Iterable[Plugin]) -> Path:
    """Where the code of a node, or of ComfyUI, belongs."""
    if place == COMFYUI:
        return workspace.comfyui_dir
    return registry.place(workspace, registry.find(list(plugins), place))


def state(workspace: Workspace, plugin: Plugin) -> State | None:
    """The node's code as it lies on the disk, taken into its repository; None where it is gone."""
    path = whereabouts(workspace, plugin)
    if path is None:
        return None
    return capture.capture(repository(workspace, plugin.id), path, since=plugin.code)


def whereabouts(workspace: Workspace, plugin: Plugin) -> Path | None:
    """Where the node's folder lies now: in its place, disabled, or kept since it was purged."""
    found = inventory.locate(workspace, plugin)
    if found.state != inventory.MISSING:
        return found.path
    kept = [p for p in inventory.kept(workspace) if _is_kept_of(plugin, p)]
    return kept[-1] if kept else None


def _is_kept_of(plugin: Plugin, path: Path) -> bool:
    """`kept-<id>-<time>`; an id may hold dashes too."""
    return path.name.removeprefix("kept-").rpartition("-")[0] == plugin.id


def state_of_comfyui(workspace: Workspace) -> State | None:
    """None where ComfyUI is no git checkout: its folder holds models and other people's data."""
    checkout = workspace.comfyui_dir
    if not git.is_repository(checkout) or git.head(checkout) is None:
        return None
    return capture.capture(repository(workspace, COMFYUI), checkout)


def states(workspace: Workspace, plugins: Iterable[Plugin]) -> dict[str, State | None]:
    """Of all these nodes and of ComfyUI, side by side."""
    asked: dict[str, Plugin | None] = {COMFYUI: None, **{one.id: one for one in plugins}}

    def found(plugin: Plugin | None) -> State | None:
        return state(workspace, plugin) if plugin else state_of_comfyui(workspace)

    return dict(zip(asked, process.side_by_side(found, asked.values()), strict=True))


def lying(
    workspace: Workspace,
    plugins: Iterable[Plugin],
    known: Mapping[str, State | None],
    *,
    comfyui: bool = True,
) -> Iterator[Place]:
    """Code of nodes, and of ComfyUI, that is loaded from where it lies; a single file is not worth
    its byte code."""
    if comfyui and (own := known.get(COMFYUI)) is not None:
        path = repository(workspace, COMFYUI).path
        apart = (workspace.custom_nodes, workspace.root)
        yield Place(path, workspace.comfyui_dir, own.code, apart)
    for plugin in plugins:
        found = known.get(plugin.id)
        if found is not None and found.kind != capture.FILE:
            path = repository(workspace, plugin.id).path
            yield Place(path, registry.place(workspace, plugin), found.code)


@dataclass(frozen=True)
class Staged:
    """Code that is to move: `before` is what lay on the disk, None where nothing did; then the
    whole of `after` is staged.  `folder` is its place, `found` where it lies now."""

    place: str
    folder: Path
    found: Path
    before: str | None
    after: str
    head: str | None
    staging: Path
    files: tuple[FileMove, ...]

    @property
    def is_new(self) -> bool:
        return self.before is None

    @property
    def top(self) -> Path:
        """The folder in which the paths of its files begin."""
        return _top(self.folder)

    def to_json(self) -> dict[str, Any]:
        return {
            "place": self.place,
            "folder": str(self.folder),
            "found": str(self.found),
            "before": self.before,
            "after": self.after,
            "head": self.head,
            "staging": str(self.staging),
            "files": [move._asdict() for move in self.files],
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Staged:
        return cls(
            row["place"],
            Path(row["folder"]),
            Path(row["found"]),
            row["before"],
            row["after"],
            row["head"],
            Path(row["staging"]),
            tuple(FileMove(**move) for move in row["files"]),
        )


def stage(
    stages: Stages,
    draft: Draft,
    known: Mapping[str, State | None],
    *,
    from_disk: Collection[str] = (),
) -> list[Staged]:
    """Stage all code that the draft moves; what is staged already is not staged again.

    Raises Refused (code `local_changes`) where a file that would be overwritten was edited;
    `from_disk` are places whose edits are part of the new code already, or may be overwritten:
    their copy stays in the repository.
    """

    def staged(place: str) -> Staged | None:
        now = known.get(place)
        if now is not None and now.kind == capture.LINK:
            return None  # a developer's own working tree: never moved
        return _staged(stages, draft, place, draft.code[place], now, place in from_disk)

    return [found for found in process.side_by_side(staged, draft.code) if found]


def _staged(
    stages: Stages, draft: Draft, place: str, target: Target, now: State | None, from_disk: bool
) -> Staged | None:
    workspace = stages.workspace
    path = folder(workspace, place, draft.plugins)
    found = _found(workspace, place, path, draft)
    base = _base(now, from_disk)
    if now is not None and now.code == target.code and now.head == target.commit:
        return None
    before = _read(stages, place)
    if before is not None and (before.before, before.after, before.found) == (
        base,
        target.code,
        found,
    ):
        return before
    staging = stages.folder / "code" / place
    store.remove_tree(staging)
    store.make_folder(staging)
    source = repository(workspace, place)
    files = _files(source, _top(found), base, target.code, staging, place)
    made = Staged(place, path, found, base, target.code, target.commit, staging, files)
    store.write_json(_receipt(stages, place), made.to_json())
    return made


def _top(place: Path) -> Path:
    """A single file's own name is the path of it in its commit."""
    return place.parent if place.suffix == ".py" else place


def _found(workspace: Workspace, place: str, path: Path, draft: Draft) -> Path:
    if place == COMFYUI:
        return path
    return whereabouts(workspace, draft.plugin(place)) or path


def _base(now: State | None, from_disk: bool) -> str | None:
    """What files are expected to be: HEAD's, so that an edited one is noticed where it matters."""
    if now is None:
        return None
    return now.code if from_disk or now.head is None else now.head


def _files(
    source: Repository, path: Path, before: str | None, after: str, staging: Path, place: str
) -> tuple[FileMove, ...]:
    if before is None:
        return moves.all_of(source, after, staging)
    try:
        return moves.plan(source, path, before, after, staging)
    except Refused as error:
        name = "ComfyUI" if place == COMFYUI else place
        raise Refused(
            f"{name}: {error.message}",
            hint="put them back or move them away; the same command with --discard-local "
            "overwrites them and keeps a copy",
            code=error.code,
            facts=error.facts,
        ) from None


def _receipt(stages: Stages, place: str) -> Path:
    return stages.folder / "code" / f"{place}.json"


def _read(stages: Stages, place: str) -> Staged | None:
    row = stages.receipt(_receipt(stages, place))
    try:
        found = Staged.from_json(row)
    except (KeyError, TypeError):
        return None
    return found if found.staging.is_dir() else None


def lay_plan(stages: Stages, staged: Iterable[Staged]) -> list[Path]:
    """The file that tells a candidate what to lay into its layer; none where no code moves."""
    rows = [
        {
            "place": str(one.top),
            "staging": str(one.staging),
            "moves": [move._asdict() for move in one.files],
        }
        for one in staged
    ]
    if not rows:
        return []
    path = stages.folder / "code" / "lay.json"
    store.write_json(path, rows)
    return [path]


def records(workspace: Workspace, staged: Iterable[Staged]) -> list[redo.Checkout]:
    """What the redo record needs.  Clones get the objects that their new HEAD needs first, which
    is harmless by itself."""
    moving = [one for one in staged if not one.is_new]  # those come whole, see `restored`

    def give(one: Staged) -> None:
        if one.head is not None:
            head.give_objects(one.found, repository(workspace, one.place), one.head)

    process.side_by_side(give, moving)
    return [redo.Checkout(one.top, one.staging, one.files, one.head) for one in moving]


def restored(
    workspace: Workspace, staged: Iterable[Staged], plugins: Iterable[Plugin], nursery: Path
) -> list[redo.Move]:
    """Folders that are gone, made anew from the repository beside custom_nodes, and the renames
    that bring them in."""
    listed = list(plugins)
    made = []
    for one in staged:
        if not one.is_new:
            continue
        plugin = registry.find(listed, one.place)
        target = nursery / f"add-{one.after[:12]}-{one.folder.name}"
        store.remove_tree(target)
        source = repository(workspace, one.place)
        head.restore(source, one.after, one.head, plugin.git_url or None, target)
        off = one.folder.with_name(f"{one.folder.name}.disabled")
        made.append(redo.Move(target, one.folder if plugin.enabled else off))
    return made


def require_known(workspace: Workspace, targets: Mapping[str, Target]) -> None:
    """Raises GovError where a commit that is to be brought back is in no repository of ours."""
    for place, target in targets.items():
        if not repository(workspace, place).has(target.code):
            raise GovError(
                f"the code of {place.lstrip('@')} at {target.code[:12]} is not in the workspace",
                hint="`--packages-only` brings back the packages alone",
                code="code_unknown",
                facts={"place": place, "code": target.code},
            )


def keep_made(stages: Stages, node: str, files: Mapping[str, Path]) -> None:
    """Copies of files that a node made in its folder of the layer, durable."""
    staging = stages.folder / "code" / f"{node}@made"
    store.remove_tree(staging)
    if not files:
        return
    store.make_folder(staging)
    for name, path in files.items():
        store.copy_file(path, staging / name)
    store.sync_filesystem(staging)


def made(stages: Stages, node: str, place: Path, names: Iterable[str]) -> Staged:
    """What `keep_made` kept, as files that come to a node's folder."""
    staging = stages.folder / "code" / f"{node}@made"
    files = tuple(moves.addition(staging, name) for name in names if (staging / name).is_file())
    return Staged(node, place, place, "", "", None, staging, files)


def untracked(workspace: Workspace, node: str, place: Path, now: State) -> tuple[str, ...]:
    """Files of the user's that no commit holds: settings, presets, downloads."""
    return capture.untracked(repository(workspace, node), place, now.code)


def whole(
    stages: Stages, draft: Draft, plugin: Plugin, known: Mapping[str, State | None]
) -> list[Staged]:
    """All of a node's code, staged for the layer alone: its folder lies elsewhere, and the commit
    renames it."""
    now = known.get(plugin.id)
    target = draft.code.get(plugin.id)
    code = target.code if target else now.code if now else None
    if code is None:
        return []
    staging = stages.folder / "code" / f"{plugin.id}@back"
    store.remove_tree(staging)
    store.make_folder(staging)
    files = moves.all_of(repository(stages.workspace, plugin.id), code, staging)
    path = registry.place(stages.workspace, plugin)
    return [Staged(plugin.id, path, path, None, code, None, staging, files)]
