"""The environment of a lock, and what is done where one of its packages cannot be built.

uv goes far back for a package whose newer versions do not fit: `scipy<1.11` beside `numpy>=2.1`
locks as scipy 1.6.1, of which there is only the source, and that fails an hour of compiling later.
So a package whose build failed is locked once more, from its wheels only; where none fits, that is
a conflict like any other, with its own fixes.
"""

from __future__ import annotations

from governance.base.errors import GovError
from governance.changes import plan
from governance.changes.work import Work
from governance.truth.documents import Generation


def build(work: Work) -> Generation | None:
    """The built generation of the staged lock; None where the lock became a conflict, which is
    recorded.  Raises what a failed build raises where another lock would not help."""
    while True:
        try:
            return work.stages.build(work.session.uv)
        except GovError as error:
            if not _take_note(work, error):
                raise
        if not plan.lock(work):
            return None


def _take_note(work: Work, error: GovError) -> bool:
    """Keep which packages could not be built; whether there are new ones with an index behind
    them."""
    if error.code != "build_failed":
        return False
    from governance.conflict import message
    from governance.truth import lying_index

    log = str(error.facts.get("log", ""))
    lying_index.require_honest(work.session.uv, work.stages.folder, log)
    said = message.build_problem(log)
    known = {row["package"] for row in work.tx.unbuildable}
    failed = [one for one in message.failed_builds(log) if one[1] and one[0] not in known]
    for name, version in failed:
        why = f": {said}" if said else ""
        work.session.say(f"{name} {version} cannot be built here{why}")
        work.tx.unbuildable.append({"package": name, "version": version, "said": said})
    if failed:
        work.session.say("locking once more without versions that have to be built")
    return bool(failed)
