"""What other commits of a checkout hold, asked of the objects that lie there; no remote is asked.

A history that was cut, or of which git would have to fetch the files, answers less.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from governance.git import checkout
from governance.git.call import Limits, run


@dataclass(frozen=True)
class Past:
    """Every question counts against `limits`; GovError (timed_out) where they are used up."""

    env: Mapping[str, str]
    limits: Limits

    def holds(self, commit: str, path: str) -> bool:
        """A file or a folder."""
        return self._asked("cat-file", "-e", f"{commit}:{path}") is not None

    def read(self, commit: str, path: str) -> bytes | None:
        return self._asked("cat-file", "blob", f"{commit}:{path}")

    def commits(self, *which: str) -> list[str]:
        """Of `git rev-list`, in its order; none where git cannot tell."""
        return (self._asked("rev-list", *which) or b"").decode("ascii", "replace").split()

    def parents(self, *which: str) -> list[str]:
        """The first parents of what `git log` lists, in its order."""
        # --diff-merges alone would print the diffs.
        told = self._asked("log", "--first-parent", "--no-patch", "--format=%P", *which) or b""
        rows = (line.split() for line in told.decode("ascii", "replace").splitlines())
        return [row[0] for row in rows if row]

    def mentions(self, commit: str, pattern: str, paths: str) -> bool:
        """Whether a file of the commit has a line that matches the extended expression."""
        found = run(
            ["grep", "--quiet", "--no-textconv", "-I", "-E", "-e", pattern, commit, "--", paths],
            self.env,
            limits=self.limits,
        )
        return found.returncode != 1

    def _asked(self, *words: str) -> bytes | None:
        told = run(words, self.env, limits=self.limits)
        return told.stdout if told.ok else None


@contextmanager
def past(place: Path, seconds: float) -> Iterator[Past]:
    """Raises GovError where there is no commit."""
    with checkout.reading(place, Path(os.devnull)) as env:
        yield Past(env, Limits(seconds))


def tips(place: Path) -> list[str]:
    """The newest commits of its remote's branches, as far as they were fetched."""
    return [commit for commit, ref in checkout.refs(place) if ref.startswith("refs/remotes/")]


def tags(place: Path) -> list[tuple[str, str]]:
    """(commit or tag object, name) of each."""
    head = "refs/tags/"
    return [(c, r.removeprefix(head)) for c, r in checkout.refs(place) if r.startswith(head)]
