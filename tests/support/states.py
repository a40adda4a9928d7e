"""States of the viewer, made one after another in one page, and what is found in each."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.browser import Viewer

Act = Callable[[Viewer], None]
State = tuple[Act, str]
"""How the state is made, and what is in sight then."""


def press(*keys: str) -> Act:
    """Make a state by pressing keys."""

    def act(viewer: Viewer) -> None:
        for key in keys:
            viewer.page.keyboard.press(key)

    return act


def click(*selectors: str) -> Act:
    """Make a state by clicks."""

    def act(viewer: Viewer) -> None:
        for selector in selectors:
            viewer.page.locator(selector).first.click()

    return act


def tap(*selectors: str) -> Act:
    """Make a state by taps."""

    def act(viewer: Viewer) -> None:
        for selector in selectors:
            viewer.page.locator(selector).first.tap()

    return act


def suggest(viewer: Viewer) -> None:
    """Begin to write the name of a field."""
    viewer.page.locator("#search").press_sequentially(" cha")


def show_columns(viewer: Viewer) -> None:
    """Open the view with columns, which are in its address."""
    viewer.open(f"{viewer.page.url}&column=username&column=metadata.level")


def faulty(
    viewer: Viewer, states: dict[str, State], ready: Act, look: Callable[[Viewer], list[str]]
) -> dict[str, list[str]]:
    """State → what a look at it finds, for those where it finds anything.

    Each state is made from the page as it is now, opened again: that takes a third of the time
    that a new profile takes.
    """
    address, found = viewer.page.url, {}
    for name, (make, sight) in states.items():
        viewer.open_anew(address)
        ready(viewer)
        make(viewer)
        viewer.page.locator(sight).first.wait_for()
        found[name] = look(viewer)
    return {name: faults for name, faults in found.items() if faults}
