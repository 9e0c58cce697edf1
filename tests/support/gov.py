"""`gov` as it is typed: in this process for speed, or as a program of its own."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from governance.cli.main import main
from governance.truth import workspace

MAIN = workspace.CHECKOUT / "governance" / "__main__.py"
SECONDS = 120


class Ended(NamedTuple):
    """How one command ended; `document` and `data` hold the promises of `--json`."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout; nothing may stand before or behind it."""
        found = json.loads(self.out)
        assert set(found) == {
            "schema", "command", "ok", "exit_code", "data", "warnings", "error",
        }  # fmt: skip
        assert found["schema"] == "gov/1"
        assert found["exit_code"] == self.code
        assert found["ok"] == (self.code == 0)
        assert isinstance(found["warnings"], list)
        error = found["error"]
        assert error is None or set(error) == {"code", "message", "hint", "facts"}
        return found

    @property
    def data(self) -> Any:
        return self.document["data"]

    @property
    def error(self) -> Any:
        return self.document["error"]

    def problems(self, word: str) -> list[str]:
        """The lines on stderr that begin with `word:`."""
        return [line for line in self.err.splitlines() if line.startswith(f"{word}:")]

    def ok(self) -> "Ended":
        assert self.code == 0, self
        return self


class Gov:
    """`gov(...)` for one workspace; `gov.process(...)` starts a real program."""

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def __call__(self, *arguments: object) -> Ended:
        argv = tuple(map(str, arguments))
        out, err = io.StringIO(), io.StringIO()
        before = signal.getsignal(signal.SIGTERM)
        with _rooted(self.root), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(list(argv))
            except SystemExit as ended:  # --help and --version
                code = int(ended.code or 0)
            finally:
                signal.signal(signal.SIGTERM, before)
        return Ended(argv, code, out.getvalue(), err.getvalue())

    def json(self, *arguments: object) -> Ended:
        return self(*arguments, "--json")

    def process(self, *arguments: object, program: Path | None = None, **given: Any) -> Ended:
        """A program of its own; `env` is added to the environment."""
        command = [str(program)] if program else [sys.executable, str(MAIN)]
        given["env"] = environment(self.root, **given.pop("env", {}))
        given = {"stdin": subprocess.DEVNULL, "timeout": SECONDS} | given
        argv = tuple(map(str, arguments))
        done = subprocess.run([*command, *argv], capture_output=True, text=True, **given)
        return Ended(argv, done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: object, **given: Any) -> subprocess.Popen[str]:
        """Started and left running, with pipes for both outputs."""
        given["env"] = environment(self.root, **given.pop("env", {}))
        given = {"stdin": subprocess.DEVNULL} | given
        return subprocess.Popen(
            [sys.executable, str(MAIN), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **given,
        )


def environment(root: Path | None, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != workspace.ROOT_VARIABLE}
    named = {workspace.ROOT_VARIABLE: str(root)} if root else {}
    return kept | named | more


@contextlib.contextmanager
def _rooted(root: Path | None):
    """GOV_ROOT as a launcher would set it."""
    before = os.environ.pop(workspace.ROOT_VARIABLE, None)
    if root is not None:
        os.environ[workspace.ROOT_VARIABLE] = str(root)
    try:
        yield
    finally:
        os.environ.pop(workspace.ROOT_VARIABLE, None)
        if before is not None:
            os.environ[workspace.ROOT_VARIABLE] = before
