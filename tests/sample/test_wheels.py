import subprocess
import tarfile
import zipfile

import pytest

from governance.sample.wheels import Wheel, build

from .conftest import make_environment, uv


def python(environment, code):
    command = [environment / "bin" / "python", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_same_wheel_has_the_same_bytes(tmp_path):
    for wheel in (Wheel("a", "1.0", requires=("b",)), Wheel("c", "2", sdist=True)):
        first = build(wheel, tmp_path / "one").read_bytes()
        assert build(wheel, tmp_path / "two").read_bytes() == first


def test_no_file_tells_when_it_was_made(tmp_path):
    with zipfile.ZipFile(build(Wheel("a", "1.0"), tmp_path)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    source = build(Wheel("a", "1.0", sdist=True), tmp_path)
    assert source.read_bytes()[4:8] == bytes(4)
    with tarfile.open(source) as archive:
        assert {entry.mtime for entry in archive.getmembers()} == {0}


def test_installed_wheels_are_importable_and_complete(tmp_path, package_folder, uv_cache):
    env = make_environment(tmp_path / "env", package_folder, uv_cache, "numpy==1.26.4", "tqdm")
    assert python(env, "import numpy; print(numpy.__version__)") == "1.26.4"
    assert (env / "bin" / "tqdm").exists()
    assert uv("pip", "check", "--python", env).returncode == 0


def test_record_owns_every_file(tmp_path):
    path = build(Wheel("a-b", "1.0", modules={"a_b/x.py": "", "a_b/y.py": "1"}), tmp_path)
    with zipfile.ZipFile(path) as archive:
        record = archive.read("a_b-1.0.dist-info/RECORD").decode()
        assert {line.split(",")[0] for line in record.splitlines()} == set(archive.namelist())


def test_extras_bring_their_requirements(tmp_path, package_folder, uv_cache):
    env = make_environment(tmp_path / "env", package_folder, uv_cache, "transformers[timm]")
    assert python(env, "import timm, torch; print(torch.__version__)") == "2.9.1"


def test_extras_keep_markers_of_their_own(tmp_path):
    wheel = Wheel("a", "1.0", extras={"x": ("b ; python_version < '3'",)})
    with zipfile.ZipFile(build(wheel, tmp_path)) as archive:
        metadata = archive.read("a-1.0.dist-info/METADATA").decode()
    assert "Requires-Dist: b ; (python_version < '3') and extra == \"x\"" in metadata


def test_one_family_owns_the_same_file(tmp_path, package_folder, uv_cache):
    family = ("opencv-python", "opencv-python-headless", "opencv-contrib-python")
    env = make_environment(tmp_path / "env", package_folder, uv_cache, *family)
    assert python(env, "import cv2; print(cv2.BUILD)") in family
    owners = [
        path.parent.name
        for path in env.glob("lib/*/site-packages/*/RECORD")
        if "cv2/__init__.py," in path.read_text()
    ]
    assert len(owners) == 3


def test_a_source_package_builds_without_an_index(tmp_path, package_folder, uv_cache):
    env = make_environment(tmp_path / "env", package_folder, uv_cache, "source-only")
    assert python(env, "import source_only; print(source_only.__version__)") == "1.0"


@pytest.mark.parametrize("flag", ["--no-build", "--only-binary=:all:"])
def test_a_source_package_is_no_wheel(package_folder, flag, tmp_path, uv_cache):
    uv("venv", tmp_path / "env")
    finding = ("--no-index", "--find-links", package_folder, "--cache-dir", uv_cache)
    done = uv(
        "pip", "install", "--python", tmp_path / "env", *finding, flag, "source-only", check=False
    )
    assert done.returncode != 0
    assert "source-only" in done.stderr
