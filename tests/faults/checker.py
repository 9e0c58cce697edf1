"""What lies on the disk, read by its own rules: nothing of the library is used here.

`look` tells a workspace apart from any other; `faults_in` names what must never be seen in a
recovered one; `mixture` says whether it is all old or all new.
"""

import base64
import csv
import hashlib
import json
import os
import re
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

TXID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
STATUSES = {
    "running", "completed", "failed", "needs_resolution", "aborted", "resolved", "promoted",
    "promote_failed",
}  # fmt: skip
OVER = {"promoted", "aborted"}
COMFYUI = "ComfyUI"
TRUTH = ("pyproject.toml", "uv.lock", "state/plugins.json")
DOCUMENTS = ("state/snapshots_index.json", "state/receipt.json", "state/plugins.json")
# What tells when and by which process, not what: it differs between two runs of one command.
_TIMES = ("created_at", "updated_at")


@dataclass(frozen=True)
class Seen:
    """`decided` changes as one; `statuses` by txid; `snapshots` are (id, reason), oldest first."""

    decided: dict[str, object] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    snapshots: tuple[tuple[str, str], ...] = ()
    generations: frozenset[str] = frozenset()


def look(root: Path, comfyui: Path) -> Seen:
    """Raises AssertionError where a document cannot be read."""
    statuses = {txid: str(record["status"]) for txid, record in _transactions(root).items()}
    entries = _document(root / "state/snapshots_index.json", {"snapshots": []})["snapshots"]
    return Seen(
        {
            "pyproject.toml": _digest(root / "pyproject.toml"),
            "uv.lock": _digest(root / "uv.lock"),
            "registry": _registry(root, statuses),
            "prod": _prod(root),
            "clones": _clones(comfyui),
            "comfyui": code(comfyui),
        },
        statuses,
        tuple((row["id"], row["reason"]) for row in entries),
        frozenset(_names(root / ".generations")),
    )


def mixture(old: Seen, new: Seen, now: Seen) -> list[str]:
    """What is neither all old nor all new; empty where it is one of them."""
    problems = []
    if now.decided not in (old.decided, new.decided):
        for name, value in now.decided.items():
            side = "old" if value == old.decided[name] else "new"
            if value not in (old.decided[name], new.decided[name]):
                side = f"neither: {value!r}, not {old.decided[name]!r} or {new.decided[name]!r}"
            problems.append(f"{name} is {side}")
    problems += _moved(old, new, now)
    kept = [row for row in old.snapshots if row in new.snapshots]
    lost = [row for row in kept if row not in now.snapshots]
    return problems + [f"snapshot {row} is lost" for row in lost]


def is_new(old: Seen, new: Seen, now: Seen) -> bool:
    """Everything that tells new from old is as in new."""
    changed = {txid for txid in old.statuses if old.statuses[txid] != new.statuses.get(txid)}
    same = all(now.statuses.get(txid) == new.statuses.get(txid) for txid in changed)
    counted = len(now.statuses) >= len(new.statuses)
    return now.decided == new.decided and same and counted


def _moved(old: Seen, new: Seen, now: Seen) -> list[str]:
    """A record moves with what it decided; no record is ever lost."""
    problems = []
    with_decision = old.decided != new.decided
    expected = new if now.decided == new.decided else old
    for txid, before in old.statuses.items():
        after, found = new.statuses.get(txid), now.statuses.get(txid)
        if found is None:
            problems.append(f"transaction {txid} is lost")
        elif with_decision and after in OVER and not _fits(found, expected.statuses[txid]):
            problems.append(f"transaction {txid} is {found}, the truth says otherwise")
        elif not with_decision and found not in (before, after):
            problems.append(f"transaction {txid} went from {before} to {found}, not {after}")
    wanted = {status for txid, status in new.statuses.items() if txid not in old.statuses}
    for txid in now.statuses.keys() - old.statuses.keys():
        if now.statuses[txid] not in wanted | {"failed", "aborted"}:
            problems.append(f"the new transaction {txid} is {now.statuses[txid]}")
    return problems


def _fits(found: str, expected: str) -> bool:
    """A promote that an error stopped is told as promote_failed; prod is the old one."""
    return found == expected or (found == "promote_failed" and expected != "promoted")


def faults_in(root: Path, comfyui: Path, *, swept: bool = False) -> list[str]:
    """What no recovered workspace shows; `swept` after `gov clean`, when no rest may be left."""
    try:
        problems = [
            *_rests(root, comfyui),
            *_log_faults(root),
            *_index_faults(root),
            *_transaction_faults(root),
            *_registry_faults(root, comfyui),
            *_prod_faults(root),
        ]
    except AssertionError as error:
        return [str(error)]
    return problems + (_left_behind(root) if swept else [])


def document_faults(root: Path) -> list[str]:
    """As faults_in, for documents alone: no environment, no clone is looked at."""
    rests = _rests(root, root)
    return [*rests, *_log_faults(root), *_index_faults(root), *_transaction_faults(root)]


def commits(root: Path) -> dict[str, str]:
    """The commits that the truth names: of every node, and of ComfyUI."""
    found = {record["id"]: record["commit"] for record in _document(root / "state/plugins.json")}
    named = _toml(root / "pyproject.toml")["tool"]["gov"]["comfyui"]["commit"]
    return {**found, COMFYUI: named}


def statuses(root: Path) -> dict[str, str]:
    return {txid: str(record["status"]) for txid, record in _transactions(root).items()}


# --- rests ------------------------------------------------------------------------------------


def _rests(root: Path, comfyui: Path) -> list[str]:
    problems = []
    if (root / "state/intent.json").exists():
        problems.append("the intent is still there")
    for folder in (root, root / "state", root / "snapshots", root / ".generations", comfyui):
        problems += [f"{path} is left" for path in folder.glob(".tmp-*")]
    for folder in ("state/transactions", "state/conflicts", "state/logs", "bin"):
        problems += [f"{path} is left" for path in (root / folder).glob(".tmp-*")]
    names = set(_names(root / ".generations"))
    for name in names:
        bare = name.removesuffix(".d").removesuffix(".pycache")
        manifest = root / ".generations" / f"{bare}.d" / "manifest.json"
        if not manifest.is_file():
            problems.append(f"generation {name} is unfinished")
        elif _document(manifest)["name"] != bare:
            problems.append(f"generation {name} has the manifest of another")
        elif bare not in names:
            problems.append(f"generation {name} has papers and no environment")
    return problems


def _left_behind(root: Path) -> list[str]:
    held = {txid for txid, record in _transactions(root).items() if record["status"] not in OVER}
    problems = []
    for folder in (".venv-candidate", "state/work"):
        for name in _names(root / folder):
            if name.removesuffix("-smoke") not in held:
                problems.append(f"{folder}/{name} belongs to nobody")
    known = {row["id"] for row in _document(root / "state/snapshots_index.json")["snapshots"]}
    for folder in (".venv-candidate", ".generations"):
        problems += [f"{path} is left of a probe" for path in (root / folder).glob(".probe*")]
    return problems + [
        f"snapshots/{name} is in no index" for name in set(_names(root / "snapshots")) - known
    ]


# --- documents --------------------------------------------------------------------------------


def _log_faults(root: Path) -> list[str]:
    """What is kept of the log's end and of packages is whole, and no younger than the log."""
    _document(root / "state/anchors.json", {})
    noted = _document(root / "state/log_head.json", {"lines": 0})["lines"]
    log = root / "state/history.jsonl"
    written = log.read_bytes().count(b"\n") if log.exists() else 0
    return [f"the log has {written} lines, {noted} were noted"] if noted > written else []


def _index_faults(root: Path) -> list[str]:
    problems = []
    rows = _document(root / "state/snapshots_index.json")["snapshots"]
    ids = [row["id"] for row in rows]
    if len(set(ids)) != len(ids):
        problems.append("a snapshot is indexed twice")
    for name in ids:
        folder = root / "snapshots" / name
        meta = _document(folder / "meta.json")
        files = {"pyproject_sha256": "pyproject.toml", "lock_sha256": "uv.lock",
                 "plugins_sha256": "plugins.json"}  # fmt: skip
        for key, file in files.items():
            if meta.get(key, meta.get("digests", {}).get(key)) != _digest(folder / file):
                problems.append(f"snapshot {name}: {file} is not what meta.json names")
    receipt = _document(root / "state/receipt.json")
    for key, file in zip(("pyproject_sha256", "lock_sha256", "plugins_sha256"), TRUTH, strict=True):
        if receipt[key] != _digest(root / file):
            problems.append(f"the receipt does not name this {file}")
    return problems


def _transaction_faults(root: Path) -> list[str]:
    problems = []
    for txid, record in _transactions(root).items():
        if record["status"] not in STATUSES or record["txid"] != txid:
            problems.append(f"transaction {txid} says {record['status']} of {record['txid']}")
        if record["status"] == "running":
            problems.append(f"transaction {txid} is running, and nothing runs")
        report = record.get("conflict_report")
        if report and not (root / report).is_file():
            problems.append(f"{txid}: {report} is missing")
    known = {row["id"] for row in _document(root / "state/snapshots_index.json")["snapshots"]}
    for txid, record in _transactions(root).items():
        post = record.get("promotion", {}).get("post_snapshot")
        if record["status"] == "promoted" and not post:
            problems.append(f"{txid} is promoted without a snapshot")
        if record["status"] not in OVER and post and post not in known:
            problems.append(f"{txid} names {post}, which is in no index")
    return problems


def _registry_faults(root: Path, comfyui: Path) -> list[str]:
    records = _document(root / "state/plugins.json")
    ids = [record["id"] for record in records]
    problems = ["a node is registered twice"] if len(set(ids)) != len(ids) else []
    groups = set(_toml(root / "pyproject.toml").get("dependency-groups", {}))
    problems += [
        f"group {group} belongs to no node"
        for group in groups - {"core"} - {record["group"] for record in records}
    ]
    for record in records:
        if record["last_snapshot"] and record["group"] not in groups:
            problems.append(f"{record['id']} is promoted and has no group")
    clones = _clones(comfyui)
    problems += [f"{name} was cloned by half" for name, head in clones.items() if not head]
    return problems


# --- prod -------------------------------------------------------------------------------------


def _prod_faults(root: Path) -> list[str]:
    link = root / ".venv-prod"
    if not link.is_symlink():
        return ["there is no prod link"]
    name = Path(os.readlink(link)).name
    environment = root / ".generations" / name
    manifest = _document(root / ".generations" / f"{name}.d" / "manifest.json")
    problems = []
    if os.readlink(link) != f".generations/{name}":
        problems.append(f"prod leads to {os.readlink(link)}")
    if manifest["lock_sha256"] != _digest(root / "uv.lock"):
        problems.append("prod was built from another lock")
    if _document(root / "state/receipt.json")["generation"] != name:
        problems.append("the receipt names another generation")
    return problems + _environment_faults(environment, _locked(root))


def _environment_faults(environment: Path, locked: dict[str, str]) -> list[str]:
    site = next(environment.glob("lib/python3.*/site-packages"), None)
    if site is None:
        return [f"{environment} is no environment"]
    found, problems = {}, []
    for info in sorted(site.glob("*.dist-info")):
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        found[_normal(name)] = version
        problems += _record_faults(site, info / "RECORD")
    if found != locked:
        problems.append(f"prod holds {found}, the lock {locked}")
    if not (environment / "bin/python").exists():
        problems.append("prod has no python")
    return problems


def _record_faults(site: Path, record: Path) -> list[str]:
    if not record.is_file():
        return [f"{record} is missing"]
    problems = []
    for row in csv.reader(record.read_text().splitlines()):
        algorithm, _, wanted = row[1].partition("=")
        if not wanted:
            continue
        try:
            data = (site / row[0]).read_bytes()
        except FileNotFoundError:
            problems.append(f"{site / row[0]} is missing")
            continue
        found = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=")
        if found.decode() != wanted:
            problems.append(f"{site / row[0]} was changed")
    return problems


def _locked(root: Path) -> dict[str, str]:
    packages = _toml(root / "uv.lock").get("package", [])
    return {
        _normal(package["name"]): package["version"]
        for package in packages
        if "virtual" not in package["source"]
    }


# --- reading ----------------------------------------------------------------------------------


def _prod(root: Path) -> str | None:
    """The key of prod's generation: two builds of one lock are as good as each other."""
    link = root / ".venv-prod"
    return Path(os.readlink(link)).name.split("-")[0] if link.is_symlink() else None


def _registry(root: Path, statuses: dict[str, str]) -> list[dict[str, object]] | None:
    if not (root / "state/plugins.json").exists():
        return None
    told = []
    for record in _document(root / "state/plugins.json"):
        plain = {key: value for key, value in record.items() if key not in _TIMES}
        plain["last_snapshot"] = plain["last_snapshot"] is not None
        plain["last_txid"] = plain["last_txid"] in statuses
        told.append(plain)
    return told


def _clones(comfyui: Path) -> dict[str, str]:
    """Every folder of custom_nodes: its commit, and a digest of its files."""
    found = {}
    for name in _names(comfyui / "custom_nodes"):
        found[name] = code(comfyui / "custom_nodes" / name)
    return found


def code(folder: Path) -> str:
    """A checkout: its commit, what git says of it, and a digest of its files and links; empty where
    git cannot read it."""
    done = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True
    )
    if done.returncode != 0:
        return ""
    said = subprocess.run(
        ["git", "-C", str(folder), "status", "--porcelain"],
        capture_output=True, text=True, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    )  # fmt: skip
    if said.returncode != 0:
        return ""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if (
            inside[0] in (".git", "custom_nodes")
            or "__pycache__" in inside
            or (path.is_dir() and not path.is_symlink())
        ):
            continue
        data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + data)
    return f"{done.stdout.strip()} {said.stdout.strip()} {digest.hexdigest()}"


def _transactions(root: Path) -> dict[str, dict[str, object]]:
    found = {}
    for name in _names(root / "state/transactions"):
        if TXID.fullmatch(name.removesuffix(".json")):
            path = root / "state/transactions" / name
            found[name.removesuffix(".json")] = _document(path)
    return found


def _document(path: Path, default: object = None) -> object:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        assert default is not None, f"{path} is missing"
        return default
    except ValueError as error:
        raise AssertionError(f"{path} is damaged: {error}") from None


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise AssertionError(f"{path} is damaged: {error}") from None


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
