"""Bundles of modules: what they do, run by Node, and which modules are refused."""

from __future__ import annotations

import json
import subprocess

import pytest

from livelog.net.http.bundle import bundled
from tests.support.follower import NODE

MODULES = {
    "/a/main.js": """/* The entry. */
import { Box, size as sizeOf } from "./box.js";
import {
  LIMIT,
  renamed,
} from "../b/all.js";
import "./effect.js";
// A line of its own, with `import` in it.
const size = "a name that another module has, too"; // and one behind code
export const told = [sizeOf(new Box()), LIMIT, renamed(), size.length, order.join()];
console.log(JSON.stringify(told));
""",
    "/a/box.js": """/* A box: imported twice, run once. */
import { LIMIT } from "../b/all.js";
note("box");
/** A class. */
export class Box {
  /* inside */
  width = LIMIT + 1;
}
export function size({ width }) {
  return width;
}
""",
    "/a/effect.js": """/* Only runs. */
import { size } from "./box.js";
note(`effect ${typeof size}`);
""",
    "/b/all.js": """/* Passes on. */
export * from "./limit.js";
export { inner as renamed } from "./limit.js";
note("all");
""",
    "/b/limit.js": """/* The innermost. */
note("limit");
export const LIMIT = 7;
export async function unused() {}
const hidden = "hidden";
export function inner() {
  return hidden;
}
""",
}
SURROUNDINGS = "globalThis.order = [];\nglobalThis.note = (name) => order.push(name);\n"


@pytest.mark.node
@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_a_bundle_does_what_its_modules_do() -> None:
    assert NODE is not None
    script = SURROUNDINGS + bundled("/a/main.js", MODULES)
    done = subprocess.run(
        [NODE, "--input-type=module", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    order = "limit,all,box,effect function"  # each once, behind those it imports
    assert json.loads(done.stdout) == [8, 7, "hidden", 35, order]


def test_comments_stay_at_home() -> None:
    script = bundled("/a/main.js", MODULES)
    assert "The entry" not in script
    assert "inside" not in script
    assert "of its own" not in script
    assert "and one behind code" in script


@pytest.mark.parametrize(
    "form",
    [
        'import * as all from "./b.js";',
        'import one from "./b.js";',
        "export let changing = 1;",
        "export default 1;",
        "export { one };",
    ],
)
def test_a_form_that_is_not_understood_is_refused_by_name(form: str) -> None:
    with pytest.raises(ValueError, match=r"^/a\.js: not understood in a bundle: ") as caught:
        bundled("/a.js", {"/a.js": f"const one = 1;\n{form}\n", "/b.js": "export const b = 1;\n"})
    assert form in str(caught.value)


def test_modules_that_import_each_other_are_refused() -> None:
    modules = {
        "/a.js": 'import { b } from "./b.js";\nexport const a = 1;\n',
        "/b.js": 'import { a } from "./a.js";\nexport const b = 1;\n',
    }
    with pytest.raises(ValueError, match=r"import each other: /a\.js > /b\.js > /a\.js"):
        bundled("/a.js", modules)


def test_a_missing_module_is_named() -> None:
    with pytest.raises(KeyError, match=r"/b\.js"):
        bundled("/a.js", {"/a.js": 'import { b } from "./b.js";\n'})
