"""Whatever is typed, or stands in a file: taken because it is valid, or refused in one sentence.

Each target feeds a door of gov with mutations of good and hostile examples.  Only a GovError may
come out of it; what is accepted is judged by rules written here anew; and nothing outside of the
workspace may change.  GOV_FUZZ=long feeds a million inputs, else 50,000 are.
"""

import contextlib
import copy
import io
import json
import os
import random
import re
import shutil
import tomllib
import unicodedata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import roads

from governance import git, requirements
from governance.base import names
from governance.base.errors import GovError, UsageError
from governance.boundaries import config, store
from governance.changes import ending
from governance.changes.gates import Approval
from governance.cli import main as cli
from governance.cli import parser
from governance.git import remote
from governance.operations import recovery
from governance.truth import workspace

from . import figures
from .model_workspace import Chosen, Model, node_repositories

LONG = figures.LONG or os.environ.get("GOV_FUZZ") == "long"
SCALE = 20 if LONG else 1
SEED = int(os.environ.get("GOV_FUZZ_SEED", "20260131"))

pytestmark = pytest.mark.timeout(3600 if LONG else 300)

ODD = [
    *"\0\n\r\t\x1b\x7f\x85\u2028\u202e\ufeff\udc80é中🙂 '\"`$;&|<>(){}[]\\/:@#?*~^!=,.-_%+",
    "..", "../", "/..", "//", "://", "::", "--", "-", "@{", "${HOME}", "%2e%2e%2f", "%00",
    "a" * 300,
    "\x1b]0;x\x07", "ſ", "K", "１", "İ", "ext::sh -c", "file://", "--upload-pack=x", "x" * 3000,
    ".git", ".lock", ".disabled", "CON", "null", "1e999", "9" * 400, "-1", "NaN", "[" * 50,
]  # fmt: skip


def mutated(dice, examples):
    """One example with a few changes; now and then two of them spliced, or as it is."""
    text = dice.choice(examples)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 3, 6))):
        at = dice.randint(0, len(text))
        to = min(len(text), at + dice.randint(0, 4))
        act = dice.randint(0, 5)
        if act == 0:
            text = text[:at] + dice.choice(ODD) + text[at:]
        elif act == 1:
            text = text[:at] + text[to:]
        elif act == 2:
            text = text[:at] + dice.choice(ODD) + text[to:]
        elif act == 3:
            text = text[:at] + text[at:to] * dice.choice((2, 3, 50)) + text[to:]
        elif act == 4:
            other = dice.choice(examples)
            text = text[:at] + other[dice.randint(0, len(other)) :]
        else:
            text = text[:at] + chr(dice.choice((dice.randint(0, 127), dice.randint(0, 0xFFFF))))
            text += dice.choice(examples)[at:]
    return text


def fed(times, examples, feed):
    """Feed so many inputs, of which some have to be accepted."""
    dice = random.Random(SEED)
    accepted = 0
    for _ in range(times * SCALE):
        text = mutated(dice, examples)
        try:
            feed(text)
            accepted += 1
        except GovError as error:
            told(error)
        except Exception as error:
            raise AssertionError(f"{text!r} ended as {type(error).__name__}: {error}") from error
    assert accepted, "nothing was ever accepted: the examples are wrong"
    counted(feed.__qualname__, times * SCALE, taken=accepted)


def counted(test, inputs, *, taken):
    part = "fuzz" if figures.LONG == LONG else "fuzz, a million"
    figures.note(part, test, inputs=inputs, refused=inputs - taken)


def told(error):
    """A sentence and a way out, of bounded length, with facts that fit a JSON document."""
    for text in (error.message, error.hint):
        assert text.strip()
    assert len(error.message) < 20_000
    json.dumps(error.facts)


# --- names --------------------------------------------------------------------------------------

IDS = ["ComfyUI-Manager", "a", "was-node-suite", "x_y.z", "_x", "../x", ".git", "con", "a.disabled"]
TXIDS = ["20260131T120000Z-0a1b2c3d", "20260131T120000Z-snap-0a1b2c", "../../etc/passwd", ""]


def test_node_ids(tmp_path):
    def feed(text):
        accepted = names.node_id(text)
        assert accepted == text
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert text[0] not in ".-" and text[-1] != "." and len(text) <= 100
        assert not text.lower().endswith((".disabled", ".py"))
        assert (tmp_path / text).parent == tmp_path and (tmp_path / text).name == text

    fed(13000, IDS, feed)


@pytest.mark.parametrize(
    ("check", "digits", "dash"), [(names.txid, 8, "-"), (names.snapshot_id, 6, "-snap-")]
)
def test_ids_of_records(check, digits, dash):
    def feed(text):
        check(text)
        moment, _, rest = text.partition(dash)
        assert len(moment) == 16 and moment[8] == "T" and moment[15] == "Z"
        assert (moment[:8] + moment[9:15]).isdigit() and moment.isascii()
        assert len(rest) == digits and set(rest) <= set("0123456789abcdef")

    fed(6500, TXIDS, feed)


# --- git ----------------------------------------------------------------------------------------

REFS = ["main", "v1.0", "feature/x", "refs/heads/main", "0" * 40, "--upload-pack=x", "HEAD~1", "@"]
URLS = [
    "https://example.invalid/owner/name.git",
    "https://user:secret@example.invalid/o/n",
    "ssh://git@example.invalid:22/o/n",
    "git@example.invalid:o/n.git",
    "file:///tmp",
    "/tmp",
    ".",
    "ext::sh -c touch% x",
    "-uhttps://x",
    "git+https://x/y",
]


def test_refs():
    def feed(text):
        remote._check_ref(text)
        assert text and not text.startswith("-") and text.isprintable()
        assert not set(text) & set(" ~^:?*[\\") and ".." not in text and "@{" not in text

    fed(6000, REFS, feed)


def test_git_urls(tmp_path):
    def feed(text):
        source = git.source(text, protocols=("https", "ssh", "file"), cwd=tmp_path)
        assert source.protocol in ("https", "ssh", "file")
        assert not source.url.startswith("-") and "::" not in source.url.partition("/")[0]
        kinds = {unicodedata.category(character) for character in source.url}
        assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert git.stripped(source.url) == source.url
        if source.protocol == "https":
            assert "@" not in source.url.split("/")[2]
        if source.local:
            assert Path(source.url).is_dir() and Path(source.url).is_absolute()
        with contextlib.suppress(UsageError):
            names.node_id_from_url(source.url)

    fed(11000, URLS, feed)


# --- requirements -------------------------------------------------------------------------------

LINES = [
    "numpy>=1.26,<3",
    "transformers[timm]==4.49.0 ; python_version >= '3.10'",
    "Pillow",
    "torch==2.0",
    "-e .",
    "--extra-index-url https://user:secret@example.invalid/simple",
    "-r more.txt",
    "name @ https://example.invalid/name-1-py3-none-any.whl",
    "git+https://user:secret@example.invalid/o/n#egg=name",
    "file:///etc/passwd",
    "./local",
    "x \\\n  >= 1  # comment",
    "${TOKEN}",
]
PINS = ["numpy==1.26.4", "transformers[timm]==4.49.0", "a===1", "torch>=2", "x @ file:///y", "-r x"]
FORBIDDEN = {"torch", "torchvision", "torchaudio", "torchsde"}


def sound(text):
    """A requirement as it may enter the truth: one line, no place, no option, not torch."""
    found = Requirement(text)
    assert found.url is None and canonicalize_name(found.name) not in FORBIDDEN
    assert text.isascii() and text.isprintable() and not text.startswith("-")


def test_requirement_files(tmp_path):
    """Every line of a file is taken, or listed with its reason, or named in a note."""
    file = tmp_path / "requirements.txt"
    dice = random.Random(SEED)
    policy = requirements.Policy()
    for _ in range(4500 * SCALE):
        text = "\n".join(mutated(dice, LINES) for _ in range(dice.randint(1, 4)))
        file.write_bytes(text.encode(errors="surrogatepass"))
        found = requirements.read_node(tmp_path, policy=policy)
        for line in found.lines:
            sound(line.text)
        json.dumps(found.to_json())
        if not (found.lines or found.skipped or found.notes):
            told_nothing = re.split(r"\r\n|\r|\n", text)
            assert all(is_silent(line) for line in told_nothing), text
    counted("requirement files", 4500 * SCALE, taken=4500 * SCALE)


def is_silent(line):
    """Nothing but blanks, a comment, or the joint of a continued comment."""
    left = line.strip(" \t\u00a0\ufeff\\")
    return not left or left.startswith("#")


def test_pins():
    def feed(text):
        pin = requirements.parse_pin(text)
        found = Requirement(pin.text)
        assert found.url is None and found.marker is None
        assert [s.operator for s in found.specifier] in (["=="], ["==="])
        assert pin.text.isprintable() and pin.text.isascii()
        for entry in requirements.override_text(pin, [pin.name]):
            Requirement(entry)

    fed(5000, PINS, feed)


# --- config.toml and the command line -------------------------------------------------------------


def test_config(tmp_path):
    file = tmp_path / "config.toml"
    examples = [
        config.template(),
        '[tx]\ntimeout_seconds = 5\n[policy]\ncore_packages = ["numpy"]\n',
        '[storage]\nlink_mode = "copy"\nuv_cache_dir = "../x"\n',
        'comfyui_dir = "/tmp"\n[comfyui]\nargs = ["--cpu"]\ncpu = "auto"\n',
    ]

    def feed(text):
        file.write_bytes(text.encode(errors="surrogatepass"))
        loaded = config.load(file)
        tomllib.loads(text)
        assert set(loaded.values) == {setting.key for setting in config.SETTINGS}
        for setting in config.SETTINGS:
            value = loaded.values[setting.key]
            numeric = isinstance(setting.default, int | float)
            numeric = numeric and not isinstance(setting.default, bool)
            assert isinstance(value, (int, float) if numeric else type(setting.default))
            assert not setting.choices or value in setting.choices
            is_none = setting.may_be_zero and value == 0
            assert not numeric or is_none or 0 < value < 10**9

    fed(1500, examples, feed)


WORDS = [
    "init", "status", "node", "add", "remove", "check", "tx", "run", "inspect", "abort", "promote",
    "shell", "resolve", "snapshot", "list", "rollback", "stop", "verify", "repair", "clean", "why",
    "--json", "-v", "-q", "--root", "--", "--id", "--ref", "--timeout", "--pin", "--accept", "1",
    "nan", "-1", "--approve-core", "--reason", "", "x", "--ful", "--dry-run", "--purge-code",
    "20260131T120000Z-0a1b2c3d",
]  # fmt: skip


def test_command_lines():
    """Only the parser: what parses names an act and holds texts."""
    dice = random.Random(SEED)
    parsed = 0
    for _ in range(700 * SCALE):
        argv = [mutated(dice, WORDS) for _ in range(dice.randint(0, 6))]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                arguments = parser.parse(argv)
        except GovError as error:
            told(error)
            assert error.exit_code == 2
        except SystemExit as ended:
            assert ended.code == 0
        else:
            assert arguments.words.split()[0] in WORDS
            parsed += 1
    counted("command lines", 1500 * SCALE, taken=parsed)


# --- documents ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A workspace with a history, made by the verbs themselves; what lies around is watched."""
    folder = tmp_path_factory.mktemp("fuzz")
    repositories = node_repositories(folder / "repositories")
    with pytest.MonkeyPatch.context() as patch:
        model = Model(folder / "inside", repositories, patch)
        history_of(model)
    outside = folder / "outside"
    outside.mkdir()
    (outside / "precious.txt").write_text("precious")
    return House(model, folder)


def history_of(model):
    from governance.changes import nodes

    approval = Approval(core=True, reason="chosen", failed_run=True, accept_skipped=True)
    for name, seen, promoted in (
        ("needs-old-alpha", "completed", True),
        ("needs-new-alpha", "completed", False),
        ("needs-numpy-one", "failed", False),
        ("skips-a-line", "completed", False),
        ("needs-nothing", "completed", True),
    ):
        with model.holding("history"):
            source = str(model.repositories / name)
            nodes.add(model.session, source, ref=None, node_id=None, cwd=model.folder)
            vars(model.chosen).update(vars(Chosen(observed=seen)))
            tx = roads.run(model.session, name)
            if promoted:
                roads.promote(model.session, tx.txid, approval)
                ending.clean(model.space, tx.txid)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Nothing here asks what a power loss leaves."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class House:
    """The prepared workspace; every case finds it as it was."""

    def __init__(self, model, folder):
        self.space = workspace.Workspace(model.space.root)
        self.folder = folder
        self.model = model
        records = model.records()
        self.by_status = {r["status"]: txid for txid, r in records.items()}
        self.txid = self.by_status["needs_resolution"]
        self.snapshot = model.snapshots()[-1]
        self.kept = folder / "kept"
        shutil.copytree(self.space.root, self.kept, symlinks=True)

    def restore(self):
        shutil.rmtree(self.space.root)
        shutil.copytree(self.kept, self.space.root, symlinks=True)

    def gov(self, *words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main([*words, "--root", str(self.space.root), "--json"])
        return code, json.loads(out.getvalue())

    def outside(self, but=None):
        """Everything beside the workspace: path, size, time; less what lies in `but`."""
        places = [self.folder / "outside", self.folder / "inside/ComfyUI", self.folder / "inside"]
        found = {}
        for path in [*places, *(path for top in places[:2] for path in top.rglob("*"))]:
            if but is None or not path.is_relative_to(but):
                facts = path.lstat()
                found[path] = (facts.st_size, facts.st_mtime_ns if path.is_file() else 0)
        return found


VALUES = [
    None, True, False, 0, -1, 2**63, 1.5, "", "x", "../../outside", "/etc/passwd", [], {}, [None],
    [[]], {"": None}, "\x1b[2J", "a" * 5000, [1, 2], {"path": "../../outside/precious.txt"},
    "20260131T120000Z-0a1b2c3d", float("inf"), "\udc80",
]  # fmt: skip


def damaged(dice, good):
    """The bytes of a document that was changed in a few places, in its structure or as bytes."""
    if dice.random() < 0.3:
        text = good.decode()
        at = dice.randint(0, len(text))
        acts = (
            lambda: text[:at],
            lambda: text[:at] + dice.choice(ODD) + text[at:],
            lambda: text.replace('": ', '": ' + "[" * 3000, 1),
            lambda: text.replace("{", '{"a": 1, "a": 2, ', 1),
            lambda: text.replace("{", '{"schema": 2, ', 1),
            lambda: text[:at] + text[at + dice.randint(1, 30) :],
        )
        return dice.choice(acts)().encode(errors="surrogatepass")
    value = json.loads(good)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        change(dice, value)
    return json.dumps(value).encode()


def change(dice, value):
    """Go down to a random place and put something else there, or take it away."""
    while isinstance(value, dict | list) and value:
        key = dice.choice(sorted(value)) if isinstance(value, dict) else dice.randrange(len(value))
        inner = value[key]
        if isinstance(inner, dict | list) and inner and dice.random() < 0.75:
            value = inner
        elif dice.random() < 0.2:
            del value[key]
            return
        else:
            value[key] = copy.deepcopy(dice.choice(VALUES))  # shared, it could end up in itself
            return


def questions(house):
    """Document to the commands that read it."""
    space, txid, snapshot = house.space, house.txid, house.snapshot
    status, verify = ("status",), ("verify",)
    looks = [("tx", "inspect", txid), ("resolve", txid, "--suggest"), status]
    return {
        "plugins": (space.plugins, [verify, status, ("tx", "inspect", txid)]),
        "transaction": (space.transactions / f"{txid}.json", [*looks]),
        "transaction-completed": (
            space.transactions / f"{house.by_status['completed']}.json",
            [
                ("tx", "inspect", house.by_status["completed"]),
                ("tx", "promote", house.by_status["completed"], "--dry-run"),
            ],
        ),
        "snapshots_index": (
            space.snapshots_index,
            [("snapshot", "list"), ("snapshot", "inspect", snapshot)],
        ),
        "meta": (space.snapshots / snapshot / "meta.json", [("snapshot", "inspect", snapshot)]),
        "receipt": (space.receipt, [verify, status]),
        "conflict": (space.conflicts / f"{txid}.json", [looks[1], looks[0]]),
        "manifest": (space.generations / f"{space.generation}.d/manifest.json", [verify, status]),
        "transactions_index": (space.transactions_index, [status]),
        "verify": (space.verify_report, [status]),
        "lock-owner": (space.state / ".lock-owner.json", [status]),
    }


DOCUMENTS = (
    "plugins", "transaction", "transaction-completed", "snapshots_index", "meta", "receipt",
    "conflict", "manifest", "transactions_index", "verify", "lock-owner",
)  # fmt: skip


# What the contract says of each field; derived caches are absent: they are made anew.
TEXT, LIST, OBJECT, MAYBE = (str,), (list,), (dict,), (str, type(None))
RECORD = {
    "txid": TEXT, "node_id": TEXT, "status": TEXT, "started_at": TEXT, "ended_at": MAYBE,
    "candidate_env": MAYBE, "pre_freeze": LIST, "post_freeze": LIST, "diff": OBJECT,
    "core_impact": LIST, "logs": OBJECT, "conflict_report": MAYBE, "resolution_pins": LIST,
    "promotion_plan": OBJECT, "promotion": OBJECT, "base": OBJECT, "observation": OBJECT,
}  # fmt: skip
CONTRACT = {
    "plugins": {"id": TEXT, "git_url": TEXT, "group": TEXT, "ref": MAYBE, "enabled": (bool,)},
    "transaction": RECORD,
    "transaction-completed": RECORD,
    "snapshots_index": {"snapshots": LIST},
    "meta": {"id": TEXT, "created_at": TEXT, "digests": OBJECT, "ref": MAYBE},
    "receipt": {},
    "conflict": {"txid": TEXT, "node_id": TEXT, "detected_packages": LIST, "summary": TEXT},
    "manifest": {"name": TEXT, "lock_sha256": TEXT, "packages": LIST, "locked": OBJECT},
}


def is_wrong(name, data):
    """By the contract's words alone, these bytes are not such a document."""
    if name not in CONTRACT:
        return False
    try:
        value = json.loads(data.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError):
        return True
    rows = value if name == "plugins" else [value]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return True
    return any(
        field in row and not isinstance(row[field], kinds)
        for row in rows
        for field, kinds in CONTRACT[name].items()
    ) or any(is_newer(row) for row in rows if name != "plugins")


def is_newer(row):
    schema = row.get("schema", 1)
    return type(schema) is not int or schema > 1


def once(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError
    return dict(pairs)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(prepared, name):
    """A question answers, or names the file; it never changes it, nor anything else."""
    path, commands = questions(prepared)[name]
    if not path.exists():
        path.write_text('{"verdict": "ok", "checked_at": "2026-01-31T12:00:00Z"}')
    good, outside = path.read_bytes(), prepared.outside()
    dice = random.Random(SEED)
    wrong = 0
    for _ in range(60 * SCALE):
        data = damaged(dice, good)
        path.write_bytes(data)
        ends = [prepared.gov(*words) for words in commands]
        for code, document in ends:
            assert code in (0, 1, 2, 3, 4), (document["error"], data)
        if is_wrong(name, data):
            wrong += 1
            assert ends[0][0] == 1, data
        assert path.read_bytes() == data
    path.write_bytes(good)
    assert prepared.outside() == outside
    assert wrong or name not in CONTRACT
    counted(f"documents {name}", 120 * SCALE, taken=120 * SCALE - wrong)


WRITING = (
    ("clean",),
    ("rollback", "SNAPSHOT"),
    ("node", "remove", "skips-a-line", "--purge-code"),
    ("tx", "abort", "COMPLETED"),
)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_verbs_that_write(prepared, name):
    """With a document that is not as gov left it, no verb harms what is not the workspace's."""
    path, _ = questions(prepared)[name]
    dice = random.Random(SEED)
    given = {"SNAPSHOT": prepared.snapshot, "COMPLETED": prepared.by_status["completed"]}
    code_folder = prepared.folder / "inside/ComfyUI/custom_nodes"
    kept = prepared.folder / f"code-{name}"
    shutil.copytree(code_folder, kept, symlinks=True)
    outside = prepared.outside(code_folder)
    good = path.read_bytes() if path.exists() else b"{}"
    done = 0
    for number in range(4 * SCALE):
        words = [given.get(word, word) for word in WRITING[number % len(WRITING)]]
        data = damaged(dice, good)
        path.write_bytes(data)
        code, document = prepared.gov(*words)
        done += code == 0
        assert code in (0, 1, 2, 3, 4), (words, document["error"], data)
        assert prepared.outside(code_folder) == outside, (words, data)
        left = {entry.name for entry in code_folder.iterdir()}
        assert {entry.name for entry in kept.iterdir()} - left <= {"skips-a-line"}, (words, data)
        prepared.restore()
        shutil.rmtree(code_folder)
        shutil.copytree(kept, code_folder, symlinks=True)
    shutil.rmtree(kept)
    counted(f"verbs that write {name}", 4 * SCALE, taken=done)


def test_intents(prepared):
    """Recovery follows an intent within the workspace, and else names it."""
    space = prepared.space
    outside = prepared.outside(space.custom_nodes)
    text = space.plugins.read_bytes().decode()
    digest = store.digest(text.encode())
    nursery = space.work / "add-1"
    good = json.dumps(
        {
            "schema": 1,
            "verb": "node add",
            "created_at": "2026-01-31T12:00:00Z",
            "link": {"before": os.readlink(space.prod), "after": os.readlink(space.prod)},
            "moves": [{"source": str(nursery), "target": str(space.custom_nodes / "new")}],
            "documents": [
                {"path": "state/plugins.json", "before": digest, "after": digest, "text": text}
            ],
        }
    ).encode()
    hostile = [
        *(("path", value) for value in ("../../outside/precious.txt", "/tmp/x", "bin/gov", ".")),
        *(("after", value) for value in ("../../outside", ".generations/../..", "/", "")),
        *(("source", value) for value in (str(prepared.folder / "outside"), "..", "/")),
        *(("target", value) for value in (str(prepared.folder / "outside/x"), "x", "/tmp/x")),
    ]
    dice = random.Random(SEED)
    finished = 0
    for number in range(100 * SCALE):
        data = damaged(dice, good) if number % 2 else planted(dice, json.loads(good), hostile)
        nursery.mkdir()
        space.intent.write_bytes(data)
        try:
            with recovery.exclusive(workspace.Workspace(space.root), "fuzz"):
                finished += 1
        except GovError as error:
            told(error)
        shutil.rmtree(space.custom_nodes / "new", ignore_errors=True)
        assert prepared.outside(space.custom_nodes) == outside, data
        prepared.restore()
    assert finished
    counted("intents", 100 * SCALE, taken=finished)


def planted(dice, intent, hostile):
    """The intent with one value that leads elsewhere."""
    field, value = dice.choice(hostile)
    place = {"path": intent["documents"][0], "after": intent["link"]}.get(field, intent["moves"][0])
    place[field] = value
    return json.dumps(intent).encode()
