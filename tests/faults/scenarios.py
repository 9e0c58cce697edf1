"""The commands that are broken in every way, each with the scene that it starts from."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.gov import Ended

from governance.sample import world

from . import calls
from .stage import Stage


@dataclass(frozen=True)
class Scenario:
    """`argv` may depend on the ids of the stage; `weight` is its share of a sample."""

    name: str
    scene: str
    argv: Callable[[Stage], tuple[str, ...]]
    weight: int = 2

    def command(self, stage: Stage) -> list[str]:
        return stage.command(self.argv(stage))


def _words(text: str) -> Callable[[Stage], tuple[str, ...]]:
    """`{before}` stands for an id of the stage, `{repos}` for its repositories."""
    return lambda stage: tuple(
        word.format(repos=stage.repos, **stage.names) for word in text.split()
    )


SCENARIOS = (
    Scenario("init", "empty", Stage.init_argv, 1),
    Scenario("node add", "settled", _words("node add {repos}/fresh")),
    Scenario("node remove", "settled", _words("node remove steady --purge-code")),
    Scenario("tx run", "settled", _words("tx run idle"), 1),
    Scenario("tx abort", "settled", _words("tx abort {ready}")),
    Scenario("resolve", "settled", _words("resolve {clash} --pin humanize==4.9.0")),
    Scenario("tx promote", "settled", _words("tx promote {ready}"), 3),
    Scenario("tx promote that builds", "resolved", _words("tx promote {clash}"), 1),
    Scenario("rollback", "settled", _words("rollback {before}"), 3),
    Scenario("rollback that builds", "without before", _words("rollback {before}"), 1),
    Scenario("retention", "tight", _words("rollback {after}")),
    Scenario("clean", "littered", _words("clean")),
    Scenario("recovery", "cut off", _words("node add {repos}/fresh"), 3),
    Scenario("repair", "harmed", _words("repair"), 1),
    Scenario("tx promote that moves code", "updated", _words("tx promote {moving}"), 3),
    Scenario("rollback that moves code", "moved", _words("rollback {unmoved}"), 3),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def prepare(stage: Stage, scene: str) -> None:
    """Make the scene, once; it is kept by its name."""
    if stage.has(scene):
        return
    if scene != "settled":
        prepare(stage, "settled")
        stage.rewind("settled")
        _MAKERS[scene](stage)
        stage.keep(scene)
    else:
        stage.settle()


def _resolved(stage: Stage) -> None:
    stage.gov("resolve", stage.names["clash"], "--pin", "humanize==4.9.0").ok()


def _without_before(stage: Stage) -> None:
    meta = stage.root / "snapshots" / stage.names["before"] / "meta.json"
    name = json.loads(meta.read_text())["generation"]
    for path in (stage.root / ".generations").glob(f"{name}*"):
        shutil.rmtree(path)


def _tight(stage: Stage) -> None:
    stage.set(storage__snapshots_keep=2)


def _littered(stage: Stage) -> None:
    """Rests of every kind that `gov clean` takes away."""
    stage.gov("tx", "abort", stage.names["ready"]).ok()
    stage.set(storage__generations_keep=1, storage__logs_keep=1)
    for name in ("state/work/add-01234567", ".venv-candidate/20260101T000000Z-01234567"):
        folder = stage.root / name
        (folder / "deep").mkdir(parents=True)
        (folder / "deep/file").write_text("rest")
    orphan = stage.root / "snapshots/20260101T000000Z-snap-012345"
    shutil.copytree(stage.root / "snapshots" / stage.names["before"], orphan)


def _cut_off(stage: Stage) -> None:
    """A promote killed behind its commit point, an unfinished build, a run whose process is gone.

    The rests of the build are a copy of a real one without its manifest.
    """
    command = stage.command(("tx", "promote", stage.names["ready"]))
    trace = stage.folder / "trace"
    found, _ = calls.record(command, trace, within=stage.folder / "live", env=stage.environ(),
                            cwd=stage.folder)  # fmt: skip
    stage.rewind("settled")
    point = next(c for c in found if c.name == "symlink" and ".venv-prod" in c.text)
    done = calls.kill(command, trace, point, env=stage.environ(), cwd=stage.folder)
    assert done.killed and (stage.root / "state/intent.json").is_file(), done
    prod = (stage.root / ".generations").glob("*.d")
    papers = sorted(prod)[0]
    target = stage.root / ".generations/0123456789ab-cdef"
    shutil.copytree(papers.with_suffix(""), target, symlinks=True)
    shutil.copytree(papers, target.with_suffix(".d"))
    (target.with_suffix(".d") / "manifest.json").unlink()
    (stage.root / "snapshots/.tmp-20260101T000000Z-snap-012345").mkdir()
    _interrupted_run(stage)


def _interrupted_run(stage: Stage) -> None:
    folder = stage.root / "state/transactions"
    record = json.loads((folder / f"{stage.names['clash']}.json").read_text())
    record |= {"status": "running", "txid": "20260101T000000Z-01234567", "conflict_report": None}
    record["process"] = {"pid": 2**22 - 1, "start_time": 1}
    (folder / f"{record['txid']}.json").write_text(json.dumps(record, indent=2))


def _harmed(stage: Stage) -> None:
    """A file of prod edited in place; its inode is prod's alone, so that no other scene sees it."""
    prod = Path(os.path.realpath(stage.root / ".venv-prod"))
    file = next(prod.glob("lib/python3.*/site-packages/numpy/__init__.py"))
    text = file.read_text()
    file.unlink()
    file.write_text(text + "edited = True\n")


def _updated(stage: Stage) -> None:
    """The promoted node has a newer commit that was observed: files changed, new, gone and moved
    into folders, a link, a requirement."""
    repository = stage.repos / "steady"
    if not (repository / "deep").exists():
        world.write_node(
            stage.repos,
            "steady",
            {
                "__init__.py": "NEWER = True\n",
                "requirements.txt": "cowsay\nhumanize>=4.9\ncolorama\n",
                "deep/er/module.py": "DEEP = True\n",
                "another.py": "",
            },
        )
        (repository / "link").symlink_to("deep/er")
        (repository / "old.py").unlink()
        world.commit(repository, "a link, and a file less")
    stage.names["moving"] = _txid(stage.gov.json("node", "update", "steady"))


def _moved(stage: Stage) -> None:
    """The newer commit is prod's, and so is a newer ComfyUI."""
    _updated(stage)
    done = stage.gov.json("tx", "promote", stage.names["moving"]).ok()
    stage.names["unmoved"] = str(done.data["pre_snapshot"])
    origin = stage.folder / "origin"
    if not origin.exists():
        world.git(stage.folder, "clone", "-q", str(stage.comfyui), str(origin))
        (origin / "main.py").write_text("print('loaded, and newer')\n")
        (origin / "comfy").mkdir()
        (origin / "comfy/cli_args.py").write_text("")
        world.commit(origin, "newer")
    world.git(stage.comfyui, "remote", "add", "origin", str(origin))
    txid = _txid(stage.gov.json("comfyui", "update"))
    stage.gov("tx", "promote", txid).ok()


def _txid(ended: Ended) -> str:
    return str(ended.ok().data["txid"])


_MAKERS: dict[str, Callable[[Stage], None]] = {
    "resolved": _resolved,
    "without before": _without_before,
    "tight": _tight,
    "littered": _littered,
    "cut off": _cut_off,
    "harmed": _harmed,
    "updated": _updated,
    "moved": _moved,
}
