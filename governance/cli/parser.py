"""The verbs, their options, and an example for each.  docs/04 is generated from this table."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from governance import __version__
from governance.base.errors import UsageError

Add = Callable[[argparse.ArgumentParser], None]

# The verb that the completion scripts call (completion.py); nobody types it.
COMPLETE = "_complete"


class Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: one `error:` line, one `hint:` line, exit 2."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{"formatter_class": Formatter, **given})

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"`{self.prog} --help` shows the usage and an example")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """With its width given, argparse need not import shutil, for every option, to ask for it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_width())


def _width() -> int:
    try:
        return min(os.get_terminal_size().columns, 100) - 2
    except OSError:
        return 88


class Verb:
    """One row of the table; `words` are what is typed, `act` the function in verbs.py."""

    def __init__(
        self, words: str, act: str, what: str, example: str, add: Add | None = None, more: str = ""
    ) -> None:
        self.words = words
        self.act = act
        self.what = what
        self.example = example
        self.add = add
        self.more = more


def _init(p: argparse.ArgumentParser) -> None:
    p.add_argument("dir", nargs="?", type=Path, metavar="DIR", help="the workspace's folder")
    p.add_argument("--comfyui-dir", type=Path, metavar="PATH", help="the ComfyUI checkout")
    p.add_argument("--python", metavar="SPEC", help="Python version or interpreter for prod")
    p.add_argument(
        "--resolution-date",
        metavar="DATE",
        help="only packages older than this: a day, auto (an old ComfyUI's own date), or none",
    )
    p.add_argument("--torch-backend", metavar="NAME", help="cpu, cu130, ... or an index URL")
    p.add_argument("--index", metavar="URL", help="package index, or a folder of wheels")
    _no_network(p)
    p.add_argument(
        "--adopt", action="store_true", help="take in the nodes and versions that are there"
    )
    _from_env(p)
    p.add_argument(
        "--from",
        type=Path,
        dest="bundle",
        metavar="FILE",
        help="take the installation of a bundle in and promote it (see gov export)",
    )
    _gates(p)


def _from_env(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--from-env", type=Path, metavar="PATH", help="the environment ComfyUI runs in today"
    )


def _adopt(p: argparse.ArgumentParser) -> None:
    _from_env(p)
    p.add_argument("--python", metavar="SPEC", help="another Python than that environment has")
    p.add_argument("--torch-backend", metavar="NAME", help="cpu, cu130, ... or an index URL")
    p.add_argument("--index", metavar="URL", help="package index, or a folder of wheels")
    _trying(p)


def _approval(p: argparse.ArgumentParser) -> None:
    p.add_argument("--approve-core", action="store_true", help="allow changes of core packages")
    p.add_argument("--reason", metavar="TEXT", help="why; recorded, needed with --approve-core")


def _gates(p: argparse.ArgumentParser) -> None:
    _approval(p)
    p.add_argument("--allow-failed-run", action="store_true", help="although the run failed")
    p.add_argument("--accept-skipped", action="store_true", help="although lines were skipped")
    p.add_argument(
        "--accept-findings", action="store_true", help="although something else was found"
    )
    p.add_argument(
        "--accept-incompatible",
        action="store_true",
        help="although a package would not get what it requires",
    )


def _local(p: argparse.ArgumentParser) -> None:
    p.add_argument("--keep-local", action="store_true", help="carry edited files over")
    p.add_argument(
        "--discard-local", action="store_true", help="overwrite edited files; a copy is kept"
    )


def _trying(p: argparse.ArgumentParser) -> None:
    p.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="until ComfyUI must answer")
    p.add_argument("--dry-run", action="store_true", help="show what would come, change nothing")
    p.add_argument("--promote", action="store_true", help="promote it where the run completes")
    _gates(p)


def _node_list(p: argparse.ArgumentParser) -> None:
    p.add_argument("--outdated", action="store_true", help="ask the remotes what is newer")


def _node_show(p: argparse.ArgumentParser) -> None:
    p.add_argument("node_id")


def _node_update(p: argparse.ArgumentParser) -> None:
    p.add_argument("nodes", nargs="*", metavar="NODE_ID", help="the nodes to update")
    p.add_argument("--all", action="store_true", dest="all_nodes", help="all promoted nodes")
    p.add_argument(
        "--to", metavar="REF", help="a branch, tag, commit or version instead of the newest"
    )
    p.add_argument(
        "--all-or-nothing", action="store_true", help="set no node aside that fails by itself"
    )
    _banned(p)
    _local(p)
    _trying(p)


def _inbox(p: argparse.ArgumentParser) -> None:
    p.add_argument("ids", nargs="*", metavar="ID", help="only these; default: all")
    p.add_argument("--take", action="store_true", help="observe them as one transaction")
    p.add_argument(
        "--put-back",
        action="store_true",
        help="disable what is new, restore what is governed; nothing is deleted",
    )
    p.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="until ComfyUI must answer")
    p.add_argument("--promote", action="store_true", help="promote it where the run completes")
    _gates(p)


def _node_switch(p: argparse.ArgumentParser) -> None:
    p.add_argument("nodes", nargs="+", metavar="NODE_ID")
    p.add_argument("--dry-run", action="store_true", help="show what would change")
    _gates(p)


def _node_with(p: argparse.ArgumentParser) -> None:
    p.add_argument("node_id")
    p.add_argument("packages", nargs="+", metavar="PKG", help="a requirement: 'numpy<2'")
    _trying(p)


def _comfyui_update(p: argparse.ArgumentParser) -> None:
    p.add_argument("--to", metavar="REF", help="a branch, tag or commit instead of the newest")
    _local(p)
    _trying(p)


def _torch(p: argparse.ArgumentParser) -> None:
    p.add_argument("backend", help="cpu, cu130, rocm6.4, ... or the URL of an index")
    _trying(p)


def _python(p: argparse.ArgumentParser) -> None:
    p.add_argument("version", help="a version, as 3.12, or the path of an interpreter")
    _trying(p)


def _upgrade(p: argparse.ArgumentParser) -> None:
    p.add_argument("packages", nargs="*", metavar="PKG")
    p.add_argument("--all", action="store_true", dest="all_packages", help="every package")
    _trying(p)


def _pin(p: argparse.ArgumentParser) -> None:
    p.add_argument("pins", nargs="+", metavar="PKG==VERSION")
    _trying(p)


def _unpin(p: argparse.ArgumentParser) -> None:
    p.add_argument("packages", nargs="+", metavar="PKG")
    _trying(p)


def _undo(p: argparse.ArgumentParser) -> None:
    p.add_argument("--dry-run", action="store_true", help="show what would come back")
    p.add_argument("--discard-local", action="store_true", help="overwrite edited files of nodes")
    _gates(p)


def _rollback(p: argparse.ArgumentParser) -> None:
    p.add_argument("snapshot_id", metavar="SNAPSHOT", help="id, part of it, name, last, or @3")
    p.add_argument("--packages-only", action="store_true", help="leave all code as it is")
    p.add_argument("--discard-local", action="store_true", help="overwrite edited files of nodes")
    p.add_argument("--dry-run", action="store_true", help="show what would come back")
    _gates(p)


def _history(p: argparse.ArgumentParser) -> None:
    p.add_argument("--limit", type=int, default=30, metavar="N", help="the newest N (0: all)")


def _log_show(p: argparse.ArgumentParser) -> None:
    p.add_argument("--limit", type=int, default=30, metavar="N", help="the newest N (0: all)")


def _log_verify(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a copy of a history.jsonl")
    p.add_argument(
        "--allowed-signers", type=Path, metavar="FILE", help="check who signed (ssh's own format)"
    )
    p.add_argument("--head", metavar="N:SHA256", help="what `gov log` said of its end earlier")


def _diff(p: argparse.ArgumentParser) -> None:
    p.add_argument("before", nargs="?", metavar="A", help="a snapshot; default: before the last")
    p.add_argument("after", nargs="?", metavar="B", help="a snapshot or transaction; default: prod")


def _snapshot_name(p: argparse.ArgumentParser) -> None:
    p.add_argument("snapshot_id", metavar="SNAPSHOT")
    p.add_argument("name", help="letters, digits, `-`, `_` and `.`")


def _snapshot_keep(p: argparse.ArgumentParser) -> None:
    p.add_argument("snapshot_id", metavar="SNAPSHOT")
    p.add_argument("--no", action="store_true", help="retention may drop it again")


def _node_add(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "git_url",
        metavar="GIT_URL|PATH|ID[@VERSION]",
        help="https, ssh, git@host:path, a local repository, or an id at the Comfy Registry",
    )
    p.add_argument("--ref", help="branch, tag or commit to check out")
    p.add_argument(
        "--id", dest="node_id", help="folder name; default: the repository's name, or the id"
    )
    _banned(p)


def _banned(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--accept-banned", metavar="WHY", help="although the registry banned the version; recorded"
    )


def _node_search(p: argparse.ArgumentParser) -> None:
    p.add_argument("word", metavar="WORD", help="a name, a part of it, or the name of a class")


def _node_info(p: argparse.ArgumentParser) -> None:
    p.add_argument("node_id", metavar="ID", help="the node's id at the Comfy Registry")


def _node_remove(p: argparse.ArgumentParser) -> None:
    p.add_argument("node_id")
    p.add_argument("--purge-code", action="store_true", help="delete the node's folder too")
    p.add_argument("--dry-run", action="store_true", help="show what would change")
    _gates(p)


def _node_check(p: argparse.ArgumentParser) -> None:
    p.add_argument("what", metavar="GIT_URL|PATH|NODE_ID|ID[@VERSION]", help="the node to try")
    p.add_argument("--ref", help="branch, tag or commit")
    p.add_argument(
        "--all",
        action="store_true",
        dest="everything",
        help="look for every line that it conflicts with, and show each with its chain",
    )
    p.add_argument(
        "--build",
        action="store_true",
        help="build packages, inside the fence, that do not say otherwise what they need",
    )


def _no_network(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--offline",
        action="store_true",
        dest="no_network",
        help="ask no package index: what is not here already is named at once",
    )


def _tx_run(p: argparse.ArgumentParser) -> None:
    p.add_argument("nodes", nargs="+", metavar="NODE_ID")
    p.add_argument(
        "--with",
        action="append",
        default=[],
        dest="added",
        metavar="PKG",
        help="a package that the node forgot to declare, as 'numpy<2'",
    )
    p.add_argument(
        "--all-or-nothing", action="store_true", help="set no node aside that fails by itself"
    )
    p.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="until ComfyUI must answer")
    _no_network(p)
    p.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="PKG",
        help="install no PKG, whoever asks for it",
    )


def _txid(p: argparse.ArgumentParser) -> None:
    p.add_argument("txid")


def _tx_abort(p: argparse.ArgumentParser) -> None:
    p.add_argument("txid")
    p.add_argument("--keep", action="store_true", help="keep the candidate's files")


def _tx_promote(p: argparse.ArgumentParser) -> None:
    p.add_argument("txid")
    _gates(p)
    p.add_argument("--dry-run", action="store_true", help="show the plan and change nothing")
    p.add_argument("--rebase", action="store_true", help="observe again on today's truth first")
    p.add_argument("--keep", action="store_true", help="keep the candidate's files")


def _tx_shell(p: argparse.ArgumentParser) -> None:
    p.add_argument("txid")
    p.add_argument("command", nargs="*", metavar="CMD", help="after --: run this instead")


def _resolve(p: argparse.ArgumentParser) -> None:
    p.add_argument("txid")
    p.add_argument("--pin", action="append", default=[], metavar="PKG==VERSION", dest="pins")
    p.add_argument("--pins-file", type=Path, metavar="FILE", help="one pin a line")
    p.add_argument("--accept", type=int, metavar="N", help="take fix N")
    p.add_argument(
        "--with",
        action="append",
        default=[],
        metavar="REQUIREMENT",
        dest="added",
        help="a package that the node needs and does not declare",
    )
    p.add_argument("--suggest", action="store_true", help="show tried fixes and change nothing")
    p.add_argument(
        "--all",
        action="store_true",
        dest="everything",
        help="with --suggest: look for every line that conflicts, and show each with its chain",
    )
    p.add_argument(
        "--try",
        type=_fixes,
        nargs="?",
        const=3,
        metavar="N",
        dest="count",
        help="start ComfyUI with the first N fixes (3); prod and what is chosen stay as they are",
    )
    p.add_argument("--best", action="store_true", help="take the first fix that comes up")
    p.add_argument("--reset", action="store_true", help="forget what was chosen and look anew")


def _snapshot_id(p: argparse.ArgumentParser) -> None:
    p.add_argument("snapshot_id")


def _run(p: argparse.ArgumentParser) -> None:
    p.add_argument("--all-nodes", action="store_true", help="load what is not promoted, too")
    p.add_argument(
        "--strict", action="store_true", help="refuse where code is not what was promoted"
    )
    p.add_argument("arguments", nargs="*", metavar="ARGS", help="after --: ComfyUI's arguments")


def _export(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", type=Path, metavar="FILE", help="what to write, as comfy.gov.tar")
    p.add_argument("snapshot_id", nargs="?", metavar="SNAPSHOT", help="default: prod as it is")
    p.add_argument("--with-code", action="store_true", help="the code of nodes and ComfyUI too")
    p.add_argument("--with-wheels", action="store_true", help="the packages' files too")
    p.add_argument(
        "--format",
        choices=("pylock", "requirements", "cyclonedx", "manager-snapshot", "dockerfile"),
        help="for another program, instead of a bundle",
    )


def _import(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", type=Path, metavar="FILE", help="a bundle, or another program's")
    p.add_argument("--index", metavar="URL", help="where packages come from that lay in a folder")
    p.add_argument("--python", metavar="SPEC", help="another Python than the bundle's")
    p.add_argument(
        "--discard-local", action="store_true", help="overwrite edited files; a copy is kept"
    )
    _trying(p)


def _audit(p: argparse.ArgumentParser) -> None:
    p.add_argument("--sarif", type=Path, metavar="FILE", help="write it as SARIF 2.1.0 too")


def _verify(p: argparse.ArgumentParser) -> None:
    p.add_argument("--full", action="store_true", help="compare every file's hash")
    _fetch(p, "fetch all that the lock names once more, and compare (implies --full)")


def _repair(p: argparse.ArgumentParser) -> None:
    _fetch(p, "compare with the index first, as `gov verify --fetch` does")


def _fetch(p: argparse.ArgumentParser, words: str) -> None:
    p.add_argument("--fetch", action="store_true", help=words)


def _clean(p: argparse.ArgumentParser) -> None:
    p.add_argument("--dry-run", action="store_true", help="show what would go")


def _why(p: argparse.ArgumentParser) -> None:
    p.add_argument("package")
    p.add_argument("--if", dest="wish", metavar="SPEC", help="what if it were held at this")


def _demo(p: argparse.ArgumentParser) -> None:
    p.add_argument("dir", nargs="?", type=Path, metavar="DIR", help="a fresh folder")
    p.add_argument("--offline", action="store_true", help="with tiny packages of its own")


def _ci(p: argparse.ArgumentParser) -> None:
    p.add_argument("path", type=Path, metavar="PATH", help="the folder of your node")
    p.add_argument(
        "--comfyui",
        action="extend",
        nargs="+",
        default=[],
        metavar="REF",
        help="tags, branches or commits of ComfyUI, folders, or git URLs with @ref; default: the "
        "newest release",
    )
    p.add_argument(
        "--comfyui-url", metavar="URL", help="the repository that tags and branches are of"
    )
    p.add_argument(
        "--with",
        action="extend",
        nargs="+",
        default=[],
        dest="others",
        metavar="NODE",
        help="nodes to load beside it in a second run: git URLs (with @ref), folders",
    )
    p.add_argument(
        "--python",
        action="extend",
        nargs="+",
        default=[],
        dest="pythons",
        metavar="VERSION",
        help="Pythons to try it with, as 3.12; default: the one that gov runs on",
    )
    p.add_argument(
        "--workflow",
        action="extend",
        nargs="+",
        default=[],
        type=Path,
        dest="workflows",
        metavar="FILE",
        help="workflows whose node classes must all be there",
    )
    p.add_argument("--torch-backend", metavar="NAME", help="cpu, cu130, ... or an index URL")
    p.add_argument("--index", metavar="URL", help="package index, or a folder of wheels")
    p.add_argument("--resolution-date", metavar="DATE", help="as in `gov init`")
    p.add_argument("--settings", type=Path, metavar="FILE", help="a config.toml for all runs")
    p.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="until ComfyUI must answer")
    p.add_argument("--junit", type=Path, metavar="FILE", help="write a JUnit report")
    p.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    p.add_argument("--cache", type=Path, metavar="DIR", help="default: ~/.cache/gov/ci")
    p.add_argument("--keep", type=Path, metavar="DIR", help="keep the workspaces in this folder")


def _completion(p: argparse.ArgumentParser) -> None:
    p.add_argument("shell", choices=("bash", "zsh", "fish"))


VERBS = (
    Verb(
        "init",
        "init",
        "make a workspace for a ComfyUI, or repair what is missing in it",
        "gov init ~/comfy_env --comfyui-dir ~/ComfyUI",
        _init,
    ),
    Verb(
        "adopt",
        "adopt",
        "take in a ComfyUI that runs: its nodes and the versions of its environment",
        "gov adopt --from-env ~/ComfyUI/venv",
        _adopt,
        "Nothing is moved, and the old environment stays as it is.",
    ),
    Verb(
        "inbox",
        "inbox",
        "what was changed beside gov: take it in, or put it back",
        "gov inbox --take",
        _inbox,
        "ComfyUI-Manager and others install, update, disable and remove nodes; --take observes "
        "what they did as one transaction, --put-back restores what was promoted.",
    ),
    Verb("status", "status", "what the workspace looks like", "gov status --json"),
    Verb(
        "node add",
        "node_add",
        "take a node in, by its repository or its id at the Comfy Registry",
        "gov node add https://github.com/cubiq/ComfyUI_essentials --ref main",
        _node_add,
        "ID@nightly clones the repository that the registry names.",
    ),
    Verb(
        "node search",
        "node_search",
        "look for nodes at the Comfy Registry, or in ComfyUI-Manager's list",
        "gov node search kjnodes",
        _node_search,
    ),
    Verb(
        "node info",
        "node_info",
        "what the registry says of a node, and what of it is installed here",
        "gov node info comfyui-kjnodes",
        _node_info,
    ),
    Verb(
        "node remove",
        "node_remove",
        "take a node and what only it needed out of prod",
        "gov node remove ComfyUI_essentials --purge-code",
        _node_remove,
    ),
    Verb(
        "node check",
        "node_check",
        "would this node fit? changes nothing",
        "gov node check https://github.com/cubiq/ComfyUI_essentials",
        _node_check,
    ),
    Verb("node list", "node_list", "all governed nodes", "gov node list --outdated", _node_list),
    Verb(
        "node show",
        "node_show",
        "one node: its code, its requirements, its changes",
        "gov node show ComfyUI_essentials",
        _node_show,
    ),
    Verb(
        "node update",
        "node_update",
        "fetch newer commits or versions of nodes and observe them in one candidate",
        "gov node update --all",
        _node_update,
        "What fails by itself is set aside with its reason, and the rest goes on.",
    ),
    Verb(
        "node enable",
        "node_enable",
        "load disabled nodes again",
        "gov node enable ComfyUI_essentials",
        _node_switch,
    ),
    Verb(
        "node disable",
        "node_disable",
        "load nodes no more; their code stays, packages that only they need go",
        "gov node disable ComfyUI_essentials",
        _node_switch,
    ),
    Verb(
        "node with",
        "node_with",
        "give a node packages that it does not declare, and observe that",
        "gov node with ComfyUI_essentials 'numba>=0.60'",
        _node_with,
    ),
    Verb(
        "node without",
        "node_without",
        "take such packages away again, and observe that",
        "gov node without ComfyUI_essentials numba",
        _node_with,
    ),
    Verb(
        "tx run",
        "tx_run",
        "start ComfyUI with nodes in a candidate environment and record what they change",
        "gov tx run ComfyUI_essentials --timeout 120",
        _tx_run,
        "Exits 0 when the node loaded, 1 when the run failed, 4 when its requirements conflict.",
    ),
    Verb(
        "tx inspect",
        "tx_inspect",
        "what a transaction saw and would change",
        "gov tx inspect 20260131T120000Z-0a1b2c3d",
        _txid,
    ),
    Verb(
        "tx abort",
        "tx_abort",
        "end a transaction and delete its candidate",
        "gov tx abort 20260131T120000Z-0a1b2c3d",
        _tx_abort,
    ),
    Verb(
        "tx promote",
        "tx_promote",
        "take a candidate into prod, behind the gates",
        'gov tx promote 20260131T120000Z-0a1b2c3d --approve-core --reason "tested on my flows"',
        _tx_promote,
    ),
    Verb(
        "tx shell",
        "tx_shell",
        "a shell, or a command, inside the candidate",
        "gov tx shell 20260131T120000Z-0a1b2c3d -- python -c 'import numpy'",
        _tx_shell,
    ),
    Verb(
        "resolve",
        "resolve",
        "lock a conflicting transaction once more, with pins",
        "gov resolve 20260131T120000Z-0a1b2c3d --pin transformers==4.49.0",
        _resolve,
    ),
    Verb(
        "comfyui update",
        "comfyui_update",
        "fetch a newer ComfyUI and observe it with every promoted node",
        "gov comfyui update --to v0.3.70",
        _comfyui_update,
    ),
    Verb("torch", "torch", "observe torch from another backend", "gov torch cu130", _torch),
    Verb("python", "python", "observe prod with another Python", "gov python 3.12", _python),
    Verb(
        "upgrade",
        "upgrade",
        "observe newer versions of packages",
        "gov upgrade transformers",
        _upgrade,
    ),
    Verb("pin", "pin", "hold a package at a version", "gov pin numpy==1.26.4", _pin),
    Verb("unpin", "unpin", "let a package go that was held", "gov unpin numpy", _unpin),
    Verb("undo", "undo", "take back the last change", "gov undo", _undo),
    Verb("history", "history", "all changes, one line each", "gov history --limit 10", _history),
    Verb(
        "log show",
        "log_show",
        "the audit log: who changed what, why, and what was refused (`gov log`)",
        "gov log --limit 10",
        _log_show,
    ),
    Verb(
        "log verify",
        "log_verify",
        "is the audit log as gov wrote it? exits 1 where it is not",
        "gov log verify --allowed-signers signers",
        _log_verify,
        "Names the first line that was changed, left out or cut off.",
    ),
    Verb(
        "diff",
        "diff",
        "what differs between two snapshots, or prod and a transaction",
        "gov diff @1",
        _diff,
    ),
    Verb("outdated", "outdated", "nodes and ComfyUI that have something newer", "gov outdated"),
    Verb("snapshot list", "snapshot_list", "all snapshots", "gov snapshot list"),
    Verb(
        "snapshot name",
        "snapshot_name",
        "give a snapshot a name; it is kept from then on",
        "gov snapshot name last before-the-show",
        _snapshot_name,
    ),
    Verb(
        "snapshot keep",
        "snapshot_keep",
        "keep a snapshot beyond retention",
        "gov snapshot keep last",
        _snapshot_keep,
    ),
    Verb(
        "snapshot inspect",
        "snapshot_inspect",
        "one snapshot's metadata",
        "gov snapshot inspect 20260131T120000Z-snap-0a1b2c",
        _snapshot_id,
    ),
    Verb(
        "rollback",
        "rollback",
        "bring back a snapshot: packages and code together",
        "gov rollback 20260131T120000Z-snap-0a1b2c",
        _rollback,
    ),
    Verb(
        "run",
        "run",
        "start ComfyUI with prod and the promoted nodes",
        "gov run -- --listen --port 8188",
        _run,
        "ComfyUI's own exit code is passed on.",
    ),
    Verb(
        "export",
        "export",
        "write the installation, or a snapshot of it, into one file",
        "gov export comfy.gov.tar --with-code --with-wheels",
        _export,
        "Two exports of one state are the same file, byte by byte.",
    ),
    Verb(
        "import",
        "import_",
        "take in an installation from a file, and observe it here",
        "gov import comfy.gov.tar",
        _import,
        "FILE is a bundle of `gov export`, a snapshot of ComfyUI-Manager or Comfy-Desktop, "
        "comfygit's export, a list of repositories with commits, or a freeze of pip. It ends as "
        "one transaction; `gov tx promote` makes it prod.",
    ),
    Verb("stop", "stop", "end the ComfyUI that `gov run` started", "gov stop"),
    Verb(
        "verify",
        "verify",
        "is prod as gov left it? exits 1 on drift",
        "gov verify --full",
        _verify,
    ),
    Verb(
        "audit",
        "audit",
        "known vulnerabilities, yanked releases and what else policy says of prod",
        "gov audit --sarif prod.sarif",
        _audit,
        "Asks whatever [policy] says of transactions. Exits 1 when something is found, and when "
        "a service or an index does not answer.",
    ),
    Verb(
        "repair",
        "repair",
        "build prod anew from the lock where it is broken",
        "gov repair",
        _repair,
    ),
    Verb(
        "clean",
        "clean",
        "delete environments, candidates and logs beyond retention",
        "gov clean --dry-run",
        _clean,
    ),
    Verb(
        "why",
        "why",
        "from which nodes and lines a package comes",
        "gov why numpy --if '<2'",
        _why,
    ),
    Verb(
        "ci",
        "ci",
        "for who makes nodes: try one with several versions of ComfyUI, beside other nodes",
        "gov ci . --comfyui v0.3.60 v0.3.70 --torch-backend cpu",
        _ci,
        "Needs no workspace and writes nothing into PATH. Exits 1 when one run fails.",
    ),
    Verb(
        "demo",
        "demo",
        "play the whole story on a small sample ComfyUI",
        "gov demo --offline",
        _demo,
    ),
    Verb(
        "completion",
        "completion",
        "print a completion script for your shell",
        "gov completion bash > ~/.local/share/bash-completion/completions/gov",
        _completion,
    ),
)

GROUPS = {
    "node": "nodes: search, info, add, check, list, show, update, enable, disable, with, without, "
    "remove",
    "comfyui": "ComfyUI itself: update",
    "tx": "transactions: run, inspect, promote, abort, shell",
    "snapshot": "snapshots: list, inspect, name, keep",
    "log": "the audit log: show (that is `gov log` alone), verify",
}

_EPILOG = """exit codes:
  0 done   1 failed, nothing changed   2 usage   3 refused by a gate
  4 needs resolution   5 busy   70 bug   130 interrupted   143 terminated

a first look:  gov demo --offline
"""


def parse(argv: list[str]) -> argparse.Namespace:
    """Raises UsageError for wrong usage; exits 0 after --help or --version."""
    if argv[:2] == [COMPLETE, "--"]:
        return argparse.Namespace(act="complete", words=COMPLETE, typed=argv[2:])
    argv = _log_alone(argv)
    parser = build(argv)
    own, rest = _split(argv)
    arguments, unknown = parser.parse_known_args(own)
    if unknown:
        # argparse itself would complain in the name of the outermost parser.
        raise UsageError(
            f"unrecognized arguments: {' '.join(unknown)}",
            hint="what ComfyUI is to get follows `--`, as in `gov run -- --port 8188`"
            if arguments.act == "run"
            else f"`gov {arguments.words} --help` shows the usage and an example",
        )
    if rest is not None:
        name = "arguments" if arguments.act == "run" else "command"
        if not hasattr(arguments, name):
            raise UsageError(
                "this verb takes nothing after --",
                hint=f"`gov {arguments.words} --help` shows the usage and an example",
            )
        setattr(arguments, name, [*getattr(arguments, name), *rest])
    return arguments


def _log_alone(argv: list[str]) -> list[str]:
    """`gov log` is `gov log show`."""
    if not argv or argv[0] != "log" or argv[1:2] in (["show"], ["verify"], ["-h"], ["--help"]):
        return argv
    return ["log", "show", *argv[1:]]


def build(argv: list[str] | None = None) -> Parser:
    """The parser; with `argv` only of the verb that is typed, which saves time."""
    typed = next((word for word in argv or [] if not word.startswith("-")), None)
    wanted = [verb for verb in VERBS if verb.words.split()[0] == typed] or VERBS
    parser = Parser(
        prog="gov",
        description="Govern the Python environment of a ComfyUI installation.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"gov {__version__}")
    _common(parser, defaults=True)
    # Naming `prog` saves argparse the making of a formatter, and that the import of shutil.
    top = parser.add_subparsers(metavar="VERB", required=True, parser_class=Parser, prog="gov")
    groups: dict[str, Any] = {}
    for verb in wanted:
        first, _, second = verb.words.partition(" ")
        if second and first not in groups:
            group = top.add_parser(first, help=GROUPS[first], description=GROUPS[first])
            _common(group)
            groups[first] = group.add_subparsers(
                metavar="VERB", required=True, parser_class=Parser, prog=f"gov {first}"
            )
        place = groups[first] if second else top
        sub = place.add_parser(
            second or first,
            help=verb.what,
            description=f"{verb.what}. {verb.more}".strip(),
            epilog=f"example:\n  {verb.example}",
        )
        sub.set_defaults(act=verb.act, words=verb.words)
        if typed is None and argv is not None:
            continue  # no verb was typed: only its line in the list is needed
        _common(sub)
        if verb.add is not None:
            verb.add(sub)
    return parser


def _common(parser: argparse.ArgumentParser, *, defaults: bool = False) -> None:
    """Options of every verb, before or after it; only the outermost parser has defaults, since
    an inner one would overwrite what was typed before the verb."""

    def default(value: Any) -> Any:
        return value if defaults else argparse.SUPPRESS

    parser.add_argument("--root", type=Path, default=default(None), help="the workspace's folder")
    parser.add_argument("--json", action="store_true", default=default(False), help="one document")
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=default(False),
        help="more detail, and all that ComfyUI logs while it is tried",
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", default=default(False), help="no progress"
    )


def _split(argv: list[str]) -> tuple[list[str], list[str] | None]:
    """What follows `--` belongs to ComfyUI or to the shell, dashes and all."""
    if "--" not in argv:
        return argv, None
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < 10**6:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def _fixes(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 100:
        raise argparse.ArgumentTypeError(
            f"{text} is not a number of fixes; the transaction stands before --try"
        )
    return int(text)


def words_of(argv: list[str]) -> str:
    """The verb as far as it can be read from an `argv` that did not parse."""
    typed = [word for word in argv if not word.startswith("-")]
    known = {verb.words for verb in VERBS}
    for candidate in (" ".join(typed[:2]), *typed[:1]):
        if candidate in known:
            return candidate
    return typed[0] if typed else "gov"


def wants_json(argv: list[str]) -> bool:
    return "--json" in _split(argv)[0]
