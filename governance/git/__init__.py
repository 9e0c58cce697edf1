"""The only door to git: sources, clones, and questions to checkouts.

Clone URLs, refs, repositories and the `.git` folders of checkouts are hostile input; `call` says
how git itself is kept from running their programs, `checkout` how theirs are read.
"""

from __future__ import annotations

from governance.git.checkout import (
    branch,
    commit_date,
    earlier,
    head,
    is_reachable,
    is_repository,
    modified,
    newer,
    objects,
    origin,
    tracked,
)
from governance.git.remote import Cloned, Refs, clone, list_refs
from governance.git.source import Source, same_origin, source, stripped

__all__ = [
    "Cloned",
    "Refs",
    "Source",
    "branch",
    "clone",
    "commit_date",
    "earlier",
    "head",
    "is_reachable",
    "is_repository",
    "list_refs",
    "modified",
    "newer",
    "objects",
    "origin",
    "same_origin",
    "source",
    "stripped",
    "tracked",
]
