"""What is written in a layer stays in its upper folder; what lies beneath is never changed."""

import dataclasses
import os
import stat

import pytest

from governance import sandbox
from governance.base.errors import GovError

from .conftest import give, needs

pytestmark = pytest.mark.privileged


@pytest.fixture
def view(person, layer):
    needs(person, "layer")
    return sandbox.View(layer=layer)


@pytest.fixture
def fenced(person, layer, world):
    needs(person, "layer", "read_only_mounts")
    return sandbox.View(layer=layer, writable=(world / "place", layer.upper.parent))


def files(folder):
    return {
        str(path.relative_to(folder)): (path.read_text(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "change",
    [
        "echo new > shared.py",
        "echo new >> package/inner.py",
        "rm -r package; mkdir package; echo new > package/other.py",
        "rm -r package",
        "chmod 755 shared.py; touch -d @1 shared.py",
        "mv shared.py package/moved.py",
        "ln shared.py twin.py; echo new >> twin.py",
        "echo new > fresh.py; mkdir folder; ln -s shared.py link",
        "sed -i s/old/new/ shared.py",
    ],
)
def test_the_lower_is_untouched(person, view, world, change):
    lower = view.layer.lower
    before = files(lower), os.stat(world / "cache.py").st_mtime_ns
    done = person.shell(view, f"set -e; {change}; find .", cwd=lower)
    assert (done.returncode, done.stderr) == (0, "")
    assert (files(lower), os.stat(world / "cache.py").st_mtime_ns) == before
    assert (world / "cache.py").read_text() == "old"
    assert any(view.layer.upper.iterdir())


def test_what_is_kept_is_no_part_of_the_layer(person, layer, world):
    """A node writes its own folder, not its neighbours, and all the rest into the layer."""
    needs(person, "layer", "read_only_mounts")
    own, other = layer.lower / "nodes/own", layer.lower / "nodes/other"
    for folder in (own, other):
        folder.mkdir(parents=True)
    give(person, layer.lower / "nodes")
    kept = dataclasses.replace(layer, keep=(own.parent,))
    view = sandbox.View(
        scratch=(kept,), writable=(layer.upper.parent, own), read_only=(own.parent,)
    )
    script = "touch fresh nodes/own/new; touch nodes/other/new || touch nodes/new || cat shared.py"
    done = person.shell(view, script, cwd=layer.lower)
    assert (done.returncode, done.stdout) == (0, "old")
    assert sorted(path.name for path in layer.lower.rglob("*new")) == ["new"]
    assert (own / "new").exists() and (layer.upper / "fresh").exists()
    assert not (layer.lower / "fresh").exists()


def test_the_second_entry_sees_what_the_first_wrote(person, view):
    lower = view.layer.lower
    script = "echo new > shared.py; rm -r package; mkdir package; touch package/fresh"
    person.shell(view, script, cwd=lower)
    done = person.shell(view, "cat shared.py; ls package", cwd=lower)
    assert done.stdout == "new\nfresh\n"
    assert (lower / "package/inner.py").read_text() == "old"


def test_nothing_stays_mounted(person, view):
    person.shell(view, "true")
    with open("/proc/self/mountinfo") as mounts:
        assert "gov sandbox".replace(" ", "\\040") not in mounts.read()


def test_the_layer_is_writable_behind_the_fence(person, fenced):
    lower = fenced.layer.lower
    script = "echo new > shared.py && rm package/inner.py && ls package"
    done = person.shell(fenced, script, cwd=lower)
    assert (done.returncode, done.stdout) == (0, "")
    assert (lower / "shared.py").read_text() == "old"


@pytest.mark.parametrize("name", ["upper", "work"])
def test_the_folders_behind_the_layer_are_closed(person, fenced, name):
    folder = getattr(fenced.layer, name)
    person.shell(fenced, "true")
    done = person.run(fenced, "touch", str(folder / "evil"))
    assert "Read-only file system" in done.stderr
    assert not (folder / "evil").exists()


@pytest.fixture
def deep(person, layer, world):
    """The layer's folders lie deeper in the writable place, as those of the data folders do."""
    needs(person, "layer", "read_only_mounts")
    base = world / "place/scratch/models"
    deep = sandbox.Layer(layer.lower, base / "upper", base / "work")
    return sandbox.View(layer=deep, writable=(world / "place",))


@pytest.mark.parametrize("name", ["scratch", "scratch/models"])
def test_the_folders_that_lead_to_the_layer_stay_where_they_are(person, deep, world, name):
    """Moved away, another could be put there, and the next entry would lay the layer over it."""
    person.shell(deep, "true")
    done = person.shell(deep, f"mv {name} {name}-away; touch scratch/beside", cwd=world / "place")
    assert "Device or resource busy" in done.stderr
    assert not list((world / "place").rglob("*-away"))
    assert (world / "place/scratch/beside").is_file()


def test_a_link_that_leads_to_the_layers_folder_is_not_followed(person, deep, world):
    (world / "state").mkdir()
    give(person, world)
    person.shell(sandbox.View(), "ln -s ../state scratch", cwd=world / "place")
    done = person.shell(deep, "echo evil > evil", cwd=deep.layer.lower)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == f"gov-sandbox: {deep.layer.upper}: a link leads elsewhere\n"
    assert list((world / "state").iterdir()) == []


def test_the_working_folder_is_seen_through_the_layer(person, view):
    """A working directory taken over as it was would still be the lower's own."""
    done = person.shell(view, "echo new > shared.py", cwd=view.layer.lower)
    assert done.returncode == 0
    assert (view.layer.lower / "shared.py").read_text() == "old"
    assert (view.layer.upper / "shared.py").read_text() == "new\n"


def test_its_owner_can_delete_the_candidate(person, view):
    person.shell(view, "rm -r package; mkdir package", cwd=view.layer.lower)
    candidate = view.layer.upper.parent
    done = person.only(pid_namespace=False, layer=False, read_only_mounts=False).run(
        sandbox.View(own_processes=False), "rm", "-r", str(candidate)
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not candidate.exists()


def test_no_layer_is_an_error_that_says_why(me, tmp_path):
    view = sandbox.View(layer=sandbox.Layer(tmp_path, tmp_path / "u", tmp_path / "w"))
    support = me.only(layer=False, layer_reason="not on this disk").support
    with pytest.raises(GovError, match="not on this disk") as raised:
        sandbox.wrap(view, support, ["true"])
    assert raised.value.code == "no_layer"


def test_a_layer_that_fails_starts_nothing(me, tmp_path):
    needs(me, "layer")
    missing = tmp_path / "missing"
    view = sandbox.View(layer=sandbox.Layer(missing, tmp_path / "u", tmp_path / "w"))
    done = me.shell(view, "echo ran")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == f"gov-sandbox: {missing}: No such file or directory\n"
