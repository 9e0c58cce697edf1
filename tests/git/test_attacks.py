"""Each attack is first seen to work on git as typed, then to fail on ours."""

import os
import shutil
import subprocess
import zlib

import pytest

from governance import git
from governance.base.errors import GovError, Refused, UsageError
from governance.boundaries import process
from governance.git import call, tree


@pytest.fixture
def no_clone(tmp_path):
    yield
    assert not (tmp_path / "clone").exists()


def test_a_url_that_is_a_command(clone, naive, trap, no_clone):
    address = f"ext::{trap.program} %S"
    naive("-c", "protocol.ext.allow=user", "clone", address, "x")
    assert trap.fired()
    with pytest.raises(Refused, match="'ext'"):
        clone(address)
    with pytest.raises(Refused, match="'ext'"):
        clone(address, protocols=["ext"])
    assert not trap.fired()


def test_a_url_that_is_an_option(node, clone, naive, trap, no_clone):
    naive("clone", f"--upload-pack={trap.program}", "node", "x")
    assert trap.fired()
    with pytest.raises(UsageError, match="as an option does"):
        clone(f"--upload-pack={trap.program}")
    assert not trap.fired()


def test_a_ref_that_is_an_option(node, clone, naive, trap, no_clone):
    naive("fetch", "../node", f"--upload-pack={trap.program}", cwd=node.path)
    assert trap.fired()
    with pytest.raises(UsageError, match="cannot be a branch"):
        clone(node.path, f"--upload-pack={trap.program}")
    assert not trap.fired()


def test_a_host_that_is_an_option_of_ssh(clone, trap, no_clone):
    """git itself has refused this since 2.14 (CVE-2017-1000117)."""
    with pytest.raises(UsageError, match="host"):
        clone(f"ssh://-oProxyCommand={trap.program}/x")
    assert not trap.fired()


def test_a_template_with_hooks(node, clone, naive, personal, trap, tmp_path):
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    shutil.copy(trap.program, hooks / "post-checkout")
    (personal / ".gitconfig").write_text(f"[init]\ntemplateDir = {tmp_path}/template\n")
    naive("clone", "node", "x")
    assert trap.fired()
    clone(node.path)
    assert not trap.fired()
    assert not (tmp_path / "clone" / ".git" / "hooks").exists()


@pytest.mark.parametrize("kind", ["smudge", "process"])
def test_a_filter_of_the_users_own_config(node, clone, naive, personal, trap, tmp_path, kind):
    node.commit(**{".gitattributes": "*.bin filter=big\n", "a.bin": "content"})
    (personal / ".gitconfig").write_text(f'[filter "big"]\n{kind} = {trap.program}\n')
    naive("clone", "node", "x")
    assert trap.fired()
    clone(node.path)
    assert not trap.fired()
    assert (tmp_path / "clone" / "a.bin").read_text() == "content"


def test_hooks_of_the_users_own_config(node, clone, naive, personal, trap, tmp_path):
    shutil.copy(trap.program, tmp_path / "post-checkout")
    (personal / ".gitconfig").write_text(f"[core]\nhooksPath = {tmp_path}\n")
    naive("clone", "node", "x")
    assert trap.fired()
    clone(node.path)
    assert not trap.fired()


def test_pointers_of_lfs_stay_pointers(node, clone, tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
    node.commit(**{"models__.gitattributes": attributes, "models__a.bin": pointer})
    cloned = clone(node.path)
    assert (tmp_path / "clone" / "models" / "a.bin").read_text() == pointer
    assert "Git LFS" in cloned.notes[0]


def test_submodules_are_named_and_left(node, make, clone, naive, personal, tmp_path):
    inner = make("inner")
    inner.commit(evil="1")
    node.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", inner.path, "sub")
    node.commit(x="1")
    (personal / ".gitconfig").write_text(
        '[submodule]\nrecurse = true\n[protocol "file"]\nallow = always\n'
    )
    naive("clone", "--recurse-submodules", "node", "x")
    assert (tmp_path / "x" / "sub" / "evil").exists()
    cloned = clone(node.path)
    assert not (tmp_path / "clone" / "sub" / "evil").exists()
    assert "'sub'" in cloned.notes[0]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", ".git/hooks", "a/../../x"])
def test_links_that_lead_outside(node, clone, naive, tmp_path, no_clone, target):
    (node.path / "link").symlink_to(target)
    node.commit(x="1")
    naive("clone", "node", "x")
    assert os.readlink(tmp_path / "x" / "link") == target
    with pytest.raises(Refused) as caught:
        clone(node.path)
    assert f"'link' -> {target!r}" in caught.value.message
    assert caught.value.code == "policy"


def test_links_inside_stay_links(node, clone, tmp_path):
    (node.path / "a").mkdir()
    (node.path / "a" / "link").symlink_to("../requirements.txt")
    (node.path / "self").symlink_to(".")
    node.commit(x="1")
    clone(node.path)
    assert (tmp_path / "clone" / "a" / "link").read_text() == "x\n"


@pytest.mark.parametrize(
    ("links", "outside"),
    [
        ({"l": "a"}, False),
        ({"a/b/l": "../../c"}, False),
        ({"a/b/l": "../../../c"}, True),
        ({"l": "a/./b//../c"}, False),
        # `up` leads to the top, from where `..` is outside, though the text looks harmless.
        ({"l": "a/b/up/../x", "a/b/up": "../.."}, True),
        ({"l": "a/b/up/x", "a/b/up": "../.."}, False),
        ({"l": "m", "m": "/etc"}, True),
        ({"l": "m", "m": "l"}, True),
        ({"l": "a/.git/x"}, False),
        ({"l": "a/../.git/x"}, True),
    ],
)
def test_links_are_followed_as_the_kernel_would(links, outside):
    assert tree.leads_outside(next(iter(links)), links) is outside


def test_a_link_with_an_endless_target(node, clone, no_clone):
    name = node.git("hash-object", "-w", "--stdin", given="a" * 5000)
    node.git("update-index", "--add", "--cacheinfo", f"120000,{name},link")
    node.git("commit", "-q", "-m", "x")
    with pytest.raises(Refused, match="link"):
        clone(node.path)


def test_a_small_pack_that_unpacks_to_a_large_file(node, clone, naive, tmp_path, no_clone):
    with (node.path / "zeros").open("wb") as stream:
        stream.truncate(60_000_000)
    node.commit(x="1")
    (node.path / "zeros").unlink()
    naive("clone", "node", "x")
    assert (tmp_path / "x" / "zeros").stat().st_size == 60_000_000
    shutil.rmtree(tmp_path / "x")
    with pytest.raises(Refused) as caught:
        clone(node.path, max_bytes=20_000_000)
    assert caught.value.code == "too_large"


def test_a_tree_that_unfolds_without_end(node, clone, no_clone, monkeypatch):
    """10 entries on 12 levels: a thousand billion files in 13 objects."""
    name = node.git("hash-object", "-w", "--stdin", given="x")
    kind = "100644 blob"
    for _ in range(12):
        listing = "".join(f"{kind} {name}\tf{number}\n" for number in range(10))
        name, kind = node.git("mktree", given=listing), "040000 tree"
    node.git("reset", "-q", "--soft", node.git("commit-tree", name, "-m", "bomb"))
    monkeypatch.setattr(call, "MAX_OUTPUT_BYTES", 2_000_000)
    with pytest.raises(Refused, match="more files"):
        clone(node.path)


def test_a_host_that_never_answers(node, clone, host, no_clone):
    server = host()
    server.stall.clear()
    with pytest.raises(GovError) as caught:
        clone(server.url("node"), protocols=["http"], timeout=1)
    assert caught.value.code == "timed_out"
    assert "1 s" in caught.value.message


def test_the_size_is_watched_while_it_grows(node, clone, host, no_clone, monkeypatch):
    """The transfer is stopped; the size is not merely looked at when all is there."""
    monkeypatch.setattr(tree, "entries", lambda *_: pytest.fail("the transfer went on to its end"))
    with pytest.raises(Refused) as caught:
        clone(host(delay=0.3).url("node"), protocols=["http"], max_bytes=10)
    assert caught.value.code == "too_large"


def test_a_path_into_git_folders(node, make, clone, naive, no_clone):
    """A tree with `.git/config` in it, made by hand; git itself refuses to write it."""
    blob = node.git("hash-object", "-w", "--stdin", given="[core]\nfsmonitor = evil\n")
    raw = b"100644 config\0" + bytes.fromhex(blob)
    inner = _write_tree(node, raw)
    outer = _write_tree(node, b"40000 .git\0" + bytes.fromhex(inner))
    commit = node.git("commit-tree", outer, "-m", "x")
    node.git("update-ref", "refs/heads/main", commit)
    with pytest.raises(GovError, match="invalid path"):
        clone(node.path)


def _write_tree(repository, raw):
    import hashlib

    data = b"tree %d\0" % len(raw) + raw
    name = hashlib.sha1(data).hexdigest()
    place = repository.path / ".git" / "objects" / name[:2] / name[2:]
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(zlib.compress(data))
    return name


def test_a_local_source_that_fetches_its_missing_objects_by_a_command(node, clone, naive, trap):
    """A promisor remote names the program to fetch with (CVE-2024-32004)."""
    blob = node.git("rev-parse", "HEAD:requirements.txt")
    (node.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    node.add_config(
        "[core]\nrepositoryformatversion = 1\n[extensions]\npartialClone = evil\n"
        f'[remote "evil"]\npromisor = true\nurl = {node.path}\nuploadpack = {trap.program}\n'
    )
    naive("clone", "--no-local", "node", "x", GIT_NO_LAZY_FETCH="0")
    assert trap.fired()
    with pytest.raises(GovError):
        clone(node.path)
    assert not trap.fired()


def test_the_variables_of_a_surrounding_git_hook(node, make, clone, naive, monkeypatch, tmp_path):
    """GIT_DIR of a hook sends git to another repository than the folder it was told."""
    other = make("other")
    elsewhere = other.commit(a="1")
    clone(node.path)
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert naive("rev-parse", "HEAD", cwd=tmp_path / "clone").stdout.strip() == elsewhere
    assert git.head(tmp_path / "clone") != elsewhere
    assert clone(node.path, to="b").commit == git.head(tmp_path / "clone")


def test_the_config_of_the_folder_one_stands_in(node, make, clone, naive, monkeypatch):
    """`insteadOf` in a checkout that happens to be the current folder sends the clone elsewhere."""
    other = make("other")
    elsewhere = other.commit(a="1")
    other.add_config(f'[url "{other.path}"]\ninsteadOf = {node.path}\n')
    assert elsewhere in naive("ls-remote", node.path, cwd=other.path).stdout
    monkeypatch.chdir(other.path)
    assert clone(node.path).commit == node.git("rev-parse", "HEAD")


def test_a_command_in_the_users_config_that_no_repository_may_trigger(node, clone, trap, personal):
    (personal / ".gitconfig").write_text(
        f"[core]\nfsmonitor = {trap.program}\npager = {trap.program}\n"
        f"[uploadpack]\npackObjectsHook = {trap.program}\n"
    )
    clone(node.path)
    assert not trap.fired()


def test_escape_sequences_of_the_host_do_not_reach_the_terminal(clone, tmp_path, no_clone):
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text("#!/bin/sh\nprintf '\\033[2Jgone\\n' >&2\nexit 255\n")
    ssh.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        with pytest.raises(GovError) as caught:
            clone("git@host:a/b")
    assert "[2Jgone" in caught.value.message
    assert caught.value.message.isprintable()


def test_nothing_keeps_running_after_a_time_out(node, clone, host, no_clone):
    server = host()
    server.stall.clear()
    started = []
    spawn = process.spawn

    def spy(*arguments, **options):
        started.append(spawn(*arguments, **options))
        return started[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "spawn", spy)
        with pytest.raises(GovError):
            clone(server.url("node"), protocols=["http"], timeout=1)
    group = str(started[-1].pid)
    left = subprocess.run(
        ["ps", "-o", "stat=,args=", "-g", group], capture_output=True, text=True, check=False
    )
    assert [line for line in left.stdout.splitlines() if not line.startswith("Z")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_local_source_of_another_owner_is_taken_when_named(node, clone, naive):
    for path in (node.path, *node.path.rglob("*")):
        os.chown(path, 65534, 65534)
    assert "dubious ownership" in naive("clone", "--no-local", "node", "x").stderr
    assert clone(node.path).commit
