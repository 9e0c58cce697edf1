"""What is taken of a requirement file, and what is skipped for which reason."""

import pytest

from governance.requirements import Origin, Policy, read_node

CLOSED = Policy()
OPEN = Policy(allow_git=True, allow_urls=True)
WHEEL = "https://example.org/w/foo-1.0-py3-none-any.whl"


def read(folder, content, policy=CLOSED):
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "requirements.txt").write_bytes(data)
    return read_node(folder, policy=policy)


@pytest.mark.parametrize(
    ("raw", "text", "name", "note"),
    [
        ("numpy", "numpy", "numpy", ""),
        ("Scikit_Image", "Scikit_Image", "scikit-image", ""),
        ("kornia>=0.8.2,<0.9", "kornia>=0.8.2,<0.9", "kornia", ""),
        ("diffusers >=0.29.0", "diffusers>=0.29.0", "diffusers", ""),
        ("diffusers >= 0.31.0 , < 1", "diffusers>=0.31.0,<1", "diffusers", ""),
        ("foo (>=1.0)", "foo>=1.0", "foo", ""),
        ("foo()", "foo", "foo", ""),
        ("foo[]", "foo", "foo", ""),
        ("foo>=1,", "foo>=1", "foo", ""),
        ("foo===1.0", "foo===1.0", "foo", ""),
        ("foo==1.*", "foo==1.*", "foo", ""),
        ("foo!=1!2.0", "foo!=1!2.0", "foo", ""),
        ("transformers[timm, torch]>=4.50", "transformers[timm,torch]>=4.50", "transformers", ""),
        ("foo # bar", "foo", "foo", ""),
        ("foo>=1#bar", "foo>=1", "foo", "comment cut off"),
        ("numpy<1.24>=1.18", "numpy<1.24,>=1.18", "numpy", "comma added"),
        ("numpy >=1.18 <2", "numpy>=1.18,<2", "numpy", "comma added"),
        ("foo[a]>=1!=1.5", "foo[a]>=1,!=1.5", "foo", "comma added"),
        ("foo>1<3; os_name<'z'", 'foo>1,<3; os_name < "z"', "foo", "comma added"),
        (
            "foo>=0.4.0; platform_system != 'Windows'",
            'foo>=0.4.0; platform_system != "Windows"',
            "foo",
            "",
        ),
        (
            "foo==1.0 --hash=sha256:aa --hash sha256:bb",
            "foo==1.0",
            "foo",
            "hashes left out, the lock has its own",
        ),
        ("\u00a0 foo\t", "foo", "foo", ""),
    ],
)
def test_a_requirement_is_taken_as_its_author_wrote_it(tmp_path, raw, text, name, note):
    declared = read(tmp_path, raw)

    (line,) = declared.lines
    assert (line.text, line.name, line.note) == (text, name, note)
    assert line.raw == raw.strip()
    assert line.origin == Origin("requirements.txt", 1)
    assert declared.skipped == ()


@pytest.mark.parametrize(
    ("raw", "kind", "word"),
    [
        ("--extra-index-url https://example.org/simple", "option", "--extra-index-url"),
        ("-i https://example.org/simple", "option", "-i"),
        ("-c constraints.txt", "option", "-c"),
        ("--pre", "option", "--pre"),
        ("flash-attn --no-build-isolation", "option", "--no-build-isolation"),
        ("-e .", "editable", "editable"),
        ("-e git+https://example.org/x.git#egg=x", "editable", "editable"),
        ("--editable=./x", "editable", "editable"),
        (".", "local-path", "path"),
        ("./libs/foo", "local-path", "path"),
        ("/opt/foo", "local-path", "path"),
        ("libs/foo", "local-path", "path"),
        (r"C:\wheels\foo.whl", "local-path", "path"),
        ("foo-1.0-py3-none-any.whl", "local-path", "path"),
        ("foo @ file:///opt/foo", "local-path", "path"),
        ("foo @ ../foo", "local-path", "path"),
        ("file:foo", "local-path", "path"),
        ("git+https://example.org/x.git", "git", "allow_git_requirements"),
        ("x @ git+https://example.org/x.git", "git", "allow_git_requirements"),
        ("git@example.org:x/y.git", "git", "allow_git_requirements"),
        ("ssh://git@example.org/x/y.git", "git", "allow_git_requirements"),
        ("hg+https://example.org/x", "url", "not git"),
        (WHEEL, "url", "allow_url_requirements"),
        (f"foo @ {WHEEL}", "url", "allow_url_requirements"),
        ("ftp://example.org/x.whl", "url", "ftp"),
        ("foo @ https://${TOKEN}@example.org/x.whl", "environment-variable", "variables"),
        ("numpy=1.2", "malformed", "expected"),
        ("numpy 1.2", "malformed", "expected"),
        ("pip install numpy", "malformed", "expected"),
        ("foo: 1.0", "malformed", "expected"),
        ("foo>1.0=2", "malformed", "expected"),
        ("foo===abc", "malformed", "not a version"),
        ("foo_", "malformed", "not a valid name"),
        ("foo[a_]", "malformed", "not a valid name"),
        ("foo==99999999999999999999", "malformed", "too large"),
        ("foo; sys_platform === 'linux'", "malformed", "==="),
        ("foo; 'x' in extras", "malformed", "extras"),
        (r"foo; sys_platform == 'a\x22 or \x22'", "malformed", "backslash"),
        (r"foo; python_version >= '\x03.10'", "malformed", "backslash"),
        ("größe", "malformed", "ASCII"),
        ("foo\x1b[31m", "malformed", "control"),
        ("foo\x0c", "malformed", "control"),
        ("foo;" + "(" * 1900, "malformed", "nested"),
        ("x" * 3000, "malformed", "longer"),
    ],
)
def test_what_cannot_be_taken_is_listed_with_its_reason(tmp_path, raw, kind, word):
    declared = read(tmp_path, f"# first\n{raw}\n")

    (entry,) = declared.skipped
    assert (entry.kind, entry.origin) == (kind, Origin("requirements.txt", 2))
    assert word in entry.reason
    assert entry.raw == (raw if len(raw) <= 1000 else raw[:1000] + "…")
    assert declared.lines == ()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("git+https://example.org/x.git#egg=kiui", "kiui @ git+https://example.org/x.git"),
        (
            "git+https://example.org/x.git@v1#egg=x[a]&subdirectory=sub",
            "x[a] @ git+https://example.org/x.git@v1#subdirectory=sub",
        ),
        ("x@git+ssh://git@example.org/x.git", "x @ git+ssh://git@example.org/x.git"),
        (WHEEL, f"foo @ {WHEEL}"),
        (f"{WHEEL}#sha256=ab", f"foo @ {WHEEL}#sha256=ab"),
        (f'{WHEEL}; python_version == "3.11"', f'foo @ {WHEEL} ; python_version == "3.11"'),
        (f"{WHEEL};os_name=='posix'", f"foo @ {WHEEL} ; os_name=='posix'"),
        (
            "https://example.org/foo_bar-1.0%2Bcu1-py3-none-any.whl",
            "foo_bar @ https://example.org/foo_bar-1.0%2Bcu1-py3-none-any.whl",
        ),
        (f"Foo [x] @ {WHEEL}", f"Foo[x] @ {WHEEL}"),
    ],
)
def test_policy_lets_repositories_and_wheels_in(tmp_path, raw, text):
    declared = read(tmp_path, raw, OPEN)

    assert [line.text for line in declared.lines] == [text]
    assert declared.skipped == ()


@pytest.mark.parametrize(
    ("raw", "kind", "word"),
    [
        ("git+https://example.org/x.git", "git", "egg"),
        ("x @ git+http://example.org/x.git", "git", "git+https"),
        ("x @ git+file:///opt/x.git", "git", "git+https"),
        ("x @ git+ext::sh", "git", "git+https"),
        ("x @ git+https://example.org/x.git@--upload-pack=id", "git", "dash"),
        ("x @ git+https://user:secret@example.org/x.git", "git", "credentials"),
        ("x @ git+https://token@example.org/x.git", "git", "credentials"),
        ("x @ git+ssh://git:secret@example.org/x.git", "git", "credentials"),
        ("x @ git+https://example.org/x@v1@v2", "malformed", "URL"),
        ("x @ git+https:///x", "malformed", "URL"),
        ("http://example.org/foo-1.0-py3-none-any.whl", "url", "https"),
        ("foo @ https://example.org/foo-1.0.tar.gz", "url", "wheels"),
        ("foo @ https://example.org/archive/main.zip", "url", "wheels"),
        ("foo @ https://example.org/foo.whl", "malformed", "file name"),
        (f"bar @ {WHEEL}", "malformed", "not of bar"),
        ("https://example.org/foo-1.0-cp311-cp311-win_amd64.whl", "url", "another system"),
        (f"foo @ {WHEEL.replace('//', '//u:p@')}", "url", "credentials"),
        ("foo @ https://[bad/foo-1.0-py3-none-any.whl", "malformed", "URL"),
        ("foo @ https://999.1.1.1/foo-1.0-py3-none-any.whl", "malformed", "URL"),
        ("foo @ https://h.org:99999/foo-1.0-py3-none-any.whl", "malformed", "URL"),
    ],
)
def test_an_open_policy_still_refuses_what_is_unsafe_or_wrong(tmp_path, raw, kind, word):
    declared = read(tmp_path, raw, OPEN)

    (entry,) = declared.skipped
    assert entry.kind == kind
    assert word in entry.reason
    assert declared.lines == ()


@pytest.mark.parametrize(
    "raw",
    [
        "torch>=2.1.2",
        "Torch==2.7.1+cu128",
        "torchsde[x]",
        "torchaudio<=2",
        "torch @ https://example.org/torch-2.1-cp311-cp311-linux_x86_64.whl",
        "https://example.org/torch-2.1%2Bcu121-cp311-cp311-linux_x86_64.whl",
        "git+https://example.org/pytorch.git#egg=torch",
        "torch==2.1 --index-url https://example.org/whl/cu121",
    ],
)
@pytest.mark.parametrize("policy", [Policy(), OPEN])
def test_a_node_never_decides_torch(tmp_path, raw, policy):
    declared = read(tmp_path, raw, policy)

    assert [entry.kind for entry in declared.skipped] == ["torch"]
    assert declared.lines == ()


def test_a_bare_torch_is_left_out_with_a_note(tmp_path):
    declared = read(tmp_path, "torch\ntorchmetrics\nTorchVision ; os_name == 'posix'\n")

    assert [line.name for line in declared.lines] == ["torchmetrics"]
    assert declared.skipped == ()
    assert declared.notes == (
        "requirements.txt:1: torch is left out, ComfyUI brings it",
        "requirements.txt:3: TorchVision is left out, ComfyUI brings it",
    )


def test_comfyui_itself_keeps_torch(tmp_path):
    declared = read(tmp_path, "torch\ntorchaudio>=2\n", Policy(torch_family=frozenset()))

    assert [line.text for line in declared.lines] == ["torch", "torchaudio>=2"]
    assert declared.notes == ()


def test_lines_that_mean_the_same_are_merged(tmp_path):
    declared = read(
        tmp_path,
        "Pillow\nnumpy>=1.0\nyapf\npillow\nimageio[ffmpeg]\nimageio[pyav]\n"
        "numpy <2\nPILLOW\nYapf\n",
    )

    assert [(line.text, line.note) for line in declared.lines] == [
        ("Pillow", "declared 3 times, also line 4, line 8"),
        ("numpy>=1.0", ""),
        ("yapf", "declared twice, also line 9"),
        ("imageio[ffmpeg]", ""),
        ("imageio[pyav]", ""),
        ("numpy<2", ""),
    ]
