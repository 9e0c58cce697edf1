"""Tiny wheels and source packages, the same bytes on every build."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first date a zip file can hold

# A build backend inside the source package, so that building needs no index: it hands out the
# wheel that lies beside it.
_BACKEND = """\
import pathlib
import shutil

HERE = pathlib.Path(__file__).parent


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    wheel = next(HERE.glob("*.whl"))
    shutil.copy(wheel, wheel_directory)
    return wheel.name
"""
_SDIST_PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@dataclass(frozen=True)
class Wheel:
    """`modules` maps a path in the wheel to its text; without any, one module named as the package.

    `extras` maps an extra to its requirements, `scripts` a command to `module:function`.  `yanked`
    is the reason, `uploaded` an RFC 3339 time.  With `sdist` it exists as source only.  The RECORD
    tells another size and hash of the files in `misrecorded` (as that of decord 0.6.0 does).
    """

    name: str
    version: str
    requires: tuple[str, ...] = ()
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    requires_python: str | None = None
    tag: str = "py3-none-any"
    yanked: str = ""
    scripts: Mapping[str, str] = field(default_factory=dict)
    uploaded: str = "2020-01-01T00:00:00Z"
    sdist: bool = False
    misrecorded: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        return f"{re.sub(r'[-_.]+', '_', self.name).lower()}-{self.version}"

    @property
    def filename(self) -> str:
        return f"{self.stem}.tar.gz" if self.sdist else f"{self.stem}-{self.tag}.whl"


def build(wheel: Wheel, folder: Path) -> Path:
    """Write the file, and beside it what only its index knows (`about_path`)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / wheel.filename
    path.write_bytes(_sdist_bytes(wheel) if wheel.sdist else _wheel_bytes(wheel))
    about = {
        "uploaded": wheel.uploaded,
        "yanked": wheel.yanked,
        "requires_python": wheel.requires_python,
    }
    about_path(path).write_text(json.dumps(about))
    return path


def build_all(wheels: Iterable[Wheel], folder: Path) -> list[Path]:
    return [build(wheel, folder) for wheel in wheels]


def about_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")


def _wheel_bytes(wheel: Wheel) -> bytes:
    files = _modules(wheel) | _dist_info(wheel)
    record = f"{wheel.stem}.dist-info/RECORD"
    told = files | {name: f"{files[name]}# as it was before\n" for name in wheel.misrecorded}
    lines = [_record_line(name, text.encode()) for name, text in sorted(told.items())]
    files[record] = "".join(lines) + f"{record},,\n"
    buffer = io.BytesIO()
    # Stored, not deflated: compressed bytes differ between versions of zlib.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, text)
    return buffer.getvalue()


def _modules(wheel: Wheel) -> dict[str, str]:
    if wheel.modules:
        return dict(wheel.modules)
    module = re.sub(r"[-_.]+", "_", wheel.name).lower()
    return {f"{module}.py": f'__version__ = "{wheel.version}"\n'}


def _dist_info(wheel: Wheel) -> dict[str, str]:
    folder = f"{wheel.stem}.dist-info"
    files = {
        f"{folder}/METADATA": _metadata(wheel, "2.1"),
        f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: sample\nRoot-Is-Purelib: true\n"
        f"Tag: {wheel.tag}\n",
    }
    if wheel.scripts:
        commands = "".join(f"{name} = {target}\n" for name, target in wheel.scripts.items())
        files[f"{folder}/entry_points.txt"] = f"[console_scripts]\n{commands}"
    return files


def _metadata(wheel: Wheel, version: str) -> str:
    lines = [f"Metadata-Version: {version}", f"Name: {wheel.name}", f"Version: {wheel.version}"]
    if wheel.requires_python:
        lines.append(f"Requires-Python: {wheel.requires_python}")
    lines += [f"Requires-Dist: {requirement}" for requirement in wheel.requires]
    for extra, requirements in wheel.extras.items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {_under_extra(text, extra)}" for text in requirements]
    return "\n".join([*lines, ""])


def _under_extra(requirement: str, extra: str) -> str:
    text, _, marker = requirement.partition(";")
    condition = f"({marker.strip()}) and " if marker else ""
    return f'{text.strip()} ; {condition}extra == "{extra}"'


def _record_line(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def _sdist_bytes(wheel: Wheel) -> bytes:
    # Metadata before 2.2 makes no promise that it is static, so locking has to run the backend.
    files = {
        "PKG-INFO": _metadata(wheel, "2.1").encode(),
        "pyproject.toml": _SDIST_PYPROJECT.encode(),
        "backend.py": _BACKEND.encode(),
        f"{wheel.stem}-{wheel.tag}.whl": _wheel_bytes(wheel),
    }
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"{wheel.stem}/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return _gzipped(plain.getvalue())


def _gzipped(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, compresslevel=0, mtime=0)
