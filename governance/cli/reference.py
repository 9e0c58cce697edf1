"""The generated parts of docs/, from the code that they tell about.

    python -m governance.cli.reference docs [--check]

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; all else is written
by hand.  So are the last columns of some tables: they are kept by the row's first cell, and a new
row has them empty, which a test refuses.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any

from governance.base import errors
from governance.base.errors import GovError
from governance.boundaries import config, store
from governance.cli import parser
from governance.conflict.answer import Cause, Fix, Party
from governance.conflict.package_changes import Step
from governance.conflict.problem import Owned
from governance.environments.compatibility import Incompatible
from governance.environments.records import Finding
from governance.observation.record import NodeReport, Observation
from governance.requirements.declaration import Line, Origin, Skipped
from governance.sandbox import Canary
from governance.truth import documents
from governance.truth.lockfile import Change
from governance.truth.workspace import CHECKOUT

HOME = Path(__file__).resolve().parent.parent

DOCUMENTS: tuple[type[Any], ...] = (
    *(
        documents.Plugin,
        documents.Transaction,
        documents.Conflict,
        documents.Snapshot,
        documents.Generation,
    ),
    *(Observation, NodeReport, Canary, Change, Step, Finding, Incompatible),
    *(Line, Skipped, Origin, Cause, Party, Fix, Owned),
)

# Where a code is no constant of the call, and where the class does not tell the exit code.
COMPUTED = {
    "governance/boundaries/uv_failures.py": (
        *("bad_download", "build_failed", "disk", "uv_failed"),
        *("index_denied", "index_failed", "index_undated", "index_unreachable"),
    ),
    "governance/supply/rules.py": (
        "blocked_author",
        "blocked_node",
        "blocked_package",
        "release_age_unknown",
        "source_build",
        "vulnerabilities_unknown",
        "vulnerable",
        "wrong_index",
        "yanked",
        "yanked_unknown",
        "young_release",
    ),
    "governance/cli/main.py": ("interrupted", "terminated"),
    "governance/truth/typed.py": ("unknown_transaction", "unknown_snapshot"),
}
EXITS = {
    **dict.fromkeys(COMPUTED["governance/supply/rules.py"], errors.EXIT_REFUSED),
    "bug": errors.EXIT_BUG,
    "interrupted": errors.EXIT_INTERRUPTED,
    "terminated": errors.EXIT_TERMINATED,
}

_PART = re.compile(
    r"(?P<head><!-- generated: (?P<name>[^>]+?) -->)\n(?P<body>.*?)<!-- end -->", re.DOTALL
)
_CELL_END = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Table:
    """`by_hand` are the heads of the last columns, whose cells the document itself holds."""

    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    by_hand: tuple[str, ...] = ()

    def text(self, before: str) -> str:
        kept = dict(_hand_cells(before, len(self.by_hand)))
        empty = ("",) * len(self.by_hand)
        rows = [(*map(_cell, row), *kept.get(_cell(row[0]), empty)) for row in self.rows]
        heads = (*self.heads, *self.by_hand)
        return "\n".join(map(_row, (heads, ("---",) * len(heads), *rows)))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _hand_cells(before: str, count: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    for line in before.splitlines():
        cells = [cell.strip() for cell in _CELL_END.split(line)[1:-1]]
        if count and len(cells) > count:
            yield cells[0], tuple(cells[-count:])


# --- the command line -------------------------------------------------------------------------


def _verbs() -> Table:
    rows = [(f"[`gov {v.words}`](#gov-{v.words.replace(' ', '-')})", v.what) for v in parser.VERBS]
    return Table(("verb", "what it does"), rows)


def _verb(words: str, before: str) -> str:
    verb = next(verb for verb in parser.VERBS if verb.words == words)
    found = [action for action in _actions(words) if action.dest not in _COMMON]
    parts = [f"{verb.what[0].upper()}{verb.what[1:]}. {verb.more}".strip()]
    parts += [_block("text", " ".join([f"gov {words}", *map(_usage, found)]))]
    told = [(f"`{_spelt(action)}`", action.help or "") for action in found if action.help]
    if told:
        parts.append(Table(("", "meaning"), told).text(before))
    return "\n\n".join([*parts, _block("bash", verb.example)])


def _common() -> Table:
    rows = [(f"`{_spelt(a)}`", a.help or "") for a in _actions("status") if a.dest in _COMMON]
    return Table(("option", "meaning"), rows)


_COMMON = ("help", "root", "json", "verbose", "quiet")


def _actions(words: str) -> list[argparse.Action]:
    """What a verb's parser takes; argparse has no public way to ask for it."""
    at: argparse.ArgumentParser = parser.build()
    for word in words.split():
        at = next(a for a in at._actions if isinstance(a.choices, dict)).choices[word]  # type: ignore[index]
    return at._actions


def _usage(action: argparse.Action) -> str:
    many = " ..." if action.nargs == "*" else ""
    optional = bool(action.option_strings) or action.nargs in ("?", "*")
    return f"[{_spelt(action)}{many}]" if optional else _spelt(action)


def _spelt(action: argparse.Action) -> str:
    if action.choices:
        value = "|".join(action.choices)
    else:
        value = str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return value if action.metavar or action.choices else f"<{action.dest}>"
    return ", ".join(action.option_strings) + (f" {value}" if action.nargs != 0 else "")


def _exit_codes() -> Table:
    found = {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    rows = [(str(value), name[5:].lower().replace("_", " ")) for name, value in found.items()]
    return Table(("code", ""), rows, ("what it means",))


# --- errors -----------------------------------------------------------------------------------


def error_codes() -> dict[str, set[int]]:
    """Every code that can reach a person, with the exit codes that it may come with."""
    found: dict[str, set[int]] = {}
    for _, call, kind in raised():
        code = _constant(call)
        if code is not None:
            found.setdefault(code or kind.default_code, set()).add(kind.exit_code)
    for code in (code for codes in COMPUTED.values() for code in codes):
        found.setdefault(code, {GovError.exit_code})
    return {code: {EXITS[code]} if code in EXITS else exits for code, exits in found.items()}


def raised() -> Iterator[tuple[str, ast.Call, type[GovError]]]:
    """Each place that makes an error: its file, the call, the class."""
    classes: list[type[GovError]] = [GovError, *GovError.__subclasses__()]
    kinds = {kind.__name__: kind for kind in classes}
    for path in sorted([*HOME.rglob("*.py"), *(CHECKOUT / "tasks").glob("*.py")]):
        file = str(path.relative_to(CHECKOUT))
        for name, call in _calls(path):
            if name in kinds and not path.is_relative_to(HOME / "sample"):
                yield file, call, kinds[name]


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node


def _constant(call: ast.Call) -> str | None:
    """The code as written, "" for the class's own, None where it is computed."""
    given = _code(call)
    if given is None:
        return ""
    return str(given.value) if isinstance(given, ast.Constant) else None


def _code(call: ast.Call) -> ast.expr | None:
    return next((word.value for word in call.keywords if word.arg == "code"), None)


def is_computed(call: ast.Call) -> bool:
    """Not one that is passed on, `code=error.code`: it is listed where it was raised first."""
    return _constant(call) is None and not isinstance(_code(call), ast.Attribute)


def _errors() -> Table:
    rows = [
        (f"`{code}`", " or ".join(map(str, sorted(exits))))
        for code, exits in sorted(error_codes().items())
    ]
    return Table(("code", "exit"), rows, ("what happened", "the way out"))


# --- data -------------------------------------------------------------------------------------


def _settings() -> Table:
    rows = [
        (f"`{setting.key}`", f"`{json.dumps(setting.default)}`", setting.comment)
        for setting in config.SETTINGS
    ]
    return Table(("setting", "default", "meaning"), rows)


def _moves() -> Table:
    rows = [
        (
            f"`{status}`",
            ", ".join(f"`{name}`" for name in sorted(documents.MOVES[status])) or "nothing",
        )
        for status in documents.MOVES
    ]
    return Table(("status", "may become"), rows, ("meaning",))


def _document(name: str) -> Table:
    kind = next(kind for kind in DOCUMENTS if kind.__name__ == name)
    required = getattr(kind, "required", None)
    rows = [
        (f"`{entry.name}`", f"`{entry.type}`", _default(entry, required))
        for entry in fields(kind)
        if entry.name != "extra"
    ]
    return Table(("field", "type", "where it is missing"), rows, ("meaning",))


def _default(entry: Field[Any], required: Sequence[str] | None) -> str:
    bare = entry.default is MISSING and entry.default_factory is MISSING
    if entry.name in (required or ()) or (required is None and bare):
        return "required"
    value = entry.default if entry.default_factory is MISSING else entry.default_factory()
    return f"`{json.dumps(value)}`"


# --- the code ---------------------------------------------------------------------------------


def _tasks() -> Table:
    """The creators and their sentences, read as text: only the command line imports the graph."""
    rows = []
    for path in sorted((CHECKOUT / "tasks").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("task_"):
                rows.append((f"`{node.name[5:]}`", _first_sentence(node)))
    return Table(("task", "what it does"), sorted(rows))


def _modules() -> Table:
    rows = []
    for path in sorted(HOME.iterdir()):
        if (path / "__init__.py").is_file():
            inside = sorted(p.stem for p in path.glob("*.py") if p.stem != "__init__")
            what = _first_sentence(ast.parse((path / "__init__.py").read_text()))
            rows.append((f"`governance/{path.name}/`", f"{what} ({', '.join(inside)})"))
        elif path.suffix == ".py" and not path.name.startswith("__"):
            rows.append((f"`governance/{path.name}`", _first_sentence(ast.parse(path.read_text()))))
    return Table(("where", "what"), rows)


def _first_sentence(node: ast.FunctionDef | ast.Module) -> str:
    text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.?])  ?(?=[A-Z`])", text)[0].rstrip(".")


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


# --- the files --------------------------------------------------------------------------------

_TABLES: dict[str, Callable[[], Table]] = {
    "verbs": _verbs,
    "common options": _common,
    "exit codes": _exit_codes,
    "errors": _errors,
    "settings": _settings,
    "moves": _moves,
    "tasks": _tasks,
    "modules": _modules,
}


def generate(name: str, before: str) -> str:
    """The text of the part `name`; `before` is what stands there, with its hand-written cells.

    KeyError or StopIteration for an unknown name.
    """
    head, _, rest = name.partition(" ")
    if head == "verb":
        return _verb(rest, before)
    table = _document(rest) if head == "document" else generated_table(name)
    return table.text(before)


def generated_table(name: str) -> Table:
    return _TABLES[name]()


def parts(text: str) -> list[tuple[str, str]]:
    """The generated parts of a document: name and what stands there."""
    return [(found["name"], found["body"]) for found in _PART.finditer(text)]


def renewed(text: str) -> str:
    """A document with its generated parts as the code is now."""
    return _PART.sub(_renewed, text)


def _renewed(found: re.Match[str]) -> str:
    return f"{found['head']}\n\n{generate(found['name'], found['body'])}\n\n<!-- end -->"


def stale(folder: Path) -> dict[Path, str]:
    """The documents that are not as the code is, with the text that they should have."""
    found = {}
    for path in sorted(folder.glob("*.md")):
        text = path.read_text()
        new = renewed(text)
        if new != text:
            found[path] = new
    return found


def main(argv: list[str]) -> int:
    asked = argparse.ArgumentParser(prog="python -m governance.cli.reference")
    asked.add_argument("folder", type=Path)
    asked.add_argument("--check", action="store_true", help="only tell what is not current")
    given = asked.parse_args(argv)
    changed = stale(given.folder)
    for path, text in changed.items():
        if not given.check:
            store.write(path, text.encode())
        sys.stdout.write(f"{'not current' if given.check else 'written'}: {path}\n")
    return int(given.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
