"""The texts below the fields of a class in its source, for documents that are made of the code."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise


def notes(kind: type) -> dict[str, str]:
    """Return field → its text in one line, for a class and its bases; empty without the source."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        found |= _notes_in(each.__module__).get(each.__qualname__, {})
    return found


@cache
def _notes_in(module: str) -> dict[str, dict[str, str]]:
    """Return class → field → text, of the classes at the top of a module."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):  # installed without its source, or not written in Python
        return {}
    return {made.name: _below(made.body) for made in tree.body if isinstance(made, ast.ClassDef)}


def _below(body: list[ast.stmt]) -> dict[str, str]:
    return {
        field.target.id: " ".join(note.value.value.split())
        for field, note in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(note, ast.Expr)
        and isinstance(note.value, ast.Constant)
        and isinstance(note.value.value, str)
    }
