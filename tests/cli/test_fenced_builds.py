"""What a package's build does, it does inside the fence: the wheel comes out, and nothing else."""

import ast
import json

import pytest
from support import grabby
from support.refusal import assert_told

from governance import sandbox
from governance.sample import world as sample

INIT = "NODE_CLASS_MAPPINGS = {}\n"


class Trap:
    """A site with a package whose build reaches for prod, uv's cache, the truth and a home."""

    def __init__(self, site, folder):
        self.site = site
        self.folder = folder
        library = next((site.root / ".venv-prod/lib").glob("python*")) / "site-packages"
        secret = folder / "home/.ssh/authorized_keys"
        secret.parent.mkdir(parents=True)
        self.targets = [
            library.resolve() / "evil.pth",
            site.world.cache / "planted",
            site.root / "state/planted",
            site.root / ".wheels/planted",
            secret,
        ]

    def package(self, name, **more):
        grabby.write(self.site.world.wheels, self.targets, name=name, **more)

    def node(self, name, lines):
        files = {"__init__.py": INIT, "requirements.txt": lines}
        return sample.write_node(self.folder, name, files)

    def planted(self):
        left = [*self.site.world.cache.rglob("planted"), *self.site.root.rglob("evil.pth")]
        return [*left, *(path for path in self.targets if path.exists())]

    def seen(self, name):
        library = next((self.site.root / ".venv-prod/lib").glob("python*")) / "site-packages"
        return ast.literal_eval((library / f"{name}.py").read_text().partition("= ")[2])


@pytest.fixture
def trap(settled, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    return Trap(settled.site, tmp_path)


@pytest.mark.family(1)
@pytest.mark.parametrize("static", [True, False], ids=["sync", "lock and sync"])
def test_the_wheel_is_installed_and_nothing_is_left(trap, static):
    name = "grabsync" if static else "grablock"
    trap.package(name, static=static, requires=() if static else ("lark<1.2",))
    site = trap.site
    site.gov("node", "add", trap.node("newcomer", f"{name}\n")).ok()
    ended = site.gov.json("tx", "run", "newcomer").ok()
    assert trap.planted() == []
    site.gov("tx", "promote", ended.data["txid"]).ok()
    assert trap.seen(name) == {"secret": None, "wrote": []}
    assert site.installed().get("lark") == (None if static else "1.1.9")
    assert trap.planted() == []
    lock = (site.root / "uv.lock").read_text()
    assert "dependency-metadata" not in lock
    made = json.loads(next((site.root / ".generations").glob("*.d/manifest.json")).read_text())
    assert made["schema"] == 1
    prod = (site.root / ".venv-prod").resolve().name
    manifest = json.loads((site.root / f".generations/{prod}.d/manifest.json").read_text())
    assert [(row["package"], row["isolation"] != "none") for row in manifest["built"]] == [
        (name, True)
    ]
    site.gov("verify", "--full").ok()


def test_node_check_builds_nothing_unless_asked(trap):
    trap.package("grabcheck", requires=("humanize<4",))
    node = trap.node("checked", "grabcheck\n")
    ended = assert_told(trap.site.gov("node", "check", node), 1, "grabcheck==1.0 has to be built")
    assert "--build" in ended.problems("hint")[0]
    assert not (trap.site.root / ".wheels").exists()
    data = trap.site.gov.json("node", "check", node)
    assert (data.data["verdict"], data.error["code"]) == ("unjudged", "needs_build")
    assert data.data["needs_build"] == ["grabcheck==1.0"]
    told = trap.site.gov("node", "check", node, "--build")
    assert (told.code, "humanize" in told.out) == (4, True), told
    assert trap.planted() == []
    # What was learnt is known from now on.
    again = trap.site.gov("node", "check", node)
    assert (again.code, "humanize" in again.out) == (4, True), again


def test_an_environment_is_built_again_from_the_wheel_that_was_kept(workspace, tmp_path):
    trap = Trap(workspace, tmp_path)
    trap.package("grabkept")
    site = trap.site
    site.gov("node", "add", trap.node("newcomer", "grabkept\n")).ok()
    txid = site.gov.json("tx", "run", "newcomer").ok().data["txid"]
    site.gov("tx", "promote", txid).ok()
    (site.world.wheels / "grabkept-1.0.tar.gz").unlink()
    module = next((site.root / ".venv-prod/lib").glob("python*")) / "site-packages/grabkept.py"
    module.unlink()
    site.gov("repair").ok()
    assert trap.seen("grabkept") == {"secret": None, "wrote": []}
    assert "grabkept-1.0" not in site.gov("clean", "--dry-run").ok().out


def test_without_a_fence_it_is_said_and_recorded(trap, monkeypatch):
    none = sandbox.Support(False, "not today", False, "not today", 0, False, "not today", False)
    monkeypatch.setattr(sandbox, "probe", lambda folder: none)
    trap.targets = []
    trap.package("grabbare")
    told = trap.site.gov("node", "check", trap.node("bare", "grabbare\n"), "--build").ok()
    assert "grabbare is built without one" in told.err
    kept = next((trap.site.root / ".wheels/built").glob("*/grabbare-1.0/metadata.json"))
    assert json.loads(kept.read_text())["isolation"] == "none"
