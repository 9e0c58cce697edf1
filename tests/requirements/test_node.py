"""Which files are read, in which encoding, how far, and that nothing in them can raise."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from governance.requirements import Declared, Origin, Policy, read_file, read_node


def names(declared):
    return [line.name for line in declared.lines]


def kinds(declared):
    return [entry.kind for entry in declared.skipped]


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def read(folder):
    return read_node(folder, policy=Policy())


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (b"\xef\xbb\xbfnumpy\r\n# \xe2\x80\x94\r\nscipy", None),
        ("numpy\r\n# \u00e9\r\nscipy".encode("utf-16"), "requirements.txt is UTF-16-LE"),
        (
            b"\xfe\xff" + "numpy\r\n\r\nscipy".encode("utf-16-be"),
            "requirements.txt is UTF-16-BE",
        ),
        ("numpy\r\n\r\nscipy".encode("utf-32"), "requirements.txt is UTF-32-LE"),
        (b"numpy # caf\xe9\r\n\r\nscipy", "requirements.txt is not UTF-8, read as Latin-1"),
        (b"numpy\r# \xce\xc4\xd7\xd6\rscipy", "requirements.txt is not UTF-8, read as Latin-1"),
    ],
)
def test_encodings_and_line_ends(tmp_path, data, note):
    write(tmp_path, requirements_txt=data)

    declared = read(tmp_path)

    assert [(line.name, line.origin.line) for line in declared.lines] == [
        ("numpy", 1),
        ("scipy", 3),
    ]
    assert declared.notes == ((note,) if note else ())


@pytest.mark.parametrize("data", [b"num\0py\n", b"\xff\xfea", b"\xff\xfe\x00\xd8"])
def test_what_is_no_text_is_skipped_as_a_whole(tmp_path, data):
    write(tmp_path, requirements_txt=data)

    assert kinds(read(tmp_path)) == ["encoding"]


def test_the_authors_text_is_kept_in_any_encoding(tmp_path):
    write(tmp_path, requirements_txt=b"numpy # caf\xe9")

    assert read(tmp_path).lines[0].raw == "numpy # caf\u00e9"


def test_continued_lines_are_joined(tmp_path):
    write(
        tmp_path,
        requirements_txt="# a \\\nnumpy>=1, \\\r\n  <2 # why\nfoo==1 \\\n  --hash=sha256:a \\ \n"
        "  --hash=sha256:b\nbar \\\n# the end of bar\nbaz\\",
    )

    declared = read(tmp_path)

    assert [(line.text, line.origin.line) for line in declared.lines] == [
        ("numpy>=1,<2", 2),
        ("foo==1", 4),
        ("bar", 7),
        ("baz", 9),
    ]
    assert declared.lines[0].raw == "numpy>=1, \\\n  <2 # why"
    assert declared.skipped == ()


def test_a_node_without_files_declares_nothing(tmp_path):
    assert read(tmp_path) == Declared()


def test_requirements_txt_is_the_authority_even_when_empty(tmp_path):
    write(tmp_path, requirements_txt="\n# nothing\n")
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["numpy"]\n')

    declared = read(tmp_path)

    assert (declared.lines, declared.source) == ((), "requirements.txt")


@pytest.mark.parametrize(
    "form", ["-r {}", "-r{}", "--requirement {}", "--requirement={}", "-r '{}'"]
)
def test_nested_files_are_read_in_place(tmp_path, form):
    write(
        tmp_path,
        requirements_txt="a\n" + form.format("sub\\more.txt") + "\nb\n",
        sub__more_txt="# c\nc\n-r ../sub/last.txt\nA\n",
        sub__last_txt="d\nnot a requirement",
    )

    declared = read(tmp_path)

    assert [(line.text, str(line.origin), line.note) for line in declared.lines] == [
        ("a", "requirements.txt:1", "declared twice, also sub/more.txt:4"),
        ("c", "sub/more.txt:2", ""),
        ("d", "sub/last.txt:1", ""),
        ("b", "requirements.txt:3", ""),
    ]
    assert declared.skipped[0].origin == Origin("sub/last.txt", 2)


def test_an_include_that_leads_nowhere_good_is_skipped(tmp_path):
    folder = tmp_path / "node"
    write(
        folder,
        requirements_txt="-r ../secret.txt\n-r /etc/passwd\n-r requirements.txt\n-r gone.txt\n"
        "-r https://example.org/x.txt\n-r link.txt\n-r .git/config\n-r sub\n-r pipe\nlast\n",
        sub__x_txt="x",
    )
    write(tmp_path, secret_txt="secret")
    (folder / ".git").mkdir()
    (folder / ".git/config").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(folder / "pipe")

    declared = read(folder)

    assert names(declared) == ["last"]
    assert [(entry.origin.line, entry.kind) for entry in declared.skipped] == [
        (1, "outside-node"),
        (2, "outside-node"),
        (3, "include-loop"),
        (4, "missing-file"),
        (5, "url"),
        (6, "outside-node"),
        (7, "outside-node"),
        (8, "missing-file"),
        (9, "missing-file"),
    ]


def test_links_are_followed_inside_the_node_only(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    write(inside, deps__all_txt="numpy")
    (inside / "requirements.txt").symlink_to("deps/all.txt")
    outside.mkdir()
    (outside / "requirements.txt").symlink_to(inside / "deps/all.txt")
    (tmp_path / "alias").symlink_to(inside)

    assert kinds(read(outside)) == ["outside-node"]
    for folder in (inside, tmp_path / "alias"):
        declared = read(folder)
        assert names(declared) == ["numpy"]
        assert declared.lines[0].origin.file == "deps/all.txt"
        assert declared.source == "requirements.txt"


def test_links_in_a_circle_and_dangling_ones(tmp_path):
    (tmp_path / "requirements.txt").symlink_to("requirements.txt")
    assert kinds(read(tmp_path)) == ["missing-file"]


def test_the_bounds(tmp_path):
    write(tmp_path, requirements_txt="#" * (1 << 20) + "\nnumpy")
    assert kinds(read(tmp_path)) == ["too-large"]
    write(tmp_path, requirements_txt="\n" * 10_000)
    assert kinds(read(tmp_path)) == ["too-large"]
    write(tmp_path, requirements_txt="\n" * 9_998 + "numpy")
    assert names(read(tmp_path)) == ["numpy"]


def test_the_bound_on_lines_holds_for_all_files_together(tmp_path):
    write(tmp_path, requirements_txt="-r a.txt\n-r b.txt\n-r a.txt")
    write(tmp_path, a_txt="a\n" + "#\n" * 6000, b_txt="b\n" + "#\n" * 6000)

    declared = read(tmp_path)

    assert names(declared) == ["a"]
    assert [(entry.origin.line, entry.kind) for entry in declared.skipped] == [(2, "too-large")]


def test_nesting_ends(tmp_path):
    write(tmp_path, requirements_txt="-r 1.txt")
    for depth in range(1, 20):
        (tmp_path / f"{depth}.txt").write_text(f"n{depth}\n-r {depth + 1}.txt\n")

    declared = read(tmp_path)

    assert names(declared) == [f"n{depth}" for depth in range(1, 10)]
    assert kinds(declared) == ["too-deep"]


def test_pyproject_counts_where_there_is_no_requirements_txt(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.x]\ndependencies = ["# base", "numpy"]\n\n[project]\nname = "x"\ndependencies = [\n'
        '  "# base",\n  "numpy", # "scipy"\n  "scipy; os_name==\\"posix\\"",\n'
        '  \'numpy\', "--extra-index-url https://example.org",\n  "torch>=2", 3,\n'
        "  '''a\nb''',\n  'last',\n]\n"
    )

    declared = read(tmp_path)

    assert declared.source == "pyproject.toml"
    assert [(line.text, line.origin.line, line.note) for line in declared.lines] == [
        ("numpy", 8, "declared twice, also line 10"),
        ('scipy; os_name == "posix"', 9, ""),
        ("last", 14, ""),
    ]
    assert [(entry.kind, entry.origin.line) for entry in declared.skipped] == [
        ("option", 10),
        ("torch", 11),
        ("malformed", 11),
        ("malformed", 12),
    ]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"[project\n", "malformed"),
        (b"a = " + b"[" * 5000, "malformed"),
        (b"project = 1", "malformed"),
        (b"[project]\ndependencies = 'numpy'", "malformed"),
        (b"[project]\ndynamic = ['dependencies']", "dynamic"),
        (b"[project]\nname = 'x\0y'", "encoding"),
    ],
)
def test_a_pyproject_that_cannot_be_used_is_skipped(tmp_path, content, kind):
    (tmp_path / "pyproject.toml").write_bytes(content)

    assert kinds(read(tmp_path)) == [kind]


def test_a_missing_file_named_by_the_caller(tmp_path):
    declared = read_file(tmp_path / "requirements.txt", tmp_path, policy=Policy())

    assert kinds(declared) == ["missing-file"]


def test_it_becomes_json_and_back(tmp_path):
    write(tmp_path, requirements_txt="a>=1\n-e .\ntorch\n")

    document = read(tmp_path).to_json()

    assert json.loads(json.dumps(document)) == document
    assert document["lines"] == [
        {
            "text": "a>=1",
            "raw": "a>=1",
            "origin": {"file": "requirements.txt", "line": 1},
            "name": "a",
            "note": "",
        }
    ]
    assert document["skipped"][0]["kind"] == "editable"


WORDS = """
numpy torch foo_ [a] [a_] == === >= < , ; # \\ ( ) ' " @ / : - -r -e --hash=x ${A} os_name
extra and in 1.0 * 2! git+https:// https:// h.io x.whl foo-1-py3-none-any.whl #egg=a \xff
\xe9 \ufeff requirements.txt pyproject.toml 99999999999999999999
"""
MORE = [" ", "\t", "\n", "\r\n", "\\\n", "\x00", "\x1b", "[project]\ndependencies = [", "']\n"]
PIECES = st.sampled_from(WORDS.split() + MORE)
CONTENT = st.one_of(
    st.binary(max_size=300),
    st.lists(PIECES, max_size=25).map(lambda pieces: "".join(pieces).encode()),
    st.lists(PIECES, max_size=12).map(lambda pieces: " ".join(pieces).encode("utf-16")),
)


@given(
    content=CONTENT,
    name=st.sampled_from(["requirements.txt", "pyproject.toml"]),
    open=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_and_all_that_is_taken_is_sound(content, name, open):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        declared = read_node(Path(folder), policy=Policy(allow_git=open, allow_urls=open))
    json.dumps(declared.to_json())
    for line in declared.lines:
        assert line.text.isascii() and line.text.isprintable()
        assert not line.text.startswith("-")
        assert Requirement(line.text).name
        assert line.name not in Policy().torch_family
        assert open or "://" not in line.text.partition(";")[0]
