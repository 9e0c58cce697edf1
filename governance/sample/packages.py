"""The tiny packages of the offline world, named as the real ones they stand in for."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from governance.sample.wheels import Wheel, build_all

# As much of YAML as an extra model paths file needs: sections, strings, one block of lines.
_YAML = """\
__version__ = "{version}"


def safe_load(stream):
    document, section, block = {{}}, None, None
    for line in stream.read().splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        if indent and block is not None and indent > block[1]:
            section[block[0]] += text + "\\n"
            continue
        block = None
        key, _, value = text.partition(":")
        value = value.strip().strip("\\"'")
        if not indent:
            section = document[key] = {{}}
        elif value == "|":
            section[key], block = "", (key, indent)
        else:
            section[key] = {{"true": True, "false": False}}.get(value, value)
    return document
"""
_NUMPY = """\
__version__ = "{version}"


def array(values):
    return list(values)
"""
_HUMANIZE = """\
__version__ = "{version}"


def naturalsize(value):
    return f"{{value}} Bytes"


def intcomma(value):
    return f"{{value:,}}"
"""
# What only newer versions of humanize have.
_METRIC = """

def metric(value, unit=""):
    return f"{value:.3g} {unit}".strip()
"""
_COWSAY = """\
__version__ = "{version}"


def get_output_string(character, text):
    return f"{{character}} says: {{text}}"
"""
_CV2 = """\
__version__ = "{version}"
BUILD = "{name}"
"""


def _numpy(version: str) -> Wheel:
    modules = {
        "numpy/__init__.py": _NUMPY.format(version=version),
        "numpy/linalg.py": "norm = max\n",
    }
    return Wheel("numpy", version, modules=modules)


def _humanize(version: str) -> Wheel:
    text = _HUMANIZE.format(version=version)
    modern = int(version.split(".")[0]) >= 4
    return Wheel(
        "humanize", version, modules={"humanize/__init__.py": text + (_METRIC if modern else "")}
    )


def _opencv(name: str, version: str) -> Wheel:
    """The family owns the same files, and each build says in them which one it is."""
    modules = {
        "cv2/__init__.py": _CV2.format(version=version, name=name),
        "cv2/data/__init__.py": "haarcascades = ''\n",
    }
    return Wheel(name, version, requires=("numpy",), modules=modules)


def _module(name: str, version: str, module: str, text: str) -> Wheel:
    return Wheel(name, version, modules={f"{module}/__init__.py": text.format(version=version)})


_VERSION = '__version__ = "{version}"\n'

PACKAGES: tuple[Wheel, ...] = (
    *(_numpy(version) for version in ("1.24.4", "1.26.4", "2.2.6", "2.3.2", "2.4.1")),
    *(_module("PyYAML", version, "yaml", _YAML) for version in ("6.0.1", "6.0.2")),
    *(_module("pillow", version, "PIL", _VERSION) for version in ("10.4.0", "11.3.0", "12.0.0")),
    *(_humanize(version) for version in ("3.14.0", "4.9.0", "4.12.0", "4.14.0")),
    *(_module("cowsay", version, "cowsay", _COWSAY) for version in ("5.0", "6.1")),
    *(Wheel("lark", version) for version in ("1.1.9", "1.2.2")),
    *(Wheel("tqdm", version, scripts={"tqdm": "tqdm:main"}) for version in ("4.66.0", "4.67.1")),
    *(Wheel("colorama", version) for version in ("0.4.5", "0.4.6")),
    _opencv("opencv-python", "4.11.0.86"),
    _opencv("opencv-python-headless", "4.11.0.86"),
    _opencv("opencv-contrib-python", "4.11.0.86"),
    Wheel("torch", "2.8.0"),
    Wheel("torch", "2.9.1"),
    Wheel("timm", "1.0.22", requires=("torch",)),
    *(
        Wheel("transformers", version, requires=("numpy", "tqdm>=4.60"), extras={"timm": ("timm",)})
        for version in ("4.26.1", "4.50.3", "4.57.1")
    ),
    Wheel("modern-only", "1.0", requires_python=">=3.99"),
    Wheel("withdrawn", "1.0"),
    Wheel("withdrawn", "1.1", yanked="it breaks everything"),
    Wheel("source-only", "1.0", sdist=True),
)


def write_packages(folder: Path) -> Path:
    """All of PACKAGES, and the pip that came with this Python where it brought one."""
    build_all(PACKAGES, folder)
    for wheel in bundled_pip():
        shutil.copy(wheel, folder)
    return folder


def bundled_pip() -> list[Path]:
    """At most one wheel; some distributions take it out of their Python."""
    bundle = Path(str(resources.files("ensurepip"))) / "_bundled"
    return sorted(bundle.glob("pip-*.whl"))[-1:]
