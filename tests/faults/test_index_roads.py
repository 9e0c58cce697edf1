"""A lying index on every road that asks one: said of the index, with nothing lost and no conflict
made of it."""

import hashlib
import shutil
import signal
import socket
import time

import pytest
from support.gov import Gov

from governance.boundaries import config, store
from governance.sample import world

PAGE, WHEEL = "/simple/lark/", "/files/lark-1.2.2-py3-none-any.whl$"
HASH = hashlib.sha256(b"another file").hexdigest()


def refused(ended, says, *codes):
    """Exit 1, an error of the index with `says` in it, and a hint with a command to paste."""
    assert ended.code == 1, ended
    assert ended.error["code"] in codes, ended
    assert says in ended.error["message"], ended
    assert "`" in ended.error["hint"], ended
    return ended


@pytest.fixture(autouse=True)
def once(monkeypatch):
    """uv waits seconds between its own tries."""
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


@pytest.fixture
def stage(served):
    served.rewind("served")
    store.remove_tree(served.cache)
    served.server.requests.clear()
    yield served
    served.server.heal()


def truth(stage):
    files = [stage.root / name for name in ("pyproject.toml", "uv.lock", "state/plugins.json")]
    return [file.read_bytes() for file in files], (stage.root / ".venv-prod").readlink()


# --- init -------------------------------------------------------------------------------------


@pytest.fixture
def start(served, tmp_path):
    """`gov init` of a new workspace, beside a ComfyUI of its own."""

    comfyui = shutil.copytree(served.comfyui, tmp_path / "ComfyUI")
    shutil.rmtree(comfyui / "custom_nodes")
    (comfyui / "custom_nodes").mkdir()

    def run(url, *options):
        root = tmp_path / "env"
        root.mkdir(exist_ok=True)
        settings = {"comfyui_dir": str(comfyui)}
        (root / "config.toml").write_text(config.template(**settings))
        return Gov(root).json("init", root, "--index", url, *options)

    return run


def test_upload_times_that_are_missing_where_a_date_is_asked(served, start):
    served.server.fail("", "no-times")
    try:
        ended = start(served.server.url, "--resolution-date", "2026-01-01")
    finally:
        served.server.heal()
    refused(ended, "tells no upload times, so that no version of numpy", "index_undated")
    assert "--resolution-date none" in ended.error["hint"]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_an_index_that_is_no_index(served, start):
    undated = ("--resolution-date", "none")
    ended = start(f"http://127.0.0.1:{free_port()}/simple", *undated)
    refused(ended, "accepts no connection (numpy was asked for)", "index_unreachable")
    ended = start("http://no-such-host.invalid/simple", *undated)
    refused(ended, "no-such-host.invalid is no name that the network knows", "index_unreachable")
    ended = start(served.server.url.replace("http:", "https:"), *undated)
    refused(ended, "speaks no TLS that uv understands", "index_unreachable")
    ended = start(served.server.url.replace("/simple/", "/elsewhere/"), *undated)
    refused(ended, "answers with 404 whatever it is asked, also when numpy", "index_failed")


# --- hashes -----------------------------------------------------------------------------------


def hashed(stage, text):
    """The node asks for lark with `text` behind it."""
    files = {"__init__.py": "", "requirements.txt": f"lark==1.2.2 {text}\n"}
    world.write_node(stage.folder / "hashed", "idle", files)
    store.remove_tree(stage.comfyui / "custom_nodes/idle")
    stage.gov("node", "remove", "idle").ok()
    stage.gov("node", "add", stage.folder / "hashed/idle").ok()
    return stage


def test_a_nodes_own_hash_that_the_index_contradicts(stage):
    hashed(stage, f"--hash=sha256:{HASH}")
    before = truth(stage)
    ended = refused(stage.gov.json("tx", "run", "idle"), "has other files of lark 1.2.2 than idle",
                    "hash_contradicted")  # fmt: skip
    assert "requirements.txt:1" in ended.error["message"]
    assert truth(stage) == before
    stage.set(policy__node_hashes="ignore")
    stage.gov("tx", "run", "idle").ok()


def test_a_nodes_own_hash_that_holds(stage):
    (wheel,) = stage.wheels.glob("lark-1.2.2-*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    hashed(stage, f"--hash=sha256:{HASH} \\\n    --hash=sha256:{digest}")
    stage.gov("tx", "run", "idle").ok()


def test_an_index_without_hashes(stage):
    stage.server.fail("/simple/lark", "no-hashes")
    ended = stage.gov.json("tx", "run", "idle").ok()
    said = "tells no hash of lark: what it sends is not checked"
    assert said in ended.err
    assert any(said in note["sentence"] for note in ended.data["plan"]["notes"])
    stage.set(policy__missing_hashes="refuse")
    ended = stage.gov.json("tx", "run", "idle")
    assert (ended.code, ended.error["code"]) == (3, "hash_missing")
    stage.set()
    hashed(stage, f"--hash=sha256:{HASH}")
    refused(stage.gov.json("tx", "run", "idle"), "so the --hash of", "hash_contradicted")


# --- the other roads --------------------------------------------------------------------------


@pytest.mark.thorough
def test_several_nodes_at_once_set_nobody_aside(stage, tmp_path):
    """An index that cannot be asked says nothing about any of them."""
    for name in ("one", "two"):
        write(tmp_path / "repos", name, "colorama\n")
        stage.gov("node", "add", tmp_path / "repos" / name).ok()
        stage.gov("tx", "promote", stage.gov.json("tx", "run", name).ok().data["txid"]).ok()
        write(tmp_path / "repos", name, "lark\n")
    stage.server.fail(PAGE, "status", status=401)
    before = truth(stage)
    ended = stage.gov.json("node", "update", "--all")
    refused(ended, "refuses lark (401 Unauthorized)", "index_denied")
    assert "UV_INDEX_GOV_USERNAME=USER" in ended.error["hint"]
    assert "set aside" not in ended.err
    assert truth(stage) == before
    record = stage.gov.json("tx", "inspect", ended.error["facts"]["txid"]).ok().data
    assert (record["status"], record["set_aside"]) == ("failed", [])
    stage.server.heal()
    assert len(stage.gov.json("node", "update", "--all").ok().data["nodes"]) == 2


def write(folder, name, lines):
    world.write_node(folder, name, {"__init__.py": "", "requirements.txt": lines})


def test_a_repair_that_has_to_download(stage):
    promoted(stage)
    stage.server.fail(WHEEL, "truncated")
    before = truth(stage)
    store.remove_tree(stage.cache)
    site = next((stage.root / ".venv-prod/lib").glob("python3*")) / "site-packages"
    next(site.glob("lark*/METADATA")).unlink()
    for words in (("repair",), ("verify", "--fetch")):
        refused(stage.gov.json(*words), "broke off in the midst of lark 1.2.2", "bad_download")
    assert truth(stage) == before
    stage.server.heal()
    stage.gov("repair").ok()


def promoted(stage):
    txid = stage.gov.json("tx", "run", "idle").ok().data["txid"]
    return stage.gov.json("tx", "promote", txid).ok().data


def test_a_rollback_that_has_to_download(stage):
    snapshot = promoted(stage)["post_snapshot"]
    stage.gov("rollback", promoted_before(stage, snapshot)).ok()
    before = truth(stage)
    for folder in (stage.root / ".generations").iterdir():
        if not folder.name.startswith((stage.root / ".venv-prod").readlink().name):
            store.remove_tree(folder)
    store.remove_tree(stage.cache)
    stage.server.fail(WHEEL, "rubbish")
    ended = stage.gov.json("rollback", snapshot)
    refused(ended, "that is no package file", "bad_download")
    assert truth(stage) == before
    stage.server.heal()
    stage.gov("rollback", snapshot).ok()


def promoted_before(stage, snapshot):
    rows = store.read_object(stage.root / "state/snapshots_index.json")["snapshots"]
    ids = [row["id"] for row in rows]
    return ids[ids.index(snapshot) - 1]


def test_ctrl_c_while_one_byte_a_second_comes(stage):
    before = truth(stage)
    stage.server.fail(PAGE, "drip", seconds=0.2)
    child = stage.start(("tx", "run", "idle"))
    until = time.monotonic() + 20
    while not stage.server.count(PAGE) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 130, err
    assert truth(stage) == before
    assert stage.processes() == []
    stage.server.heal()
    stage.gov("tx", "run", "idle").ok()


def test_a_limit_on_a_whole_lock(stage):
    stage.set(resolution__lock_timeout_seconds=2, resolution__stall_seconds=60)
    stage.server.fail(PAGE, "drip", seconds=0.2)
    ended = stage.gov.json("tx", "run", "idle")
    refused(ended, "locking took longer than 2 s; the index at 127.0.0.1", "timed_out")
    assert stage.processes() == []


# --- questions, and what follows a conflict ---------------------------------------------------


@pytest.fixture
def quarrel(stage, tmp_path):
    """A transaction that needs a resolution: a node in prod wants another lark."""
    write(tmp_path / "repos", "holds", "lark>=1.2\n")
    write(tmp_path / "repos", "wants", "lark<1.2\n")
    stage.gov("node", "add", tmp_path / "repos/holds").ok()
    stage.gov("tx", "promote", stage.gov.json("tx", "run", "holds").ok().data["txid"]).ok()
    stage.gov("node", "add", tmp_path / "repos/wants").ok()
    ended = stage.gov.json("tx", "run", "wants")
    assert ended.code == 4, ended
    return ended.error["facts"]["txid"]


LIES = {
    "status": ("refuses lark (401 Unauthorized)", "index_denied"),
    "garbage": ("answers with what is no page at all when lark", "index_failed"),
    "drip": ("sends next to nothing: no progress for 3 s", "index_stalled"),
}


@pytest.fixture(params=LIES)
def lied_to(stage, quarrel, request):
    store.remove_tree(stage.cache)
    stage.server.fail(PAGE, request.param, status=401, seconds=0.5)
    return request.param


@pytest.mark.family(1)
def test_a_fix_that_is_tried_and_an_upgrade(stage, quarrel, lied_to):
    before = truth(stage)
    refused(stage.gov.json("resolve", quarrel, "--try", "1"), *LIES[lied_to])
    refused(stage.gov.json("upgrade", "lark"), *LIES[lied_to])
    assert truth(stage) == before
    stage.server.heal()
    stage.gov("resolve", quarrel, "--try", "1").ok()


@pytest.mark.family(1)
@pytest.mark.parametrize("lie", ["empty", "garbage", "rubbish"])
def test_the_one_version_that_is_asked_for(stage, tmp_path, lie):
    """No page at all, and for uv just a version that is not there."""
    write(tmp_path / "repos", "exact", "lark==1.2.2\n")
    stage.gov("node", "add", tmp_path / "repos/exact").ok()
    stage.server.fail(PAGE, lie)
    refused(stage.gov.json("tx", "run", "exact"), "when lark is asked for", "index_failed")
    stage.server.heal()
    stage.gov("tx", "run", "exact").ok()


@pytest.mark.family(2)
def test_an_audit_that_gets_no_answer_takes_it_for_none(stage, lied_to):
    ended = stage.gov.json("audit")
    assert ended.code == 1 and ended.data["findings"] == [], ended
    said = [row["sentence"] for row in ended.data["unanswered"]]
    assert any(LIES[lied_to][0] in sentence for sentence in said), said


# --- without a network, on purpose ------------------------------------------------------------


def offline(stage, *words):
    """No request is made."""
    stage.server.requests.clear()
    ended = stage.gov.json(*words, "--offline")
    assert stage.server.requests == []
    return ended


def test_offline_names_at_once_all_that_is_missing(stage, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "0")
    write(tmp_path / "repos", "both", "lark\ncolorama\n")
    stage.gov("node", "add", tmp_path / "repos/both").ok()
    ended = refused(offline(stage, "tx", "run", "both"), "colorama", "offline_missing")
    assert {"colorama", "lark"} <= set(ended.error["facts"]["missing"])
    monkeypatch.setenv("UV_OFFLINE", "0")
    txid = stage.gov.json("tx", "run", "both").ok().data["txid"]
    stage.gov("tx", "abort", txid).ok()
    # Now the versions are known, and the files are not here.
    for folder in (stage.root / ".generations").iterdir():
        if not folder.name.startswith((stage.root / ".venv-prod").readlink().name):
            store.remove_tree(folder)
    for folder in stage.cache.glob("archive-v*"):
        store.remove_tree(folder)
    ended = refused(offline(stage, "tx", "run", "both"), "the files of", "offline_missing")
    assert {"colorama 0.4.6", "lark 1.2.2"} <= set(ended.error["facts"]["missing"])
    monkeypatch.setenv("UV_OFFLINE", "0")
    stage.gov("tx", "run", "both").ok()
    assert offline(stage, "tx", "run", "both").code == 0


def test_offline_init_says_what_it_would_need(served, start, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "0")
    store.remove_tree(served.cache)
    ended = start(served.server.url, "--resolution-date", "none", "--offline")
    assert (ended.code, ended.error["code"]) == (1, "offline_missing"), ended
    assert "numpy" in ended.error["facts"]["missing"]
