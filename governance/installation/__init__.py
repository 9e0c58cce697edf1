"""`gov init`: a workspace made, or what is missing in it repaired.

ComfyUI's own requirements become group `core`; when they have changed since, they are taken in as
a gated change like any other.
"""

from governance.changes.settings import Options, check
from governance.installation.folder import prepare
from governance.installation.truth import Initialised, initialise, to_json

__all__ = ["Initialised", "Options", "check", "initialise", "prepare", "to_json"]
