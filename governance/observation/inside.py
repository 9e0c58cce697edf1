"""What is looked at inside the layer before anything of a node runs, in one program.

Run by path (`python -I -S inside.py ASKED`) in the layer, where alone the candidate's own files can
be seen.  ASKED is JSON: `site_packages`, `places` (name -> path of a node) and `subjects` among
them.  Prints JSON: `packages` (see looker.py), `sources` (see source.py), and `failed`, which says
by the name of a step why it could not be done.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLANT, SOURCES = "plant", "sources"


def look(asked: dict[str, Any]) -> dict[str, Any]:
    site_packages, places = asked["site_packages"], asked["places"]
    told: dict[str, Any] = {"failed": {}}
    told["packages"] = _beside("looker").look(Path(site_packages))
    _try(told, PLANT, lambda: _beside("recorder").plant(site_packages))
    _try(told, SOURCES, lambda: _beside("source").tell_all(places, asked["subjects"]))
    return told


def _try(told: dict[str, Any], step: str, action: Callable[[], Any]) -> None:
    """One step that fails takes nothing from the others."""
    try:
        told[step] = action()
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        told["failed"][step] = f"{type(error).__name__}: {error}"


def _beside(name: str) -> Any:
    """Run by path there is no package around this file."""
    return importlib.import_module(name if not __package__ else f"{__package__}.{name}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    json.dump(look(json.loads(sys.argv[1])), sys.stdout)
