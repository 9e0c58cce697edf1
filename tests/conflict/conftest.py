"""A small index of tiny wheels, real uv over it, and an explanation in one call."""

import io
import os
import sys
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from packaging.tags import sys_tags

from governance.boundaries.uv import Uv
from governance.conflict.explain import explain
from governance.conflict.problem import NODE, Owned, Problem
from governance.conflict.solver import Question, UvSolver
from governance.environments.builds import Builds
from governance.requirements.grammar import leading_name
from governance.sample.index import serve
from governance.sample.wheels import Wheel, build_all
from governance.truth import resolution
from governance.truth.workspace import Workspace

COMPILED = str(next(tag for tag in sys_tags() if tag.abi != "none"))
WHEELS = (
    *(Wheel("num", version) for version in ("1.0", "1.5", "2.0", "2.2")),
    Wheel("grad", "1.0", requires=("num<2",)),
    Wheel("outer", "1.0", requires=("grad",)),
    *(Wheel("acc", version) for version in ("0.3", "0.4")),
    Wheel("peft", "1.0", requires=("acc>=0.4",)),
    *(Wheel("av", version) for version in ("12", "14")),
    Wheel("tim", "1.0"),
    *(Wheel("trans", v, requires=("num",), extras={"tim": ("tim",)}) for v in ("4", "5")),
    Wheel("asker", "1.0", requires=("trans[tim]",)),
    Wheel("ring", "1.0", requires=("ring-back", "tim ; sys_platform == 'win32'")),
    Wheel("ring-back", "1.0", requires=("ring", "acc ; python_full_version < '3'")),
    Wheel("all-of", "1.0", extras={"all": ("all-of[some]",), "some": ("ring",)}),
    *(Wheel(side, version) for side in ("left", "right") for version in ("1", "2")),
    Wheel("bridge", "1.0", requires=("left<2",)),
    Wheel("bridge", "1.1", requires=("right<2",)),
    Wheel("heavy", "1.0", requires=("acc>=0.4", "num<2")),
    Wheel("mid", "1.0", requires=("num>1.5,<2.2",)),
    Wheel("torn", "1.0", requires=("mid", "num>=1.5,<2")),
    Wheel("lib", "1.0", requires=("num<2",)),
    Wheel("lib", "2.0", requires=("num",)),
    Wheel("hub", "1.0", requires=("aloof", "grad")),
    Wheel("aloof", "1.0", requires=("num",)),
    Wheel("clip", "1.0", requires=("num<2",)),
    Wheel("grip", "1.0", requires=("tele>=2", "sender")),
    *(Wheel("tele", version) for version in ("1", "2")),
    Wheel("sender", "1.0", requires=("tele==1", "num")),
    Wheel("sender", "2.0", requires=("tele==2", "num>=2")),
    Wheel("winonly", "1.0", tag="py3-none-win_amd64"),
    Wheel("needs-ghost", "1.0", requires=("ghost",)),
    Wheel("young", "1.0", uploaded="2020-01-01T00:00:00Z"),
    Wheel("young", "2.0", uploaded="2025-06-01T00:00:00Z"),
    Wheel("withdrawn", "1.0"),
    Wheel("withdrawn", "1.1", yanked="it breaks everything"),
    Wheel("modern", "1.0", requires_python=">=3.99"),
    *(Wheel("novel", version, requires_python=">=3.99") for version in ("1", "2")),
    Wheel("on-novel", "1", requires=("novel",)),
    Wheel("on-novel", "2", requires=("novel>=2",)),
    Wheel("both", "1", requires=("novel",)),
    Wheel("both", "2", requires=("on-novel",)),
    *(Wheel("gap", version) for version in ("1", "3")),
    Wheel("gap", "2", requires_python=">=3.98"),
    Wheel("picky", "1.0", requires=("num!=1.5,<2.2",)),
    Wheel("source-only", "1.0", sdist=True),
    Wheel("opt", "1.0", extras={"fast": ("num<2",)}),
    *(Wheel("numpy", version) for version in ("1.26", "2.1")),
    *(Wheel("compiled", v, requires=("numpy",), tag=COMPILED) for v in ("1.0", "1.1")),
    Wheel("compiled", "2.0", requires=("numpy",), tag=COMPILED, uploaded="2024-06-01T00:00:00Z"),
)

BACKEND = "def build_wheel(*a, **k):\n    raise SystemExit('no compiler')\n"
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'


def broken_source(folder):
    """A source package whose build fails, as many an old one does."""
    with tarfile.open(folder / "broken-1.0.tar.gz", "w:gz") as archive:
        for name, text in (("b.py", BACKEND), ("pyproject.toml", PYPROJECT)):
            entry = tarfile.TarInfo(f"broken-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))


@pytest.fixture(scope="session")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    build_all(WHEELS, folder)
    broken_source(folder)
    with serve(folder) as running:
        yield running


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def owned(owner, *texts, file="requirements.txt"):
    return [
        Owned(text, owner, file, number, leading_name(text)) for number, text in enumerate(texts, 1)
    ]


@dataclass
class World:
    """Lines of ComfyUI and of nodes; the lock of the standing ones is made on demand."""

    index: object
    cache: Path
    folder: Path
    settings: dict = field(default_factory=dict)
    overrides: tuple = ()
    environ: dict = field(default_factory=dict)
    core: list = field(default_factory=list)
    nodes: dict = field(default_factory=dict)

    def solver(self, lock=None, **more):
        version = ".".join(map(str, sys.version_info[:3]))
        indexes = [resolution.Index(self.index.url)]
        settings = resolution.Settings(sys.executable, version, indexes=indexes, **self.settings)
        base = resolution.new_project(settings, [])
        given = {"base": base, "python": sys.executable, "folder": self.folder, "lock": lock}
        space = Workspace(self.folder.parent / "space")
        space.candidates.mkdir(parents=True, exist_ok=True)
        uv = Uv(self.cache, os.environ | self.environ, builds=Builds(space))
        return UvSolver(uv, **given, **more)

    def lines(self, without=()):
        lines = owned("core", *self.core)
        for node, texts in self.nodes.items():
            if node not in without:
                lines += owned(NODE + node, *texts)
        return tuple(lines)

    def lock(self, lines, overrides=(), exempt=(), scoped=()):
        asked = Question(tuple(enumerate(lines)), tuple(overrides), exempt, scoped=scoped)
        return self.solver().solve(asked, 60)

    def explain(self, *new, core_packages=frozenset(), solver=None, **more):
        more = {"deadline": 60, "progress": lambda doing: None} | more
        standing = self.lock(self.lines(without=new), self.overrides) if new else None
        assert standing is None or standing.ok, standing.log
        problem = Problem(self.lines(), self.overrides, frozenset(NODE + node for node in new))
        return explain(
            problem,
            solver or self.solver(standing.text.encode() if standing else None),
            versions_now=standing.versions if standing else {},
            core_packages=core_packages,
            **more,
        )

    def again(self, fix):
        """Lock once more with the fix applied by hand, as the verbs will."""
        texts = {one.line: one.to for one in fix.replaced}
        kept = [line for line in self.lines() if line not in fix.dropped]
        kept = [replace(line, text=texts.get(line, line.text)) for line in kept]
        return self.lock(kept, fix.overrides or self.overrides, fix.exempt, fix.scoped)


@pytest.fixture
def world(index, cache, tmp_path):
    return World(index, cache, tmp_path / "probes")
