"""A module and all that it imports, as one script.

Over a link with a long round trip a page of many small modules waits for one after the other, six
at a time. So the pages load bundles, which are made of the modules on disk when the server starts:
there is nothing to build. Each module becomes a function that is called once, behind those that it
imports, and returns what it exports. Its names stay its own.

The forms of import and export that the modules of livelog use are understood, and no other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import dirname, join, normpath

_IMPORT = re.compile(r'^import (?:(\{[^}]*\}) from )?"([^"]+)";$', re.MULTILINE)
_PASSED_ON = re.compile(r'^export (?:\*|\{([^}]*)\}) from "([^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
_OTHER_FORM = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?:/\*.*?\*/|//[^\n]*)[ \t]*\n", re.MULTILINE | re.DOTALL)
"""One that has its lines to itself. Without these a bundle takes a quarter less on its way."""


def bundled(entry: str, modules: Mapping[str, str]) -> str:
    """Return the module `entry` and those it imports as one script; `modules` are texts by path.

    Raises `ValueError` for an import in a circle, or a form of import or export that is not
    understood, and `KeyError` for a module that is not there.
    """
    made = _Bundle(modules)
    made.add(entry)
    return "\n".join(made.parts)


class _Bundle:
    def __init__(self, modules: Mapping[str, str]) -> None:
        self.parts: list[str] = []
        self._modules = modules
        self._names: dict[str, str] = {}
        """Path of a module → the name of the object with its exports."""

    def add(self, path: str, above: tuple[str, ...] = ()) -> str:
        """Add a module, behind those it imports, unless it is there; return the name of its
        exports. `above` are the modules on the way to it."""
        if path in above:
            raise ValueError(f"modules import each other: {' > '.join((*above, path))}")
        if path not in self._names:
            text = self._rewritten(path, (*above, path))
            self._names[path] = name = f"$m{len(self._names)}"
            self.parts.append(f"/* {path} */\nconst {name} = (() => {{\n{text}\n}})();")
        return self._names[path]

    def _rewritten(self, path: str, above: tuple[str, ...]) -> str:
        exports: list[str] = []

        def found(name: str) -> str:
            return self.add(normpath(join(dirname(path), name)), above)

        def take(match: re.Match[str]) -> str:
            names, module = match.groups()
            exporting = found(module)
            return f"const {names.replace(' as ', ': ')} = {exporting};" if names else ""

        def pass_on(match: re.Match[str]) -> str:
            names, module = match.groups()
            exporting = found(module)
            if names is None:
                exports.append(f"...{exporting}")
            else:
                exports.extend(
                    _member(each, exporting) for each in names.split(",") if each.strip()
                )
            return ""

        def export(match: re.Match[str]) -> str:
            exports.append(match[2])
            return match[1]

        text = _COMMENT.sub("", self._modules[path])
        for form, rewrite in ((_IMPORT, take), (_PASSED_ON, pass_on), (_EXPORT, export)):
            text = form.sub(rewrite, text)
        if other := _OTHER_FORM.search(text):
            raise ValueError(f"{path}: not understood in a bundle: {other[0]}")
        return f"{text.strip()}\nreturn {{ {', '.join(exports)} }};"


def _member(names: str, exporting: str) -> str:
    """Return a member of the exports for `name` or `name as other`."""
    inner, _, outer = names.strip().partition(" as ")
    return f"{outer or inner}: {exporting}.{inner}"
