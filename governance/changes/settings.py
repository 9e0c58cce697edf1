"""What `gov init` was told, made into the settings of the project."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from governance import git
from governance.base import clock
from governance.base.errors import UsageError
from governance.boundaries import process, store
from governance.changes.gates import Approval
from governance.changes.session import Session
from governance.truth.resolution import Index, Project, Settings, this_minor
from governance.truth.workspace import Workspace

_TORCH_INDEX = "https://download.pytorch.org/whl/{}"
# The folders of that index: PyTorch builds for processors, CUDA, ROCm and Intel's GPUs.
_TORCH_BACKEND = re.compile(r"(nightly/|test/)?(cpu|xpu|cu[0-9]{2,3}|rocm[0-9]+(\.[0-9]+)*)")


@dataclass(frozen=True)
class Options:
    """As typed; None where nothing was said.

    `date` is `auto`, `none` or an ISO 8601 day; `torch_backend` a name such as cpu or cu130, or
    the URL of an index.
    """

    python: str | None = None
    date: str | None = None
    torch_backend: str | None = None
    index: str | None = None
    approval: Approval = field(default_factory=Approval)


def check(options: Options) -> None:
    """Raises UsageError for what can be seen to be wrong before anything is made."""
    if options.date not in (None, "auto", "none"):
        _parsed_date(str(options.date))
    if options.index is not None:
        _index(options.index)
    if options.torch_backend is not None:
        _torch_index(options.torch_backend)


def settings_of(
    session: Session,
    options: Options,
    project: Project | None = None,
    *,
    committed: datetime | None = None,
) -> Settings:
    """`committed`: when the commit of ComfyUI was made that these settings are for; by default
    the one that is checked out."""
    spec = options.python or (project.python if project else this_minor())
    version = version_of(session, spec)
    indexes, sources = _indexes(options, project)
    named = options.date or (project.named_date if project else "auto")
    return Settings(
        python=spec,
        version=version,
        date=_date(session.workspace, named, committed),
        named_date=named,
        indexes=indexes,
        sources=sources,
        no_build=not session.workspace.config.flag("policy.allow_source_builds"),
    )


def version_of(session: Session, spec: str) -> str:
    """The full version of the interpreter that `spec` stands for.  Raises UsageError."""
    python = session.uv.find_python(spec)
    done = process.run([str(python), "-I", "-c", _VERSION])
    if not done.ok:
        raise UsageError(
            f"{python} does not run: {done.stderr.strip()[-200:]}",
            hint="name another interpreter with --python",
            code="bad_python",
        )
    return done.stdout.strip()


_VERSION = "import platform; print(platform.python_version())"


def _date(space: Workspace, named: str, committed: datetime | None) -> str | None:
    """Up to when packages count: the day after an old ComfyUI commit, else no bound."""
    if named == "none":
        return None
    if named != "auto":
        return _parsed_date(named)
    folder = space.comfyui_dir
    if committed is None and git.is_repository(folder):
        committed = git.commit_date(folder)
    recent = timedelta(days=space.config.number("resolution.recent_days"))
    if committed is None or clock.now() - committed < recent:
        return None
    return clock.stamp(committed + timedelta(days=1))


def _parsed_date(text: str) -> str:
    try:
        moment = clock.parse(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a date",
            hint="write 2026-01-31, or auto, or none",
            code="bad_date",
        ) from None
    return clock.stamp(moment)


def _indexes(options: Options, project: Project | None) -> tuple[list[Index], dict[str, str]]:
    """Package indexes and which packages come from which; the torch family has its own."""
    indexes, sources = [], {}
    kept = project.indexes if project else []
    default = options.index or os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    if default and (options.index or not kept):
        indexes.append(_index(default))
    else:
        indexes += [_index(str(i["url"])) for i in kept if i.get("default")]
    torch = options.torch_backend
    if torch is None:
        torch = next((str(i["url"]) for i in kept if i.get("name") == "torch"), None)
    if torch is not None:
        indexes.insert(0, _torch_index(torch))
        sources = dict.fromkeys(("torch", "torchvision", "torchaudio"), "torch")
    return indexes, sources


def _torch_index(text: str) -> Index:
    """By the name of a backend, else as any index is named."""
    if _TORCH_BACKEND.fullmatch(text):
        found = Index(_TORCH_INDEX.format(text))
    elif "/" in text:
        found = _index(text)
    else:
        raise UsageError(
            f"{text!r} is no backend of torch",
            hint="write cpu, xpu, cu130, rocm6.4 or the like, or the URL of an index",
            code="bad_torch_backend",
        )
    return replace(found, name="torch", default=False, explicit=True)


def _index(url: str) -> Index:
    """A simple index, or a flat folder of packages by path or file://."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise UsageError(
            f"the index at {parts.hostname} was named with credentials",
            hint="they would be stored: give them as UV_INDEX_GOV_USERNAME and "
            "UV_INDEX_GOV_PASSWORD instead",
            code="credentials_in_url",
        )
    if parts.scheme in ("http", "https"):
        return Index(url)
    folder = store.typed_path(parts.path if parts.scheme == "file" else url).resolve()
    if not folder.is_dir():
        raise UsageError(
            f"{url} is neither an index nor a folder of packages",
            hint="name the URL of a simple index, or a folder of wheels",
            code="bad_index",
        )
    return Index(str(folder), flat=True)
