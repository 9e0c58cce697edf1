"""Packages over each other's files, as real uv installs them."""

import subprocess
import sys

import pytest

from governance.boundaries import uv
from governance.conflict.shared import families, same_files
from governance.sample.wheels import Wheel, build_all

BODY = "".join(f"line {n}\n" for n in range(20))


def cv(name, version="4.0", extra=()):
    """Of one family: the same paths, other bytes."""
    files = {f"cv2/part{n}.py": f"# {name} {n}\n" for n in range(6)}
    files |= {f"cv2/{more}.py": f"# {more}\n" for more in extra}
    return Wheel(name, version, modules=files | {"cv2/same.py": BODY})


WHEELS = (
    cv("cv-plain"),
    cv("cv-rich", extra=("guided", "ximgproc")),
    Wheel("one", "1.0", modules={f"one/m{n}.py": "" for n in range(5)} | {"tests/a.py": "# 1"}),
    Wheel("two", "1.0", modules={f"two/m{n}.py": "" for n in range(5)} | {"tests/a.py": "# 2"}),
    Wheel("alone", "1.0"),
    *(Wheel(f"vendor-{n}", "1.0", modules={"vendor/__init__.py": ""}) for n in "ab"),
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    build_all(WHEELS, folder)
    return folder


@pytest.fixture
def installed(wheels, tmp_path):
    site = tmp_path / "site-packages"

    def install(*names):
        for name in names:
            argv = ["pip", "install", "--no-deps", "--no-index", "--target", site, name]
            argv += ["--find-links", wheels, "--python", sys.executable]
            command = [uv.executable(), *map(str, argv), "--cache-dir", str(tmp_path / "cache")]
            subprocess.run(command, check=True, capture_output=True)
        return site

    return install


def test_who_owns_the_files_and_what_settles_it(installed):
    (family,) = same_files(installed("cv-rich", "cv-plain", "alone"))
    assert family.packages == ("cv-plain", "cv-rich")
    assert family.files == 7
    assert family.owner == "cv-plain"
    assert family.keep == "cv-rich"
    assert family.overrides == ("cv-plain ; sys_platform == 'never'",)


def test_the_last_one_owns_them(installed):
    assert same_files(installed("cv-plain", "cv-rich"))[0].owner == "cv-rich"


def test_one_file_in_common_makes_no_family(installed):
    (pair,) = same_files(installed("one", "two"))
    assert (pair.packages, pair.files, pair.overrides) == (("one", "two"), 1, ())


def test_packages_apart_share_nothing(installed):
    assert same_files(installed("one", "alone")) == ()


def test_the_same_bytes_of_both_are_no_matter(installed):
    assert same_files(installed("vendor-a", "vendor-b")) == ()


def test_files_of_both_are_owned_by_none(installed):
    site = installed("cv-plain", "cv-rich")
    (site / "cv2" / "part0.py").write_text("# cv-plain 0\n")
    assert same_files(site)[0].owner == ""


def test_a_file_that_is_gone_is_no_vote(installed):
    site = installed("cv-plain", "cv-rich")
    (site / "cv2" / "part0.py").unlink()
    assert same_files(site)[0].owner == "cv-rich"


def test_known_families_in_a_plan():
    names = {"opencv-python", "opencv-contrib-python", "numpy", "onnxruntime"}
    (family,) = families(names)
    assert family.keep == "opencv-contrib-python"
    assert family.overrides == ("opencv-python ; sys_platform == 'never'",)


def test_the_override_that_settles_it_locks_without_the_package(world):
    world.core = ["trans[tim]", "num"]
    assert "tim" not in world.lock(world.lines(), ["tim ; sys_platform == 'never'"]).versions
