"""Requirement files as they really are: what a node, and ComfyUI itself, declares.

What can be taken becomes a `Line`, PEP 508 text that uv accepts in a dependency group; what cannot
is `Skipped` with file, line and reason, and policy decides.  Nothing here raises for what a file
contains.
"""

from governance.requirements.declaration import (
    TORCH_FAMILY,
    Declared,
    Line,
    Origin,
    Policy,
    Skipped,
    merge_duplicates,
)
from governance.requirements.entry import judge_all
from governance.requirements.grammar import leading_name
from governance.requirements.node import PYPROJECT, REQUIREMENTS, read_file, read_node
from governance.requirements.pin import group_name, override_text, parse_pin


def requirement_name(text: str) -> str:
    """The normalised package name that a requirement or pin begins with."""
    return leading_name(text)


__all__ = [
    "PYPROJECT",
    "REQUIREMENTS",
    "TORCH_FAMILY",
    "Declared",
    "Line",
    "Origin",
    "Policy",
    "Skipped",
    "group_name",
    "judge_all",
    "merge_duplicates",
    "override_text",
    "parse_pin",
    "read_file",
    "read_node",
    "requirement_name",
]
