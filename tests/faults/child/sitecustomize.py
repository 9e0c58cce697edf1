"""What GOV_BREAK names is left out of gov; used by the controls alone (see ../broken.py)."""

import os


def without_intent():
    """Documents are written one after the other, as a plain script would."""
    from governance.truth import redo

    redo.commit = lambda space, change: redo._apply(space, redo._intent(space, change))


def apply_first():
    """The journal in the wrong order: the change is made, then the intent is written."""
    from governance.boundaries import store
    from governance.truth import redo

    def broken(space, change):
        intent = redo._intent(space, change)
        redo._apply(space, intent)
        store.write_json(space.intent, intent)
        store.remove_file(space.intent)

    redo.commit = broken


def in_place():
    """Documents are truncated and written in place."""
    from governance.boundaries import store

    store.write = lambda path, data, mode=0o644: path.write_bytes(data) and None


def without_lock():
    """Everybody is let in."""
    import filelock

    filelock.FileLock.acquire = lambda self, *arguments, **options: None


def silent_disk():
    """Errors of the disk are swallowed."""
    from governance.boundaries import store

    def quiet(act):
        def tried(*arguments, **options):
            try:
                act(*arguments, **options)
            except Exception:
                return

        return tried

    store.write = quiet(store.write)
    store.write_folder = quiet(store.write_folder)


def old_clock():
    """The machine's clock stands in 1999."""
    from datetime import UTC, datetime

    from governance.base import clock

    clock.now = lambda: datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)


def far_clock():
    """The machine's clock stands in 2099."""
    from datetime import UTC, datetime

    from governance.base import clock

    clock.now = lambda: datetime(2099, 1, 1, tzinfo=UTC)


if os.environ.get("GOV_BREAK"):
    globals()[os.environ["GOV_BREAK"]]()
