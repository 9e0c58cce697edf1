"""Folders that lead elsewhere, documents that are none, nodes that plant and print, and secrets
in URLs: refused, named or contained; nothing outside is touched."""

import json
import os
import shutil

import pytest
from support import roads
from support.gov import Gov

from governance import git
from governance.boundaries import store
from governance.git import remote
from governance.sample.nodes import NODES
from governance.truth import ledger
from governance.truth.documents import ABORTED

from .model_workspace import Model, node_repositories

SECRET = "hunter2hunter2"


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    return node_repositories(tmp_path_factory.mktemp("repositories"))


@pytest.fixture
def model(tmp_path, repositories, monkeypatch):
    return Model(tmp_path / "inside", repositories, monkeypatch)


@pytest.fixture
def gov(model):
    return Gov(model.space.root)


# --- links in place of folders ----------------------------------------------------------------

FOLDERS = [
    "state", "state/work", "state/logs", "state/transactions", "state/conflicts", "snapshots",
    ".generations", ".venv-candidate",
]  # fmt: skip


def led_astray(model, name, tmp_path):
    """The folder moves away and a link leads to it, so that all would work if it were followed."""
    elsewhere = tmp_path / "elsewhere"
    shutil.move(model.space.root / name, elsewhere)
    (elsewhere / "precious").mkdir()
    (elsewhere / "precious/file.txt").write_text("precious")
    (model.space.root / name).symlink_to(elsewhere)
    return elsewhere


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("words", [("clean",), ("repair",), ("rollback", "ID"), ("init",)])
def test_a_link_in_place_of_a_folder_is_not_followed(model, gov, tmp_path, name, words):
    """Naive code deletes: `clean` finds in `elsewhere` what no transaction names."""
    words = [model.snapshots()[0] if word == "ID" else word for word in words]
    elsewhere = led_astray(model, name, tmp_path)
    before = contents(elsewhere)
    ended = gov.json(*words)
    assert ended.code == 1
    assert ended.error["code"] == "unexpected_link"
    assert str(model.space.root / name) in ended.error["message"]
    assert contents(elsewhere) == before


def test_naive_code_would_have_deleted_there(model, tmp_path, monkeypatch):
    """The attack works where nobody refuses links."""
    from governance.operations import retention

    elsewhere = led_astray(model, "state/work", tmp_path)
    monkeypatch.setattr(store, "refuse_link", lambda path: None)
    retention.clean(model.space)
    assert not (elsewhere / "precious").exists()


def contents(folder):
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_prod_that_leads_elsewhere_is_drift_and_repaired(model, gov, tmp_path):
    """Even to a folder of the same name, with the same files."""
    space = model.space
    name = space.generation
    elsewhere = tmp_path / "elsewhere" / name
    shutil.copytree(space.prod, elsewhere, symlinks=True)
    space.prod.unlink()
    space.prod.symlink_to(elsewhere)
    assert gov.json("status").ok().data["prod_env_exists"] is False
    assert gov.json("verify").code == 1
    before = contents(elsewhere)
    with model.holding("repair"):
        from governance.operations import verify

        verify.repair(model.session)
    assert os.readlink(space.prod).startswith(".generations/")
    assert gov.json("verify").code == 0
    assert contents(elsewhere) == before


def test_a_folder_in_the_place_of_prod_is_left_alone(model, gov):
    space = model.space
    space.prod.unlink()
    (space.prod / "mine").mkdir(parents=True)
    ended = gov.json("rollback", model.snapshots()[0])
    assert ended.code == 1
    assert (space.prod / "mine").is_dir()


def test_a_candidate_that_is_a_link_is_unlinked_and_not_emptied(model, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious.txt").write_text("precious")
    over = ledger.begin(model.space, "anybody")  # of an unknown one it is gone before `clean` looks
    over.move(ABORTED)
    ledger.save(model.space, over)
    link = model.space.candidates / over.txid
    link.symlink_to(elsewhere)
    assert Gov(model.space.root).json("clean").ok().data["deleted"]
    assert not link.is_symlink()
    assert (elsewhere / "precious.txt").is_file()


# --- documents --------------------------------------------------------------------------------

BROKEN = {
    "truncated": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "deep": lambda text: "[" * 100_000,
    "huge": lambda text: '"' + "a" * (store.MAX_DOCUMENT_BYTES + 10) + '"',
    "of another kind": lambda text: "42",
    "not text": lambda text: "\udc80\udcff",
}
RECORDS = ["plugins", "snapshots_index", "intent"]


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("name", RECORDS)
def test_a_broken_document_is_named_and_left_as_it_is(model, gov, name, how):
    path = getattr(model.space, name)
    text = path.read_text() if path.is_file() else "{}"
    data = BROKEN[how](text).encode(errors="surrogateescape")
    path.write_bytes(data)
    ended = gov.json("rollback", model.snapshots_before[0]) if name == "intent" else None
    ended = ended or gov.json("node", "remove", "needs-alpha")
    if name == "snapshots_index":
        ended = gov.json("snapshot", "list")
    assert (ended.code, ended.error["code"]) == (1, "damaged")
    assert str(path) in ended.error["message"]
    assert len(ended.error["message"]) < 1000
    assert path.read_bytes() == data


@pytest.fixture(autouse=True)
def remembered(request):
    """The ids of snapshots, before a test harms the index."""
    if "model" in request.fixturenames:
        made = request.getfixturevalue("model")
        made.snapshots_before = made.snapshots()


ELSEWHERE = "../../precious"
NAMED = {
    "manifest": (lambda model: spare_manifest(model), "name", ("clean",)),
    "transaction": (lambda model: pending_record(model), "txid", ("tx", "abort", "TXID")),
    "node of a transaction": (lambda model: pending_record(model), "node_id", ("clean",)),
    "node": (
        lambda model: model.space.plugins,
        "id",
        ("node", "remove", ELSEWHERE, "--purge-code"),
    ),
    "group": (lambda model: model.space.plugins, "group", ("node", "remove", "needs-nothing")),
    "snapshot": (lambda model: newest_meta(model), "id", ("rollback", "SNAPSHOT")),
}


@pytest.mark.parametrize("what", NAMED)
def test_a_name_in_a_document_leads_nowhere_else(model, gov, tmp_path, what):
    """A name becomes a path, and what is at the path is written or deleted."""
    for name in ("needs-alpha", "skips-a-line", "needs-nothing"):
        model.admit(name)
    with model.holding("run"):
        roads.run(model.session, "needs-alpha")
    for top in (tmp_path, model.folder, model.space.root, model.space.state, model.comfyui):
        (top / "precious").mkdir(exist_ok=True)
        (top / "precious/file.txt").write_text("precious")
    find, field, words = NAMED[what]
    path = find(model)
    value = json.loads(path.read_text())
    (value[-1] if isinstance(value, list) else value)[field] = ELSEWHERE
    path.write_text(json.dumps(value))
    given = {"TXID": path.stem, "SNAPSHOT": path.parent.name}
    ended = gov.json(*(given.get(word, word) for word in words))
    assert ended.code in (0, 1, 2), ended
    assert len(list(tmp_path.rglob("precious/file.txt"))) == 5
    # A spare environment's damaged papers hinder nobody: it is an old one, to be cleaned.
    is_passed_over = what in ("manifest", "node of a transaction")
    assert is_passed_over or ended.error["code"] == "damaged"


def pending_record(model):
    pending = (
        model.space.transactions / f"{t}.json"
        for t, r in model.records().items()
        if not r["promotion"]["status"]
    )
    return next(pending)


def spare_manifest(model):
    """Of a generation that nothing needs, so that it is to be deleted."""
    doomed = Gov(model.space.root).json("clean", "--dry-run").data["deleted"]
    name = next(path for path in doomed if path.startswith(".generations/"))
    return model.space.root / f"{name}.d/manifest.json"


def newest_meta(model):
    return model.space.snapshots / model.snapshots()[-1] / "meta.json"


def test_a_damaged_receipt_is_kept_as_evidence(model, gov):
    model.space.receipt.write_text("{")
    assert gov.json("rollback", model.snapshots()[0]).code == 0
    kept = list(model.space.state.glob("receipt.json.damaged-*"))
    assert [path.read_text() for path in kept] == ["{"]


# --- secrets in URLs --------------------------------------------------------------------------


def anywhere(folder, secret):
    """Files below `folder` that hold the secret; clones excepted, which are their authors'."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and "custom_nodes" not in path.parts and secret in read(path)
    ]


def read(path):
    return path.read_bytes().decode(errors="replace")


def test_credentials_of_a_clone_that_fails_are_shown_nowhere(model, gov, monkeypatch):
    monkeypatch.setattr(git, "clone", remote.clone)
    url = f"https://person:{SECRET}@127.0.0.1:9/owner/name"
    for words in (("node", "add", url), ("node", "add", url, "--json"), ("node", "check", url)):
        ended = gov(*words)
        assert ended.code == 1
        assert SECRET not in ended.out + ended.err
    assert not anywhere(model.space.root, SECRET)


@pytest.mark.parametrize(
    "url",
    [
        f"https://person:{SECRET}@127.0.0.1:9/a?b",
        f"https://127.0.0.1:9/https://{SECRET}@example.invalid/owner/name",
        f"ftp://person:{SECRET}@example.invalid/a/b",
        f"git+https://{SECRET}@example.invalid/a/b",
    ],
)
def test_credentials_of_a_refused_url_are_shown_nowhere(model, gov, url):
    for words in (("node", "add", url), ("node", "add", url, "--json")):
        ended = gov(*words)
        assert ended.code in (2, 3)
        assert SECRET not in ended.out + ended.err
    assert not anywhere(model.space.root, SECRET)


def test_credentials_in_requirement_lines_are_shown_and_stored_nowhere(model, gov, tmp_path):
    node = tmp_path / "leaky"
    shutil.copytree(model.repositories / "needs-alpha", node)
    (node / "requirements.txt").write_text(
        f"--extra-index-url https://person:{SECRET}@example.invalid/simple\n"
        f"git+https://{SECRET}@example.invalid/owner/name#egg=name\n"
        f"name @ https://u:{SECRET}@example.invalid/name-1-py3-none-any.whl\n"
        f"broken broken https://u:{SECRET}@example.invalid \x1b[2J\x9b2J\n"
        "alpha\n"
    )
    with model.holding("node add"):
        from governance.changes import nodes

        nodes.add(model.session, str(node), ref=None, node_id=None, cwd=tmp_path)
        tx = roads.run(model.session, "leaky")
    assert len(tx.skipped_requirements) == 4
    for words in (("tx", "inspect", tx.txid), ("tx", "promote", tx.txid)):
        for ended in (gov(*words), gov.json(*words)):
            assert "example.invalid" in ended.out + ended.err
            assert SECRET not in ended.out + ended.err
            assert "\x1b" not in ended.out + ended.err and "\x9b" not in ended.out + ended.err
    assert not anywhere(model.space.root, SECRET)


# --- nodes that do harm -----------------------------------------------------------------------


HARMFUL = ["writes-pth", "edits-site-packages", "starts-daemon", "floods-log", "controls-terminal"]


@pytest.mark.privileged
@pytest.mark.parametrize("name", HARMFUL)
def test_what_a_node_plants_stays_in_its_candidate(workspace, world, name):
    """Not in prod, not in its rollback target, not in a later build, not on the terminal."""
    from governance.sample.world import write_node

    write_node(world.repos, name, NODES[name].files)
    workspace.set(tx__log_limit_mb=1, tx__smoke_test_cmd="{python} -c pass")
    space, before = workspace.root, packages(workspace.root)
    workspace.add(name)
    ended = workspace.gov("tx", "run", name)
    assert ended.code == 0, ended.err
    assert "\x1b" not in ended.out + ended.err
    assert packages(space) == before, "the run reached prod"
    txid = next((space / "state/transactions").glob("*.json")).stem
    record = json.loads((space / f"state/transactions/{txid}.json").read_text())
    for stream in ("stdout", "stderr"):
        assert (space / record["logs"][stream]).stat().st_size < 2 << 20
    promoted = workspace.gov.json("tx", "promote", txid).ok().data
    assert packages(space) == before, "the promote brought it"
    workspace.promote("shares-cowsay")
    planted = packages(space)
    assert {path for path in planted if "planted" in path} == set()
    assert planted["numpy/__init__.py"] == before["numpy/__init__.py"], "a later build has it"
    workspace.gov("rollback", promoted["pre_snapshot"]).ok()
    assert packages(space) == before, "the rollback target was reached"
    workspace.gov("verify", "--full").ok()
    assert not alive("sample-daemon")


def packages(root):
    """The files of prod's site-packages by what they hold."""
    site = next((root / ".venv-prod/lib").glob("python3.*/site-packages"))
    found = {}
    for path in site.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            found[str(path.relative_to(site))] = store.file_digest(path)
    return found


def alive(mark):
    """Command lines that name it."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/cmdline", "rb") as stream:
                    line = stream.read().decode(errors="replace")
            except OSError:
                continue
            if mark in line and str(os.getpid()) != entry.name:
                found.append(line)
    return found
