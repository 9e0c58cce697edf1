"""Whose files lie there: packages that install the same files are laid in one fixed order.

uv installs in parallel, so that whoever is last wins, another one on every build.  After the sync
gov lets uv lay the winners once more, from its cache, as the lock names them.  Measured: `uv sync
--reinstall-package --offline` does so without a request, in 0.1 s a package.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import store
from governance.boundaries.uv import Uv
from governance.conflict import shared
from governance.environments import wheelhouse
from governance.environments.records import site_packages
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Laid:
    """An environment that is being built from the lock in `folder`."""

    workspace: Workspace
    uv: Uv
    folder: Path
    environment: Path
    python: str
    link_mode: str

    @property
    def lock(self) -> bytes:
        return store.read_bytes(self.folder / "uv.lock")

    def lay(self, *, offline: bool) -> None:
        """One `uv sync`, and the winners of shared files last."""
        self._sync(offline=offline)
        site = site_packages(self.environment)
        for group in shared.groups(site):
            if not group.is_settled(site):
                for package in reversed(group.order[:-1]):
                    self._lay_again(package, offline=offline)

    def _lay_again(self, package: str, *, offline: bool) -> None:
        try:
            self._sync(offline=True, again=package)
        except GovError:
            if offline:
                raise
            self._sync(offline=False, again=package)

    def _sync(self, *, offline: bool, again: str = "") -> None:
        wheelhouse.sync(
            self.workspace,
            self.uv,
            self.folder,
            self.environment,
            python=self.python,
            link_mode=self.link_mode,
            offline=offline,
            again=again,
        )
