"""Generations: pristine, checked, sealed, never half there; and prod is always one of them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from governance import sandbox
from governance.base.errors import GovError
from governance.boundaries import store, uv
from governance.environments import generations, records
from governance.operations import recovery
from governance.sample import index
from governance.sample.wheels import Wheel, build
from governance.truth import resolution, snapshots


def staged(house, *lines):
    """A project folder with today's truth, plus `lines`, locked."""
    space = house.space
    folder = space.work / "staged"
    truth = snapshots.truth(space)
    project = resolution.Project.read(truth.pyproject, space.pyproject)
    project = project.with_group("node-x", lines) if lines else project
    resolution.stage(folder, project, truth.lock)
    if lines:
        assert resolution.lock(house.session().uv, folder, project).ok
    return folder


def built(house, *lines, **options):
    return generations.build(house.space, house.session().uv, staged(house, *lines), **options)


def module(house, name, file="numpy/__init__.py"):
    return house.site(generations.path(house.space, name)) / file


@pytest.fixture
def own_cache(make_governed):
    """A workspace with a uv cache of its own, for tests that damage it."""
    return make_governed(storage__uv_cache_dir=".uv-cache", storage__link_mode="hardlink")


def edit(path, text="broken = True\n"):
    """As a program does that may: root, or the owner after a chmod."""
    path.chmod(0o644)
    path.write_text(text)


# --- building -------------------------------------------------------------------------------


def test_a_sound_generation_is_taken_again_and_fresh_builds_anew(governed):
    before = generations.current(governed.space)
    assert built(governed).name == before
    assert governed.uv_calls("sync") == []
    assert built(governed, fresh=True).name != before
    assert governed.uv_calls("sync") == ["sync"]


def test_a_changed_generation_is_not_taken_again(own_cache):
    before = generations.current(own_cache.space)
    edit(module(own_cache, before))
    assert built(own_cache).name != before


def test_the_papers_hold_what_it_was_made_of(governed):
    space = governed.space
    made = generations.prod(space)
    papers = generations.papers(space, made.name)
    assert (papers / "uv.lock").read_bytes() == space.lock.read_bytes()
    assert (papers / "pyproject.toml").read_bytes() == space.pyproject.read_bytes()
    assert made.lock_sha256 == store.file_digest(space.lock)
    assert made.packages == ["numpy==2.4.1", "pillow==12.0.0", "pyyaml==6.0.2"]
    assert made.files == len(generations.file_list(generations.path(space, made.name)).splitlines())


@pytest.mark.parametrize("error", [KeyboardInterrupt, GovError("x", hint="y")])
def test_an_interrupted_build_is_deleted(governed, monkeypatch, error):
    space = governed.space
    before = sorted(p.name for p in space.generations.iterdir())
    real = uv.Uv.sync

    def half(self, project, target, **options):
        real(self, project, target, **options)
        shutil.rmtree(next(target.glob("lib/python3*/site-packages/numpy")))
        raise error

    monkeypatch.setattr(uv.Uv, "sync", half)
    with pytest.raises((KeyboardInterrupt, GovError)):
        built(governed, "cowsay")
    assert sorted(p.name for p in space.generations.iterdir()) == before
    monkeypatch.undo()


def test_what_a_killed_build_left_is_deleted_never_resumed(governed, monkeypatch):
    """A kill runs no clean-up: the folder stays, without a manifest."""
    space = governed.space
    before = sorted(p.name for p in space.generations.iterdir())
    monkeypatch.setattr(generations, "discard", lambda *_: None)
    monkeypatch.setattr(generations, "check_records", _killed)
    with pytest.raises(KeyboardInterrupt):
        built(governed, "cowsay")
    monkeypatch.undo()
    left = {p.name for p in space.generations.iterdir()} - set(before)
    assert len(left) == 2
    assert built_names(space) == [name for name in before if not name.endswith(".d")]
    with recovery.exclusive(space, "tx run") as told:
        assert any("unfinished" in sentence for sentence in told)
    assert sorted(p.name for p in space.generations.iterdir()) == before


def test_a_half_deleted_generation_counts_for_nothing(governed):
    """The manifest goes first: cut off after it, recovery deletes the rest."""
    space = governed.space
    name = built(governed, "cowsay").name
    (generations.papers(space, name) / generations.MANIFEST).unlink()
    assert generations.find(space, generations.names(space)[0]) is None
    assert name in generations.discard_unfinished(space)
    assert not generations.path(space, name).exists()


def built_names(space):
    return [n for n in generations.names(space) if generations.manifest(space, n) is not None]


def _killed(*_, **__):
    raise KeyboardInterrupt


# --- RECORD and the cache -------------------------------------------------------------------


def cached(house, name):
    """The file of that path in uv's cache."""
    found = [p for p in house.space.uv_cache.rglob(name) if "archive" in str(p)]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("damage", ["content", "size", "missing"])
def test_a_damaged_file_in_the_cache_is_found_and_fetched_anew(own_cache, damage):
    """Hardlinks share the damage with every build: uv itself never looks."""
    good = module(own_cache, generations.current(own_cache.space)).read_text()
    shared = cached(own_cache, "numpy/__init__.py")
    if damage == "missing":
        shared.unlink()
    else:
        text = shared.read_text()
        # A new file: prod, which is hardlinked to the old one, is another test's matter.
        shared.unlink()
        shared.write_text(text.swapcase() if damage == "content" else text + "# more\n")
    made = built(own_cache, fresh=True)
    assert module(own_cache, made.name).read_text() == good
    assert generations.check_records(generations.path(own_cache.space, made.name)) == []
    assert own_cache.uv_calls("sync", "cache") == ["sync", "cache", "sync"]


OF_UV = ("INSTALLER", "REQUESTED", "uv_cache.json")


@pytest.fixture
def hashed(monkeypatch):
    """The names of files that are hashed from now on."""
    found, real = [], records._hashed
    monkeypatch.setattr(records, "_hashed", lambda file, w: found.append(file) or real(file, w))
    return found


def test_what_prod_has_already_is_not_hashed_again(own_cache, hashed):
    built(own_cache, "cowsay")
    assert hashed
    # uv writes these anew wherever it lays a package.
    own = [file for file in hashed if Path(file).name not in OF_UV]
    assert {Path(file).parts[-2].split("-")[0] for file in own} == {"cowsay"}
    hashed.clear()
    built(own_cache, fresh=True)
    assert any("numpy" in file for file in hashed), "a repair looks at everything"


@pytest.mark.parametrize("change", ["edited", "listed"])
def test_what_is_not_as_prods_list_has_it_is_hashed(own_cache, hashed, change):
    name = generations.current(own_cache.space)
    file = module(own_cache, name)
    if change == "edited":
        edit(file, "# evil\n")
    else:
        listing = generations.papers(own_cache.space, name) / generations.FILES
        listing.write_bytes(listing.read_bytes() + b"more\t1 2 3 444\n")
    built(own_cache, "cowsay")
    assert any("numpy/__init__.py" in file for file in hashed)


def test_a_file_that_comes_otherwise_each_time_is_damage(own_cache, monkeypatch):
    """As of a failing disk: nothing that was published."""
    real, count = uv.Uv.sync, iter(range(9))

    def sync(self, project, target, **options):
        real(self, project, target, **options)
        file = own_cache.site(target) / "numpy/__init__.py"
        text = f"# {next(count)}\n" + file.read_text()
        file.unlink()
        file.write_text(text)

    monkeypatch.setattr(uv.Uv, "sync", sync)
    with pytest.raises(GovError, match=r"numpy/__init__\.py") as caught:
        built(own_cache, fresh=True)
    assert caught.value.code == "broken_package"
    assert len(built_names(own_cache.space)) == 1


VIDEO = Wheel(
    "video-reader",
    "0.6.0",
    modules={"video_reader/__init__.py": "", "video_reader/libs.py": "ABI = 1\n"},
    misrecorded=("video_reader/libs.py",),
)


@pytest.fixture
def own_index(own_cache, tmp_path):
    """A workspace with an index of its own, for tests that publish more."""
    folder = tmp_path / "published"
    build(VIDEO, folder)
    with index.serve(folder) as served:
        own_cache.index = served
        yield own_cache


def staged_from(house, *lines):
    """As `staged`, from the served index."""
    folder = staged(house)
    truth = snapshots.truth(house.space)
    project = resolution.Project.read(truth.pyproject, house.space.pyproject)
    project = project.with_sources([(lines[0], house.index.url, False)])
    project = project.with_group("node-x", lines)
    resolution.stage(folder, project, truth.lock)
    assert resolution.lock(house.session().uv, folder, project).ok
    return folder


def test_a_record_that_was_published_wrong_is_noted_once(own_index):
    house = own_index
    folder = staged_from(house, "video-reader")
    house.forget_uv_calls()
    made = generations.build(house.space, house.session().uv, folder)
    (row,) = made.misrecorded
    assert (row["package"], row["version"]) == ("video-reader", "0.6.0")
    assert row["path"] == "video_reader/libs.py"
    assert row["found"] != row["recorded"]
    assert house.uv_calls("sync", "cache") == ["sync", "cache", "sync"], "it was fetched anew, once"
    house.forget_uv_calls()
    again = generations.build(house.space, house.session().uv, folder, fresh=True)
    assert again.misrecorded == made.misrecorded
    assert house.uv_calls("sync", "cache") == ["sync"], "and then it is known"
    assert "video-reader 0.6.0 was published with a wrong entry" in records.sentences([row])[0]


def test_drift_is_measured_against_the_files_as_they_came(own_index):
    house = own_index
    made = generations.build(house.space, house.session().uv, staged_from(house, "video-reader"))
    environment = generations.path(house.space, made.name)
    rows = [records.Misrecorded(**row) for row in made.misrecorded]
    assert records.check_records(environment, misrecorded=rows) == []
    edit(module(house, made.name, "video_reader/libs.py"), "ABI = 2\n")
    (finding,) = records.check_records(environment, misrecorded=rows)
    assert (finding.kind, finding.detail) == ("hash", "video_reader")


@pytest.mark.parametrize(
    ("damage", "kind"), [("hash", "hash"), ("size", "size"), ("gone", "missing")]
)
def test_records_tell_what_is_wrong_with_which_package(governed, tmp_path, damage, kind):
    copy = tmp_path / "copy"
    shutil.copytree(
        generations.path(governed.space, generations.current(governed.space)), copy, symlinks=True
    )
    file = governed.site(copy) / "numpy/__init__.py"
    file.chmod(0o644)
    if damage == "gone":
        file.unlink()
    else:
        text = file.read_text()
        file.write_text(text.swapcase() if damage == "hash" else text + "#")
    (finding,) = generations.check_records(copy)
    assert (finding.kind, finding.path, finding.detail) == (kind, str(file), "numpy")


FAMILY = ("opencv-python", "opencv-python-headless", "opencv-contrib-python")


@pytest.mark.parametrize("last", FAMILY)
def test_who_wins_does_not_hang_on_who_was_laid_last(governed, monkeypatch, last):
    """uv installs in parallel; whatever it leaves, the richest lies there in the end."""
    real = uv.Uv.sync

    def sync(self, project, target, *, again="", **options):
        real(self, project, target, again=again, **options)
        if not again:
            real(self, project, target, again=last, **options)

    monkeypatch.setattr(uv.Uv, "sync", sync)
    made = built(governed, *FAMILY, fresh=True)
    text = module(governed, made.name, "cv2/__init__.py").read_text()
    assert 'BUILD = "opencv-contrib-python"' in text
    (row,) = made.shared_files
    assert row["owner"] == row["keep"] == "opencv-contrib-python"
    assert generations.check_records(generations.path(governed.space, made.name)) == []


def test_the_files_of_a_package_that_lost_are_drift(governed):
    made = built(governed, *FAMILY[:2])
    environment = generations.path(governed.space, made.name)
    file = module(governed, made.name, "cv2/__init__.py")
    text = file.read_text().replace("opencv-python", "opencv-python-headless")
    file.unlink()
    file.write_text(text)
    (finding,) = generations.check_records(environment)
    assert (finding.path, finding.detail) == (str(file), "opencv_python")
    assert records.check_records(environment, undecided=["opencv-python"]) == []


def test_files_of_several_packages_are_sound_when_one_record_fits_and_are_told(governed):
    made = built(governed, "opencv-python", "opencv-python-headless")
    owners = [[name.replace("_", "-") for name in row["packages"]] for row in made.shared_files]
    assert owners == [["opencv-python", "opencv-python-headless"]]
    assert generations.check_records(generations.path(governed.space, made.name)) == []


# --- seals and edits in place ---------------------------------------------------------------


def test_every_file_is_sealed(own_cache):
    space = own_cache.space
    environment_ = generations.path(space, generations.current(space))
    open_ = [p for p in environment_.rglob("*") if p.is_file() and not p.is_symlink()]
    assert open_
    assert [p for p in open_ if p.stat().st_mode & 0o222] == []


def test_a_copy_is_not_sealed_since_nobody_shares_it(make_governed):
    house = make_governed(storage__link_mode="copy", storage__uv_cache_dir=".uv-cache")
    file = module(house, generations.current(house.space))
    cached = {path.stat().st_ino for path in (house.space.root / ".uv-cache").rglob("*")}
    assert file.stat().st_ino not in cached
    assert file.stat().st_mode & 0o200


def touched(file):
    edit(file)


def replaced(file):
    """Same bytes, size, mtime and mode; another inode."""
    facts = file.stat()
    data = file.read_bytes()
    new = file.with_name("new")
    new.write_bytes(data)
    new.chmod(facts.st_mode)
    os.utime(new, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    new.replace(file)


def removed(file):
    file.unlink()


def added(file):
    (file.parent.parent / "evil.pth").write_text("import os\n")


def unsealed(file):
    file.chmod(0o644)


def relinked(file):
    python = generations.python_of(file.parents[4])
    python.unlink()
    python.symlink_to("/bin/false")


@pytest.mark.parametrize("change", [touched, replaced, removed, added, unsealed, relinked])
def test_any_change_after_the_build_is_found(own_cache, change):
    name = generations.current(own_cache.space)
    assert generations.check_files(own_cache.space, name) == []
    change(module(own_cache, name))
    assert generations.check_files(own_cache.space, name)
    with pytest.raises(GovError) as caught:
        generations.require_sound(own_cache.space, name)
    assert (caught.value.code, caught.value.hint) == (
        "generation_damaged",
        "`gov repair` builds prod anew",
    )
    assert caught.value.facts["findings"]


def test_byte_code_of_a_start_by_hand_is_no_damage(governed):
    name = generations.current(governed.space)
    python = generations.python_of(generations.path(governed.space, name))
    environ = {name: v for name, v in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([python, "-c", "import numpy, yaml"], check=True, env=environ)
    assert generations.check_files(governed.space, name) == []


def test_an_environment_that_is_gone_is_told(governed):
    name = generations.current(governed.space)
    shutil.rmtree(generations.path(governed.space, name))
    (finding,) = generations.check_files(governed.space, name)
    assert finding.kind == "missing"


def test_an_edit_in_prod_is_found_before_a_rollback_relies_on_it(own_cache):
    """The generation of the snapshot was edited by hand: it is built anew, from clean parts."""
    house, space = own_cache, own_cache.space
    first = generations.current(space)
    good = module(house, first).read_text()
    (start,) = house.done("snapshot", "list")["snapshots"]
    house.promoted("declares-two-packages")
    edit(module(house, first))
    rolled = house.done("rollback", start["id"])
    assert rolled["rebuilt"]
    assert rolled["generation"] != first
    assert module(house, rolled["generation"]).read_text() == good
    assert house.prod_versions().keys() == {"numpy", "pillow", "pyyaml"}


def test_a_rollback_to_a_sound_generation_needs_no_uv(governed):
    house = governed
    first = generations.current(house.space)
    (start,) = house.done("snapshot", "list")["snapshots"]
    house.promoted("declares-two-packages")
    house.forget_uv_calls()
    rolled = house.done("rollback", start["id"])
    assert (rolled["rebuilt"], rolled["generation"]) == (False, first)
    assert house.uv_calls() == []


# --- the canary -----------------------------------------------------------------------------


def needs_layer(space):
    support = sandbox.probe(space.candidates)
    if not support.layer:
        pytest.skip("this machine offers no layer: the candidate is a copy")


@pytest.mark.privileged
def test_an_edit_inside_a_candidate_never_shows_elsewhere(own_cache):
    """The node edits numpy in place; prod, the cache and the next build have it as it was."""
    house, space = own_cache, own_cache.space
    needs_layer(space)
    old = generations.current(space)
    good = module(house, old).read_text()
    txid = house.ran("edits-site-packages")
    candidate = space.candidates / txid / "upper"
    edited = [p for p in candidate.rglob("numpy/__init__.py") if p.read_text() != good]
    assert edited, "the node did edit it, in its own layer"
    assert module(house, old).read_text() == good
    assert cached(house, "numpy/__init__.py").read_text() == good
    new = built(house, fresh=True).name
    assert module(house, new).read_text() == good
    for name in (old, new):
        assert generations.check_files(space, name) == []
        assert generations.check_records(generations.path(space, name)) == []


def test_an_edit_inside_a_copied_candidate_never_shows_elsewhere(own_cache, monkeypatch):
    house, space = own_cache, own_cache.space
    real = sandbox.probe

    def no_layer(folder):
        from dataclasses import replace

        return replace(real(folder), layer=False)

    monkeypatch.setattr(sandbox, "probe", no_layer)
    old = generations.current(space)
    good = module(house, old).read_text()
    txid = house.ran("edits-site-packages")
    own = next((space.candidates / txid / "env").glob("lib/python3*/site-packages"))
    assert (own / "numpy/__init__.py").read_text() != good
    assert module(house, old).read_text() == good
    assert cached(house, "numpy/__init__.py").read_text() == good
    assert generations.check_files(space, old) == []


def test_a_candidate_in_which_a_node_ran_is_never_prod(governed):
    """--exact leaves stray files: a planted .pth must not reach prod."""
    house = governed
    house.promoted("writes-pth")
    assert list(house.site().glob("sample-planted*")) == []


# --- switching ------------------------------------------------------------------------------


def test_prod_is_a_relative_link_to_a_generation(governed):
    target = Path(os.readlink(governed.space.prod))
    assert not target.is_absolute()
    assert target.parts[0] == ".generations"


def test_a_probe_for_reflinks_leaves_nothing(bare):
    before = sorted(bare.generations.iterdir())
    assert generations.can_clone(bare.generations) in (True, False)
    assert sorted(bare.generations.iterdir()) == before
