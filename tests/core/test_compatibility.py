"""Which packages do not get what they ask for: read from METADATA, as `uv pip check` sees it."""

import re
import subprocess

import pytest

from governance.boundaries import uv
from governance.environments import compatibility, generations
from governance.sample.wheels import Wheel, build


@pytest.fixture
def environment(tmp_path):
    """A folder that looks like one; `put(name, version, *headers)` installs a package."""
    folder = tmp_path / "env"
    (folder / "lib/python3.12/site-packages").mkdir(parents=True)
    of_python(folder, "3.12.4")
    return folder


def of_python(folder, version):
    (folder / "pyvenv.cfg").write_text(f"implementation = CPython\nversion_info = {version}\n")


def put(folder, name, version, *headers):
    info = folder / f"lib/python3.12/site-packages/{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *headers]
    (info / "METADATA").write_text("\n".join(lines) + "\n\nRequires-Dist: in-the-text>=9\n")


def needs(*lines):
    return [f"Requires-Dist: {line}" for line in lines]


def told(folder, *lines):
    return [one.sentence for one in compatibility.incompatible(folder, lines)]


def test_another_version_and_nothing_at_all(environment):
    put(environment, "cv-headless", "5.0", *needs("numpy>=2,<3", "lark", "Pillow"))
    put(environment, "numpy", "1.26.4")
    put(environment, "pillow", "12.0.0")
    assert told(environment) == [
        "cv-headless 5.0 requires lark, but lark is not installed",
        "cv-headless 5.0 requires numpy<3,>=2, but numpy 1.26.4 is installed",
    ]


def test_all_is_well(environment):
    put(
        environment,
        "Some.Thing",
        "1",
        *needs("numpy>=2", "torch==2.9.1", "other @ https://a/b.whl"),
    )
    put(environment, "numpy", "2.1.0rc1")
    put(environment, "torch", "2.9.1+cpu")
    put(environment, "other", "0.1")
    assert told(environment) == [], "a prerelease, a local version, and wherever it came from"


def test_markers_are_those_of_the_environment_s_python(environment):
    """gov's own Python is another one."""
    put(
        environment,
        "a",
        "1",
        *needs('tomli; python_version < "3.9"', 'lark; python_version > "3.9"'),
    )
    assert told(environment) == ["a 1 requires lark, but lark is not installed"]
    of_python(environment, "3.8.20")
    assert told(environment) == ["a 1 requires tomli, but tomli is not installed"]


def test_an_extra_counts_where_somebody_asks_for_it(environment):
    put(environment, "a", "1", *needs('lark; extra == "gui"', 'a[gui]; extra == "All_of-it"'))
    assert told(environment) == []
    missing = "a[gui] 1 requires lark, but lark is not installed"
    assert told(environment, "a[gui]") == [missing]
    assert told(environment, "a[all-of.it]>=1") == [missing], "through an extra of its own"
    assert told(environment, 'a[gui]; sys_platform == "win32"') == []
    put(environment, "b", "1", *needs("a[gui]"))
    assert told(environment) == [missing], "through another package"


def test_what_a_project_asks_for_names_the_extras(environment, tmp_path):
    """Its lines, and an override that carries an extra over."""
    put(environment, "a", "1", *needs('lark; extra == "gui"'))
    for more in (
        'core = ["a[gui]>=1"]',
        'core = []\n[tool.uv]\noverride-dependencies = ["a[gui]==1"]',
    ):
        text = f'[project]\nname = "x"\n[dependency-groups]\n{more}\n[tool.gov]\nschema = 1\n'
        (tmp_path / "pyproject.toml").write_text(text)
        [found] = generations.find_incompatible(environment, tmp_path)
        assert (found.for_extra, found.name, found.found) == ("gui", "lark", None)


def test_a_python_that_a_package_does_not_take(environment):
    put(environment, "modern", "1", "Requires-Python: >=3.13")
    assert told(environment) == ["modern 1 requires Python>=3.13, but Python 3.12.4 is installed"]


@pytest.mark.parametrize(
    ("line", "found"),
    [("numpy (>=1.19.*)", 0), ("numpy (>=2.*)", 1), ("numpy>='2.7'", 1), ("pytz (>dev)", 0)],
)
def test_spellings_of_old(environment, line, found):
    """Packages on the index still say so; what nobody can read stops nothing."""
    put(environment, "a", "1", *needs(line))
    put(environment, "numpy", "1.26.4")
    assert len(told(environment)) == found


def test_a_demand_that_goes_on_in_the_next_line(environment):
    put(environment, "a", "1", "Requires-Dist: numpy\n  >=2")
    put(environment, "numpy", "1.26.4")
    assert told(environment) == ["a 1 requires numpy>=2, but numpy 1.26.4 is installed"]


def test_the_same_demand_is_nothing_new(environment):
    one = compatibility.Incompatible("a", "1", "numpy>=2", "numpy", "1.26.4")
    later = compatibility.Incompatible("a", "1.1", "numpy>=2", "numpy", "1.26.3")
    other = compatibility.Incompatible("a", "1.1", "numpy>=2.1", "numpy", "1.26.3")
    assert one.key == later.key != other.key
    assert compatibility.Incompatible.from_json(one.to_json()) == one


WHEELS = (
    Wheel("numpy", "1.26.4"),
    Wheel("lark", "1.2.2", requires_python=">=3.99"),
    Wheel("cv-headless", "5.0", requires=("numpy>=2", "absent>1", "lark"), extras={"x": ("gone",)}),
    Wheel("fine", "1.0", requires=("numpy<2", 'never; sys_platform == "win32"')),
)


def test_uv_finds_the_same(tmp_path):
    """Of what asks for no extra: those uv leaves out."""
    folder, environment = tmp_path / "wheels", tmp_path / "env"
    paths = [build(wheel, folder) for wheel in WHEELS]
    run(tmp_path, "venv", environment)
    python = environment / "bin/python"
    # The one that Python is too old for comes in as its metadata, which uv would refuse.
    run(tmp_path, "pip", "install", "--no-deps", "--python", python, paths[0], *paths[2:])
    site = compatibility_site(environment)
    info = site / "lark-1.2.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: lark\nVersion: 1.2.2\nRequires-Python: >=3.99\n")
    said = run(tmp_path, "pip", "check", "--python", python, code=1).stderr.replace("`", "")
    theirs = {m.groups() for m in re.finditer(r"package (\S+) requires (\S+?),", said)}
    ours = compatibility.incompatible(environment)
    assert {(one.package, one.requires) for one in ours if one.name != "Python"} == theirs
    assert theirs == {("cv-headless", "numpy>=2"), ("cv-headless", "absent>1")}
    assert [one.package for one in ours if one.name == "Python"] == ["lark"]
    assert "lark requires Python >=3.99" in said


def compatibility_site(environment):
    return next(environment.glob("lib/python3*/site-packages"))


def run(folder, *words, code=0):
    argv = [uv.executable(), *map(str, words), "--color", "never", "--offline"]
    done = subprocess.run(
        [*argv, "--cache-dir", str(folder / "cache")], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == code, done.stderr
    return done
