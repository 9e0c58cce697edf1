"""One step of building a package: `python -I build_hook.py REQUEST.json` (PEP 517).

Runs inside the fence with the Python of the build's own environment.  REQUEST holds `step`,
`source`, `out`, and for all steps but "unpack" `backend` and `paths` (its backend-path).  Steps:
"unpack" (`archive`, a file or folder, into `source`), "requires", "metadata" and "wheel".  What
came of it is written to `<out>/<step>.json`.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from typing import Any


def main(path: str) -> None:
    with open(path, encoding="utf-8") as stream:
        request = json.load(stream)
    result = _STEPS[request["step"]](request)
    with open(os.path.join(request["out"], f"{request['step']}.json"), "w") as stream:  # noqa: PTH118
        json.dump(result, stream)


def _unpack(request: dict[str, Any]) -> None:
    """Whatever an archive writes elsewhere, the fence stops."""
    archive, source = request["archive"], request["source"]
    if os.path.isdir(archive):  # noqa: PTH112
        shutil.copytree(archive, source, symlinks=True)
        return
    kind = "zip" if archive.endswith(".zip") else None
    shutil.unpack_archive(archive, source, kind)
    inner = os.listdir(source)  # noqa: PTH208
    if len(inner) == 1:
        os.rename(source, source + ".outer")  # noqa: PTH104
        os.rename(os.path.join(source + ".outer", inner[0]), source)  # noqa: PTH104, PTH118


def _requires(request: dict[str, Any]) -> list[str]:
    hook = getattr(_backend(request), "get_requires_for_build_wheel", None)
    return [str(line) for line in hook(None)] if hook is not None else []


def _metadata(request: dict[str, Any]) -> str:
    """The folder in `out`; "" where the back end has no such hook, and the wheel has to tell."""
    hook = getattr(_backend(request), "prepare_metadata_for_build_wheel", None)
    return str(hook(request["out"], None)) if hook is not None else ""


def _wheel(request: dict[str, Any]) -> str:
    return str(_backend(request).build_wheel(request["out"], None, None))


def _backend(request: dict[str, Any]) -> Any:
    os.chdir(request["source"])
    sys.path[:0] = [os.path.join(request["source"], path) for path in request["paths"]]  # noqa: PTH118
    module, _, inner = request["backend"].partition(":")
    found: Any = importlib.import_module(module)
    for name in filter(None, inner.split(".")):
        found = getattr(found, name)
    return found


_STEPS = {"unpack": _unpack, "requires": _requires, "metadata": _metadata, "wheel": _wheel}

if __name__ == "__main__":
    main(sys.argv[1])
