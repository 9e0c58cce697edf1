"""Group names, pins, and overrides, checked against what real uv makes of them."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile

import pytest
from uv import find_uv_bin

from governance.base.errors import UsageError
from governance.requirements import Policy, group_name, override_text, parse_pin, read_node


@pytest.mark.parametrize(
    ("node_id", "group"),
    [("ComfyUI_LayerStyle", "node-comfyui-layerstyle"), ("a.-_b", "node-a-b"), ("X", "node-x")],
)
def test_a_group_is_named_after_its_node(node_id, group):
    assert group_name(node_id) == group


@pytest.mark.parametrize("node_id", ["", "foo-", "_foo", "../x", "a b", "é", "a\n"])
def test_an_id_that_cannot_name_a_group_is_refused(node_id):
    with pytest.raises(UsageError, match="cannot name a dependency group"):
        group_name(node_id)


@pytest.mark.parametrize(
    ("typed", "text", "name"),
    [
        ("numpy==1.26.4", "numpy==1.26.4", "numpy"),
        (" Scikit_Image == 0.2 ", "Scikit_Image==0.2", "scikit-image"),
        ("transformers[timm,torch]==4.50", "transformers[timm,torch]==4.50", "transformers"),
        ("foo===1.2", "foo===1.2", "foo"),
        ("foo==1.2.*", "foo==1.2.*", "foo"),
        ("torch==2.7.1+cu128", "torch==2.7.1+cu128", "torch"),
    ],
)
def test_a_pin_names_one_version(typed, text, name):
    pin = parse_pin(typed)

    assert (pin.text, pin.name, pin.raw) == (text, name, typed)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "numpy",
        "numpy>=1.2",
        "numpy==1,==2",
        "numpy==1,!=2",
        "numpy==",
        "numpy=1.2",
        "numpy==1 ; os_name == 'posix'",
        "numpy @ https://example.org/numpy-1-py3-none-any.whl",
        "--index-url=x",
        "numpy==1 --pre",
        "numpy===abc",
        "nümpy==1",
        "numpy==1\x1b",
        "numpy==1\nscipy==2",
    ],
)
def test_anything_else_is_no_pin_and_named(typed):
    with pytest.raises(UsageError) as caught:
        parse_pin(typed)
    assert repr(typed) in caught.value.message


LINUX = "sys_platform == 'linux'"
WINDOWS = "sys_platform == 'win32'"


@pytest.mark.parametrize(
    ("pin", "replaced", "entries"),
    [
        ("child==1", [], ["child==1"]),
        ("child==1", ["child>=2"], ["child==1"]),
        ("child==1", ["other[x]>=2"], ["child==1"]),
        ("child[z]==1", ["Child[b]", "child[a]>=2"], ["child[a,b,z]==1"]),
        ("child==1", [f"child ; {WINDOWS}"], ['child==1 ; sys_platform == "win32"']),
        ("child==1", [f"child ; {WINDOWS}", "child"], ["child==1"]),
        (
            "child==1",
            ["child", f"child[d] ; {WINDOWS}"],
            ["child==1", 'child[d]==1 ; sys_platform == "win32"'],
        ),
        (
            "child==1",
            [f"child ; {WINDOWS}", "child ; os_name == 'posix'"],
            ['child==1 ; sys_platform == "win32"', 'child==1 ; os_name == "posix"'],
        ),
        ("child==1", ["child[A_b]", f"child[a-b] ; {WINDOWS}"], ["child[a-b]==1"]),
    ],
)
def test_an_override_carries_over_extras_and_markers(pin, replaced, entries):
    assert override_text(parse_pin(pin), replaced) == entries


def test_a_damaged_line_is_named(tmp_path):
    with pytest.raises(UsageError, match="child>>2"):
        override_text(parse_pin("child==1"), ["child>>2"])


def make_wheel(folder, name, version, requires=(), extras=()):
    about = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Provides-Extra: {extra}" for extra in extras]
    metadata += [f"Requires-Dist: {line}" for line in requires]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", "\n".join(metadata) + "\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version in ("1", "2", "3"):
        make_wheel(folder, "child", version, ["deep ; extra == 'd'"], ["d"])
    make_wheel(folder, "deep", "1")
    make_wheel(folder, "windows", "1", [f"child>=2 ; {WINDOWS}"])
    make_wheel(folder, "plain", "1", ["child>=2"])
    make_wheel(folder, "option", "1", ["child>=2 ; extra == 'x'"], ["x"])
    return folder


def uv_lock(folder, lines, overrides, wheels=None):
    links = [str(wheels)] if wheels else []
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "lab"\nversion = "0"\nrequires-python = ">=3.11"\n'
        f"[dependency-groups]\ncore = {json.dumps(lines)}\n"
        f"[tool.uv]\npackage = false\nno-index = true\nfind-links = {json.dumps(links)}\n"
        f'environments = ["{LINUX}"]\noverride-dependencies = {json.dumps(overrides)}\n'
    )
    return subprocess.run(
        [find_uv_bin(), "lock", "--offline", "--python", sys.executable],
        cwd=folder,
        env={**os.environ, "UV_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def locked(folder, lines, overrides, wheels):
    done = uv_lock(folder, lines, overrides, wheels)
    assert done.returncode == 0, done.stderr
    packages = tomllib.loads((folder / "uv.lock").read_text())["package"]
    return {package["name"]: package["version"] for package in packages if package["name"] != "lab"}


@pytest.mark.parametrize(
    ("lines", "demands", "result"),
    [
        (["child[d]>=2"], ["child[d]>=2"], {"child": "1", "deep": "1"}),
        (["child", "child[d]>=2"], ["child", "child[d]>=2"], {"child": "1", "deep": "1"}),
        ([f"child>=2 ; {WINDOWS}"], [f"child>=2 ; {WINDOWS}"], {}),
        (["windows"], [f"child>=2 ; {WINDOWS}"], {"windows": "1"}),
        (
            ["windows", "plain"],
            [f"child ; {WINDOWS}", "child"],
            {"windows": "1", "plain": "1", "child": "1"},
        ),
        (["option"], ["child>=2 ; extra == 'x'"], {"option": "1"}),
        (["option[x]"], ["child>=2 ; extra == 'x'"], {"option": "1", "child": "1"}),
        (["child", f"child[d] ; {WINDOWS}"], ["child", f"child[d] ; {WINDOWS}"], {"child": "1"}),
        (
            ["child ; python_version > '3'", f"child[d] ; {LINUX}"],
            ["child ; python_version > '3'", f"child[d] ; {LINUX}"],
            {"child": "1", "deep": "1"},
        ),
        (["plain"], [], {"plain": "1", "child": "1"}),
    ],
)
def test_uv_keeps_what_was_asked_for_under_the_override(tmp_path, wheels, lines, demands, result):
    overrides = override_text(parse_pin("child==1"), demands)

    assert locked(tmp_path, lines, overrides, wheels) == result


def test_a_marker_kept_from_half_of_the_demands_takes_the_package_away(tmp_path, wheels):
    """Why `replaced` has to name transitive demands too."""
    half = override_text(parse_pin("child==1"), [f"child ; {WINDOWS}"])

    assert locked(tmp_path, ["windows", "plain"], half, wheels) == {"windows": "1", "plain": "1"}


ODDITIES = """
foo (>=1.0)
foo>=1.5,
foo<1.24>=1.18
foo[]
foo_
foo[a_]
foo===abc
foo==18446744073709551615
foo; os_name === 'posix'
foo; 'x' in extras
foo; extra == 'x'
foo; 'a' == 'b'
foo @ https://example.org/foo-1-py3-none-any.whl; os_name == 'posix'
foo @ https://999.1.1.1/foo-1-py3-none-any.whl
foo @ https://[bad/foo-1-py3-none-any.whl
foo @ https://example.org/foo-18446744073709551616-py3-none-any.whl
foo @ ./x
foo @ git+https://example.org/x@v1@v2
git+https://example.org/x
git+https://example.org/x#egg=foo&subdirectory=y
"""


def test_uv_can_read_every_line_that_is_taken(tmp_path):
    (tmp_path / "requirements.txt").write_text(ODDITIES)
    declared = read_node(tmp_path, policy=Policy(allow_git=True, allow_urls=True))
    lines = [line.text for line in declared.lines]

    assert (len(lines), len(declared.skipped)) == (8, 12)
    assert "malformed" not in uv_lock(tmp_path, lines, []).stderr
    refused = [entry.raw for entry in declared.skipped if entry.kind == "malformed"]
    assert all("malformed" in uv_lock(tmp_path, [raw], []).stderr for raw in refused[:4])
