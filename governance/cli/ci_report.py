"""What `gov ci` found: a table, JUnit's XML (one case a run), Markdown for a pull request."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from governance.base import clock
from governance.base.errors import GovError
from governance.cli import conflicts
from governance.cli.outcome import Part, Table

if TYPE_CHECKING:
    from governance.ci.results import Result

_HEADS = ("ComfyUI", "Python", "with", "locks", "starts", "classes", "findings", "seconds", "run")
_SHOWN = 12
# XML 1.0 has no way to write them: https://www.w3.org/TR/xml/#charsets
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Report:
    """Of one node; `kept` is where the workspaces are."""

    def __init__(self, node: str, results: Sequence[Result], *, kept: Path | None = None) -> None:
        self._node = node
        self._results = results
        self._kept = kept

    def parts(self) -> list[Part]:
        rows = [_row(one) for one in self._results]
        marks = {n: "good" if one.passed else "bad" for n, one in enumerate(self._results)}
        told: list[Part] = [Table(self._node, _HEADS, rows, marks)]
        for one in self._results:
            lines = list(_details(one))
            if lines:
                told += [f"{_name(one)}: {one.status}", *(f"  {line}" for line in lines)]
        return told

    def error(self) -> GovError | None:
        failed = [one for one in self._results if not one.passed]
        if not failed:
            return None
        looked = next((one for one in failed if self._kept and one.root and one.txid), None)
        hint = "`gov ci PATH --keep DIR` keeps the workspaces to look into"
        if looked is not None:
            hint = f"`gov --root {shlex.quote(str(looked.root))} tx inspect last` tells more"
        return GovError(
            f"{len(failed)} of {len(self._results)} runs of {self._node} failed",
            hint=hint,
            code="ci_failed",
            facts={"failed": [_name(one) for one in failed]},
        )

    # --- JUnit ----------------------------------------------------------------------------------

    def junit(self) -> bytes:
        """A failure is the node's, an error what kept a run from being made."""
        from xml.etree import ElementTree

        failed = [one for one in self._results if one.status == "failed"]
        counts = {
            "name": f"gov ci {self._node}",
            "tests": str(len(self._results)),
            "failures": str(len(failed)),
            "errors": str(len([r for r in self._results if r.status == "error"])),
            "time": f"{sum(one.seconds for one in self._results):.1f}",
        }
        suites = ElementTree.Element("testsuites", counts)
        stamp = datetime.isoformat(clock.now().replace(microsecond=0, tzinfo=None))
        suite = ElementTree.SubElement(suites, "testsuite", {**counts, "timestamp": stamp})
        for one in self._results:
            names = {"classname": self._node, "name": _name(one), "time": f"{one.seconds:.1f}"}
            case = ElementTree.SubElement(suite, "testcase", names)
            text = _xml("\n".join(_details(one)))
            if one.passed:
                ElementTree.SubElement(case, "system-out").text = text
                continue
            kind = "failure" if one.status == "failed" else "error"
            said = {"message": _xml(one.reason), "type": one.verdict or one.status}
            ended = ElementTree.SubElement(case, kind, said)
            ended.text = "\n".join([text, "", *map(_xml, one.log_tail)])
        ElementTree.indent(suites)
        return bytes(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"

    # --- Markdown -------------------------------------------------------------------------------

    def markdown(self) -> bytes:
        passed = len([one for one in self._results if one.passed])
        lines = [f"### {_md(self._node)}: {passed} of {len(self._results)} runs passed", ""]
        lines += [_md_row(_HEADS), _md_row(["---"] * len(_HEADS))]
        lines += [_md_row([_md(cell) for cell in _row(one)]) for one in self._results]
        for one in self._results:
            lines += _md_details(one)
        return ("\n".join(lines) + "\n").encode()


def _name(one: Result) -> str:
    beside = f", with {' and '.join(one.tried.beside)}" if one.tried.beside else ""
    return f"ComfyUI {one.tried.version}, Python {one.tried.python}{beside}"


def _row(one: Result) -> list[str]:
    return [
        one.tried.version,
        one.tried.python,
        ", ".join(one.tried.beside) or "-",
        _yes_or_no(one.locks),
        _yes_or_no(one.starts),
        str(len(one.classes)) if one.starts else "-",
        str(len(one.findings) + len(one.lines)),
        f"{one.seconds:.1f}",
        one.status,
    ]


def _yes_or_no(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _details(one: Result) -> Iterator[str]:
    """Why it failed, what to do, and what else was seen."""
    if not one.passed:
        yield one.reason
    if one.hint:
        yield f"hint: {one.hint}"
    if one.conflict:
        yield from map(str, conflicts.screen(one.conflict, None))
    for line in one.lines:
        yield f"add this line to requirements.txt: {line}"
    yield from (f"finding: {text}" for text in one.findings[:_SHOWN])
    more = len(one.findings) - _SHOWN
    if more > 0:
        yield f"finding: {more} more (--json has all)"


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _md_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _md(text: str) -> str:
    """Plain text: what a node calls itself makes no link, table cell or HTML."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(text.split()))


def _md_details(one: Result) -> list[str]:
    lines = list(_details(one))
    if not lines:
        return []
    told = ["", f"**{_md(_name(one))}**: {one.status}", ""]
    told += [f"- {_md(line)}" for line in lines]
    tail = "\n".join(one.log_tail)
    if not tail:
        return told
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", tail)), default=0))
    return [*told, "", "<details><summary>log</summary>", "", fence, tail, fence, "", "</details>"]
