"""The archive of a version: laid as it was published, and a hostile one leaves nothing."""

import hashlib
import io
import os
import stat
import struct
import zipfile

import pytest
from support.registry import zipped

from governance.base.errors import GovError, Refused, UsageError
from governance.catalogue import archive, unpacking

GOOD = {
    "__init__.py": "NODE_CLASS_MAPPINGS = {}\n",
    "pyproject.toml": '[project]\nname = "pack"\nversion = "1.0.0"\n',
    "js/": "",
    "js/tool.js": "let a = 1;\n",
    "run.sh": "#!/bin/sh\n",
}


@pytest.fixture
def into(tmp_path):
    return tmp_path / "laid" / "pack"


def assert_nothing_left(into):
    assert not os.path.lexists(into)
    assert not into.parent.exists() or list(into.parent.iterdir()) == []


def test_it_lays_the_files_and_the_tracking_of_manager(registry, settings, into):
    data = zipped(GOOD, modes={"run.sh": stat.S_IFREG | 0o755})
    registry.publish("pack", "1.0.0", archive=data)
    found = archive.fetch(settings(), "pack", "1.0", into)
    assert (found.version, found.size) == ("1.0.0", len(data))
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert (into / "js/tool.js").read_text() == "let a = 1;\n"
    assert os.access(into / "run.sh", os.X_OK) and not os.access(into / "__init__.py", os.X_OK)
    assert (into / ".tracking").read_text().split("\n") == list(GOOD)
    assert sorted(p.name for p in into.parent.iterdir()) == ["pack"], "the archive is gone"


def test_a_real_one_is_counted_and_a_look_is_not(registry, settings, into):
    registry.publish("pack", "1.0.0")
    archive.fetch(settings(), "pack", "1.0.0", into, counted=False)
    assert registry.asked("/install") == []
    archive.fetch(settings(), "pack", "1.0.0", into.with_name("again"))
    assert registry.asked("/install") == ["GET /nodes/pack/install?version=1.0.0"]


def test_other_bytes_than_were_recorded_are_refused_before_they_are_opened(
    registry, settings, into
):
    registry.publish("pack", "1.0.0")
    kept = archive.fetch(settings(), "pack", "1.0.0", into).sha256
    archive.fetch(settings(), "pack", "1.0.0", into.with_name("same"), kept)
    registry.publish("pack", "1.0.0", archive=b"not even a zip")
    with pytest.raises(Refused, match=r"pack@1\.0\.0 is not the one it was") as refused:
        archive.fetch(settings(), "pack", "1.0.0", into.with_name("other"), kept)
    assert refused.value.code == "archive_changed"
    assert not into.with_name("other").exists()


def test_an_archive_with_its_own_tracking_does_not_decide_it(registry, settings, into):
    registry.publish("pack", "1.0.0", {"__init__.py": "", ".tracking": "../../elsewhere\n"})
    archive.fetch(settings(), "pack", "1.0.0", into)
    assert (into / ".tracking").read_text() == "__init__.py"


def lying(name, size):
    """An archive whose table of contents declares another size than its data has."""
    data = bytearray(zipped({name: b"x" * 5000}, method=zipfile.ZIP_STORED))
    at = data.rfind(b"PK\1\2")
    struct.pack_into("<L", data, at + 24, size)
    return bytes(data)


def many(count):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for number in range(count):
            opened.writestr(f"f{number}", b"")
    return made.getvalue()


def flagged(data, bits):
    """The bits set in the flags of the table of contents."""
    data = bytearray(data)
    at = data.rfind(b"PK\1\2")
    struct.pack_into("<H", data, at + 8, bits)
    return bytes(data)


LINK = {"evil": stat.S_IFLNK | 0o777}
HOSTILE = {
    "a link": (zipped({"__init__.py": "", "evil": "/etc/passwd"}, modes=LINK), "a link: 'evil'"),
    "a pipe": (zipped({"p": ""}, modes={"p": stat.S_IFIFO | 0o644}), "what is no file"),
    "a device": (zipped({"p": ""}, modes={"p": stat.S_IFBLK | 0o644}), "what is no file"),
    "parents": (zipped({"../../evil.py": "x"}), "leads elsewhere: '../../evil.py'"),
    "hidden parents": (zipped({"a/../../evil.py": "x"}), "leads elsewhere"),
    "absolute": (zipped({"/tmp/evil.py": "x"}), "absolute path"),
    "a drive": (zipped({"C:/evil.py": "x"}), "absolute path"),
    "backslashes": (zipped({"..\\evil.py": "x"}), "odd characters"),
    "a control character": (zipped({"a\x1b[2J.py": "x"}), "odd characters"),
    "no name": (zipped({"a//b": "x"}), "leads elsewhere"),
    "git's folder": (zipped({"sub/.GIT/config": "x"}), "git's own"),
    "a case clash": (zipped({"Readme.md": "1", "readme.md": "2"}), "differ by case alone"),
    "a case clash of folders": (zipped({"Lib/a.py": "", "lib/b.py": ""}), "differ by case alone"),
    "twice": (zipped([("a.py", "1"), ("a.py", "2")]), "'a.py' twice"),
    "file and folder": (zipped([("a", "1"), ("a/b", "2")]), "as a file and as a folder"),
    "a long name": (zipped({"x" * 300: ""}), "too long"),
    "deep": (zipped({"d/" * 60 + "x": ""}), "too long"),
    "a bomb": (zipped({"zeros": bytes(64 << 20)}), "times its size"),
    "a lie": (lying("a.py", 10), "broken"),
    "too many": (many(unpacking.MOST_ENTRIES + 1), "20,001 entries"),
    "far too many": (many(70_000), "65,535"),
    "encrypted": (flagged(zipped({"a.py": ""}), 1), "is encrypted"),
    "empty": (zipped({}), "holds no file"),
    "no zip": (b"<html>login</html>", "is broken, or is no zip archive"),
    "nothing": (b"", "is broken, or is no zip archive"),
    "cut off": (zipped(GOOD)[:-30], "is broken, or is no zip archive"),
    "a flipped byte": (zipped(GOOD).replace(b"let a", b"let b"), "broken"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_leaves_nothing(registry, settings, into, kind):
    data, says = HOSTILE[kind]
    if kind == "a flipped byte":
        data = zipped(GOOD, method=zipfile.ZIP_STORED).replace(b"let a", b"let b")
    registry.publish("pack", "1.0.0", archive=data)
    with pytest.raises(Refused) as refused:
        archive.fetch(settings(), "pack", "1.0.0", into)
    assert says in refused.value.message
    assert refused.value.code == "archive_unfit"
    assert "pack@1.0.0" in refused.value.message
    assert_nothing_left(into)
    assert not (into.parent.parent / "evil.py").exists()


def test_the_limits_of_clones_hold_for_archives(registry, settings, into):
    registry.publish("pack", "1.0.0", archive=os.urandom(2 << 20))
    with pytest.raises(GovError, match="larger than 1 MiB"):
        archive.fetch(settings(policy__clone_limit_mb=1), "pack", "1.0.0", into)
    assert_nothing_left(into)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x.zip", "http:///x", "", "x"])
def test_an_address_that_is_none(registry, settings, into, url):
    registry.publish("pack", "1.0.0", downloadUrl=url)
    with pytest.raises((Refused, UsageError)):
        archive.fetch(settings(), "pack", "1.0.0", into)
    assert_nothing_left(into)


def test_a_download_that_breaks_off(registry, settings, into):
    registry.publish("pack", "1.0.0")
    registry.fail("/files", 200, zipped(GOOD)[:50], declared=5000)
    with pytest.raises(GovError, match="broke off after 50 of 5,000 bytes"):
        archive.fetch(settings(), "pack", "1.0.0", into)
    assert_nothing_left(into)


def test_a_download_that_drips(registry, settings, into):
    registry.publish("pack", "1.0.0")
    registry.fail("/files", 200, b"x" * 200, drip=0.05)
    with pytest.raises(GovError, match=r"within 0\.4 seconds"):
        archive.fetch(settings(policy__clone_timeout_seconds=0.4), "pack", "1.0.0", into)
    assert_nothing_left(into)


def test_an_archive_that_is_gone(registry, settings, into):
    registry.publish("pack", "1.0.0")
    registry.archives.clear()
    with pytest.raises(GovError, match="404"):
        archive.fetch(settings(), "pack", "1.0.0", into)


def test_a_version_that_is_unknown(registry, settings, into):
    registry.publish("pack", "1.0.0")
    with pytest.raises(UsageError, match=r"no version 2\.0\.0 of pack"):
        archive.fetch(settings(), "pack", "2", into)
