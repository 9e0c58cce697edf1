"""Power loss: every image that the recorded calls of a real command may leave, then the real
recovery.  With any of the syncs left out that it needs, images go bad."""

import hashlib
import os
import shutil

import pytest

from governance.base.errors import GovError
from governance.boundaries import store
from governance.operations import recovery
from governance.truth import history, workspace

from . import calls, checker, disk, figures
from .scenarios import BY_NAME

MOST = figures.size(16, 4096)
FEW = 4
SEED = 6
NAMES = ("init", "node add", "node remove", "tx run", "tx promote", "tx promote that builds",
         "rollback", "retention", "clean", "recovery")  # fmt: skip
ENVIRONMENT, CODE = "environment", "code"

pytestmark = pytest.mark.usefixtures("traced")


class Plug:
    """One scenario's story, and the judgement of its images on the stage's own paths."""

    def __init__(self, trials, name):
        self.trials, self.scenario = trials, BY_NAME[name]
        self.stage = trials.stage
        self.live = self.stage.folder / "live"
        trials.begin(self.scenario)
        before = self._read()
        done = calls.run(
            self.scenario.command(self.stage), trials.trace, "-y", "-s", "1000000",
            "-e", f"trace={disk.CALLS}", env=trials.env, cwd=self.stage.folder,
        )  # fmt: skip
        assert done.code == 0, done.err
        self.story = disk.Story(before, self.live, is_watched, made_by_children).read(done.trace)
        self.verdicts: dict[bytes, tuple[str, ...]] = {}
        self.old = self._seen_after(self.story.before)
        self.new = self._seen_after(self.story.now)

    def run(self, story, most=MOST):
        """(images, distinct, bad)."""
        images, bad, before = 0, [], len(self.verdicts)
        for over, tree in story.crashes(most, SEED):
            images += 1
            found = self._judged(tree, over)
            if found:
                bad.append(found)
        return images, len(self.verdicts) - before, bad

    def turns_red(self, place):
        """Whether an image goes bad without the syncs of `place`."""
        for over, tree in self.story.without(place).crashes(FEW, SEED):
            if self._judged(tree, over):
                return True
        return False

    def _judged(self, tree, over):
        image = tree.image()
        key = hashlib.sha256(repr((over, sorted(image.items(), key=str))).encode()).digest()
        if key not in self.verdicts:
            self.verdicts[key] = tuple(self._problems(image, over))
        return self.verdicts[key]

    def _problems(self, image, over):
        try:
            self._recovered(image)
            now = self._seen()
            problems = list(self._faults(now))
        except (GovError, AssertionError, OSError) as error:
            return [f"stuck: {error}"]
        if over and now != self.new:
            problems.append(f"it was reported, and is lost: {now}")
        return problems

    def _faults(self, now):
        root = self.stage.root
        if now["decided"] not in (self.old["decided"], self.new["decided"]):
            yield f"mixed: {now['decided']}"
        started = now["decided"]["pyproject.toml"] is not None
        if started:
            yield from checker.document_faults(root)
        for papers in (root / ".generations").glob("*.d"):
            whole = papers.with_suffix("") / ENVIRONMENT
            if not whole.is_file() or whole.read_text() != ENVIRONMENT:
                yield f"{papers.name} has a manifest and no whole environment"
        for folder in (self.stage.comfyui / "custom_nodes").iterdir():
            if not (folder / CODE).is_file() or (folder / CODE).read_text() != CODE:
                yield f"{folder.name} was cloned by half"
        link = root / ".venv-prod"
        if started and not link.exists():
            yield "prod leads nowhere"

    def _seen_after(self, tree):
        self._recovered(tree.image())
        return self._seen()

    def _seen(self):
        root = self.stage.root
        link = root / ".venv-prod"
        files = {name: digest(root / name) for name in checker.TRUTH}
        files["state/receipt.json"] = digest(root / "state/receipt.json")
        if files["pyproject.toml"] is None:
            files["state/plugins.json"] = None  # written first, and empty: nothing is said by it
        records = checker.statuses(root)
        nodes = sorted(path.name for path in (self.stage.comfyui / "custom_nodes").iterdir())
        prod = os.readlink(link) if link.is_symlink() else None
        over = {txid: status for txid, status in records.items() if status == "promoted"}
        changes = [row["id"] for row in history.rows(workspace.Workspace(root))]
        decided = {**files, "history": changes, "prod": prod, "nodes": nodes, "promoted": over}
        return {"decided": decided, "records": records}

    def _recovered(self, image):
        self._write(image)
        recovery.recover(workspace.Workspace(self.stage.root))

    def _write(self, image):
        for folder in (self.stage.root, self.stage.comfyui):
            shutil.rmtree(folder, ignore_errors=True)
        for path in sorted(image):
            place, value = f"{self.live}{path}", image[path]
            if value is None:
                os.makedirs(place, exist_ok=True)
            elif isinstance(value, str):
                os.symlink(value, place)
            else:
                with open(place, "wb") as stream:
                    stream.write(value)
        for folder in workspace.Workspace(self.stage.root).folders():
            folder.mkdir(parents=True, exist_ok=True)

    def _read(self):
        """The tree as it is; environments and clones stand for one file each."""
        tree = disk.Tree()
        for place, folders, files in os.walk(self.live):
            parts = os.path.relpath(place, self.live).split(os.sep)
            parts = () if parts == ["."] else tuple(parts)
            inside = stands_for(parts)
            if inside:
                tree.put((*parts, inside), inside.encode())
                folders[:] = []
                continue
            if parts and tree.find(parts) is None:
                tree.put(parts, {})
            links = [name for name in folders if os.path.islink(os.path.join(place, name))]
            for name in (*files, *links):
                path, whole = os.path.join(place, name), (*parts, name)
                if is_watched(whole):
                    value = os.readlink(path) if os.path.islink(path) else open_bytes(path)
                    tree.put(whole, value)
            folders[:] = [n for n in folders if n not in links and is_watched((*parts, n))]
        return tree


def stands_for(parts):
    if len(parts) == 3 and parts[:2] == ("comfy_env", ".generations"):
        return None if parts[2].endswith(".d") else ENVIRONMENT
    return CODE if len(parts) == 3 and parts[:2] == ("ComfyUI", "custom_nodes") else None


def made_by_children(parts):
    """uv builds beside the papers; git clones into the nursery."""
    if parts[:2] == ("comfy_env", ".generations") and len(parts) == 3 and parts[2].endswith(".d"):
        yield (*parts[:2], parts[2][:-2], ENVIRONMENT), ENVIRONMENT.encode(), False
    if parts[:3] == ("comfy_env", "state", "work") and parts[-1].startswith("add-"):
        yield (*parts, CODE), CODE.encode(), True


def is_watched(parts):
    """Caches, logs and rests that decide nothing are no part of the story."""
    if parts[0] == "ComfyUI":
        return len(parts) < 2 or parts[1] in ("custom_nodes", "main.py", "requirements.txt", ".gov")
    name = parts[-1]
    if name.startswith((".doit.db", ".lock", "transactions_index")) or len(parts) < 2:
        return len(parts) < 2
    if parts[1:3] == ("state", "work") and len(parts) > 3:
        return parts[3].startswith(("add-", "purge-"))
    if parts[1] == ".generations" and len(parts) > 2 and not parts[2].endswith(".d"):
        return len(parts) == 3 or parts[3] == ENVIRONMENT
    # What git writes below .code is synced by git itself (core.fsync), which no trace shows.
    return parts[1:3] != ("state", "logs") and parts[1] not in (".venv-candidate", ".code")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def open_bytes(path):
    with open(path, "rb") as stream:
        return stream.read()


@pytest.fixture
def unsynced(monkeypatch):
    """Recovery runs on images in memory here: its own syncs have nothing to wait for."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(store, "sync_filesystem", lambda path: None)


@pytest.mark.timeout(3600 if figures.LONG else 300)
@pytest.mark.parametrize("name", NAMES)
def test_any_power_loss_leaves_all_old_or_all_new(trials, unsynced, note, name):
    plug = Plug(trials, name)
    images, distinct, bad = plug.run(plug.story)
    note("power loss", images=images, distinct=distinct, bad=len(bad))
    assert not bad, figures.told(bad)
    assert images > 20


# Rests that recovery sweeps up anyway, what loads as before without it, a folder with no news.
SPARE = {
    "rollback": {"comfy_env/state/work"},
    "node add": {"comfy_env/state/work", "comfy_env"},
    "tx promote that builds": {
        "comfy_env/state/work",
        "comfy_env/.generations/GEN.d/.tmp-baseline.json",
        "comfy_env/.generations/GEN.d/.tmp-observed.json",
    },
}


@pytest.mark.timeout(3600 if figures.LONG else 300)
@pytest.mark.parametrize("name", SPARE)
def test_a_sync_left_out_turns_it_red(trials, unsynced, note, name):
    plug = Plug(trials, name)
    needed = [place for place in plug.story.places() if place not in SPARE[name]]
    quiet = [place for place in needed if not plug.turns_red(place)]
    note("syncs left out", syncs=len(needed), red=len(needed) - len(quiet))
    assert quiet == []
    assert len(needed) >= 5
