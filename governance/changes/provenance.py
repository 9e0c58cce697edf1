"""Whose a requirement line is, and where it stands: the truth's groups with file and line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance import comfyui, git, requirements
from governance.base.errors import GovError
from governance.boundaries import scratch
from governance.code.repository import Repository
from governance.conflict.problem import CORE, MANAGER, NODE, Owned
from governance.requirements import PYPROJECT, REQUIREMENTS, Declared, requirement_name
from governance.truth import ledger, registry
from governance.truth.documents import Plugin, Transaction
from governance.truth.resolution import CORE_GROUP, MANAGER_GROUP, NODE_PREFIX, Project
from governance.truth.workspace import Workspace

if TYPE_CHECKING:
    from governance.conflict.fixes import Ref

# Changes of its requirement files, back from now, at which a node may have fitted.
_CHANGES = 20

# The place of ComfyUI itself among those of nodes, whose ids never begin so.
COMFYUI = "@ComfyUI"

Places = Mapping[str, tuple[str, int]]


def owned_lines(workspace: Workspace, project: Project) -> tuple[Owned, ...]:
    """Every line of the project's groups, with the file and line that it was read from."""
    by_group = {plugin.group: plugin for plugin in registry.load(workspace)}
    found: list[Owned] = []
    for group, lines in project.groups.items():
        plugin = by_group.get(group)
        if group == CORE_GROUP:
            places = _places(core_requirements(workspace))
            found += owned(CORE, lines, places)
        elif group == MANAGER_GROUP:
            found += owned(MANAGER, lines, _places(manager_requirements(workspace)))
        elif plugin is not None:
            found += owned(f"{NODE}{plugin.id}", lines, _recorded(workspace, plugin))
        else:
            found += owned(f"{NODE}{group.removeprefix(NODE_PREFIX)}", lines, {})
    return tuple(found)


def owned(owner: str, lines: Iterable[str], places: Places) -> list[Owned]:
    return [
        Owned(text, owner, *places.get(text, ("", 0)), requirement_name(text)) for text in lines
    ]


def places_of(declared: Mapping[str, Any]) -> Places:
    """From `Declared.to_json()`, as a transaction keeps it."""
    return {
        row["text"]: (row["origin"]["file"], row["origin"]["line"])
        for row in declared.get("lines", [])
    }


def _places(declared: Declared) -> Places:
    return {line.text: (line.origin.file, line.origin.line) for line in declared.lines}


def _recorded(workspace: Workspace, plugin: Plugin) -> Places:
    """As the promoting transaction read them; the node's files may have changed since."""
    if plugin.last_txid is None:
        return {}
    try:
        tx = ledger.load(workspace, plugin.last_txid)
    except GovError:
        return {}  # the record is gone or damaged: lines are shown without their place
    # The plan holds those of the first node only; a record of an earlier gov has no others.
    own = tx.nodes.get(plugin.id, {}).get("declared")
    return places_of(own or tx.plan.get("declared", {}))


def read_declared(workspace: Workspace, folder: Any) -> Declared:
    """What a node's folder declares, under the workspace's policy."""
    return requirements.read_node(folder, policy=_policy(workspace))


def judged(workspace: Workspace, asked: Iterable[tuple[str, str]]) -> Declared:
    """Requirements that no file declares, each with the file and line that asked for it."""
    return requirements.judge_all(asked, policy=_policy(workspace))


def _policy(workspace: Workspace) -> requirements.Policy:
    return requirements.Policy(
        allow_git=workspace.config.flag("policy.allow_git_requirements"),
        allow_urls=workspace.config.flag("policy.allow_url_requirements"),
    )


def lines_elsewhere(workspace: Workspace, checkout: Path, owner: str) -> Iterator[Ref]:
    """Other commits of a node with what it declares there: the newer ones, then the earlier."""
    from governance.conflict.fixes import Ref

    names = (REQUIREMENTS, PYPROJECT)
    for is_newer, look in ((True, git.newer), (False, git.earlier)):
        for commit, files in look(checkout, names, limit=_CHANGES):
            declared = _declared_in(workspace, files)
            # A file that it includes is not looked for: without it the node asks for too little.
            if not any(entry.kind == "missing-file" for entry in declared.skipped):
                texts = [line.text for line in declared.lines]
                yield Ref(commit, owned(owner, texts, _places(declared)), is_newer)


def _declared_in(workspace: Workspace, files: Mapping[str, bytes]) -> Declared:
    with scratch.folder("elsewhere") as temporary:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        return read_declared(workspace, temporary)


def core_requirements(space: Workspace) -> requirements.Declared:
    """What ComfyUI's requirements.txt declares; its torch lines are its own business."""
    return _read(comfyui.requirements_path(space.comfyui_dir), space.comfyui_dir)


def manager_requirements(space: Workspace) -> requirements.Declared:
    """What ComfyUI's manager_requirements.txt declares."""
    return _read(comfyui.manager_requirements_path(space.comfyui_dir), space.comfyui_dir)


def manager_lines(space: Workspace, code: str | None = None) -> list[str] | None:
    """The lines of the group that `--enable-manager` needs; None where it is not wanted, or where
    this ComfyUI knows no manager.  `code` is another commit of ComfyUI than lies there."""
    if not space.config.flag("comfyui.manager"):
        return None
    if code is None:
        declared = manager_requirements(space)
    else:
        source = Repository(space.code / f"{COMFYUI}.git")
        declared = _read_at(source, code, comfyui.MANAGER_REQUIREMENTS)
    return [line.text for line in declared.lines] or None


def _read(path: Path | None, root: Path) -> requirements.Declared:
    if path is None:
        return requirements.Declared()
    return requirements.read_file(path, root, policy=_CORE_POLICY)


def newcomer(tx: Transaction) -> str:
    """Who is new in a change that is about no node: what somebody edited, updated or pinned."""
    return f"{NODE}{tx.kind}"


def merged_core(workspace: Workspace, project: Project, declared: Declared) -> list[str]:
    """ComfyUI's own lines, and after them what the operator added to the group by hand: a line
    whose package neither these nor the requirements.txt of the recorded commit ask for."""
    new = [line.text for line in declared.lines]
    code = project.comfyui.get("code")
    source = Repository(workspace.code / f"{COMFYUI}.git")
    known = core_at(source, code).lines if code and source.has(code) else ()
    names = {line.name for line in (*declared.lines, *known)}
    before = project.groups.get(CORE_GROUP, [])
    return [*new, *(line for line in before if requirement_name(line) not in names)]


def core_at(source: Repository, code: str) -> Declared:
    """What ComfyUI's requirements.txt declares at a commit."""
    return _read_at(source, code, REQUIREMENTS)


def _read_at(source: Repository, code: str, name: str) -> Declared:
    data = source.read(code, name)
    if data is None:
        return Declared()
    with scratch.folder("core") as temporary:
        path = temporary / name
        path.write_bytes(data)
        return requirements.read_file(path, temporary, policy=_CORE_POLICY)


_CORE_POLICY = requirements.Policy(torch_family=frozenset(), allow_git=True, allow_urls=True)
