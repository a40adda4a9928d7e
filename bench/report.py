"""What is printed: figures, tables, the machine and the versions behind them."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.load import Figures

PACKAGES = ("uvloop", "websockets", "msgspec", "livelog")


def number(value: float) -> str:
    """Readable, with three significant digits where there are no more before the point."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def listing(figures: Figures) -> str:
    width = max(map(len, figures))
    return "\n".join(f"{name:<{width}}  {number(value):>10}" for name, value in figures.items())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, numbers and words alike to the left."""
    lines = [head, ["-" * len(cell) for cell in head], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
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
