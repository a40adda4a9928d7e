"""Output: figures and tables, and the machine, versions and commits behind them."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.server import TOP

CHANGED = ("diff", "--quiet", "HEAD", "--", "livelog", "bench", ":!bench/results")
Figures = dict[str, float]
"""Results of a measurement by name; the name ends with the unit."""

PACKAGES = ("uvloop", "websockets", "msgspec", "livelog")


def number(value: float) -> str:
    """Write a number with three significant digits, or with all digits before the point."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def listing(figures: Figures) -> str:
    width = max(map(len, figures))
    return "\n".join(f"{name:<{width}}  {number(value):>10}" for name, value in figures.items())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with a line under its head."""
    return aligned([head, ["-" * len(cell) for cell in head], *rows])


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Align columns to the left, each as wide as its widest cell."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _found(file: str, pattern: str) -> str:
    found = re.search(pattern, Path(file).read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def machine() -> str:
    memory = int(_found("/proc/meminfo", r"^MemTotal:\s+(\d+)")) / 1024**2
    return (
        f"{_found('/proc/cpuinfo', r'^model name.*: (.*)')}, {os.cpu_count()} cores, "
        f"{memory:.0f} GB memory, {platform.system()} {platform.release()}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its source
        return str(getattr(import_module(package), "__version__", "unknown"))


def versions() -> str:
    python = f"Python {sys.version.split()[0]}"
    return ", ".join([python, *(f"{package} {_version(package)}" for package in PACKAGES)])


def commit(checkout: Path = TOP) -> str:
    """Name the commit of a checkout, and say if its `livelog` differs from that commit."""
    try:
        found = _git(checkout, "rev-parse", "--short", "HEAD")
    except OSError:  # git is not installed
        return "unknown"
    if found.returncode:
        return "unknown"
    changed = _git(checkout, *CHANGED).returncode != 0
    return found.stdout.strip() + (" with changes" if changed else "")


def _git(checkout: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ("git", "-C", str(checkout), *command), capture_output=True, text=True, check=False
    )


def heading(about: str, commits: str | None = None) -> str:
    """Return the first lines of a result: machine, versions, commits and the command."""
    return "\n".join([machine(), versions(), commits or f"commit {commit()}", about])


def save(text: str, out: str | None) -> None:
    """Write a result to the file `out`, if one is given."""
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(text + "\n")
