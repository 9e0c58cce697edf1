"""How every command says no: one `error:` line, one `hint:` line, the code, nothing touched."""

from .fingerprint import differences, fingerprint
from .gov import Ended
from .worlds import Site


def assert_told(ended: Ended, code: int, says: str = "") -> Ended:
    """One error line that holds `says`, one hint line, no traceback."""
    assert ended.code == code, ended
    errors, hints = ended.problems("error"), ended.problems("hint")
    assert len(errors) == 1, ended
    assert len(hints) == 1, ended
    assert len(errors[0]) > len("error: "), ended
    assert len(hints[0]) > len("hint: "), ended
    assert says in errors[0], ended
    assert "Traceback" not in ended.out + ended.err, ended
    return ended


def assert_refused(site: Site, *argv: object, code: int, says: str = "", named: str = "") -> Ended:
    """Typed as text and with --json: refused alike, and nothing differs.  The JSON's Ended."""
    before = fingerprint(site.root, site.comfyui)
    told = assert_told(site.gov(*argv), code, says)
    assert told.out == "", told
    ended = site.gov(argv[0], "--json", *argv[1:]) if argv else site.gov("--json")
    assert ended.code == code, ended
    assert ended.data is None, ended
    assert says in ended.error["message"], ended
    assert named in ("", ended.error["code"]), ended
    changed = differences(before, fingerprint(site.root, site.comfyui))
    assert not changed, (ended, changed)
    return ended
