"""The values of a field as they are read out of messages, and the fields that are counted.

Values count as one where filters take them for one: ids byte for byte, other strings as
`folding.normalized` makes them, numbers and booleans by their JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyroaring import BitMap

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index.folding import normalized
from livelog.index.plan import Steps
from livelog.index.terms import as_float, message_in
from livelog.index.where.fields import (
    NAMES,
    ROOTS,
    compared_as_id,
    is_path,
    reader,
    resolve,
    suggestion,
)
from livelog.index.where.values import number_text
from livelog.wire.commands import KEY_FILTERS
from livelog.wire.messages import AnyMessage
from livelog.wire.stubs import Stub
from livelog.wire.timestamps import parse_moment

_UNIQUE = ("id", "timestamp", "content")
"""Fields that differ from message to message: to count their values would tell nothing."""

FEW = 64
"""Messages up to which they are read: that is cheaper than to go through all values."""

_WHOLE = 2.0**63
"""Bound of the numbers that are written without an exponent."""


def field_named(name: str, parameter: str) -> str:
    """Return the only form of the name of a field whose values are to be counted.

    Raises `RefusedError`, which names the `parameter`, for an unknown one, and for fields that
    differ from message to message.
    """
    field = resolve(name)
    allowed = [known for known in NAMES if known not in (*_UNIQUE, *ROOTS)]
    allowed += [f"{root}.NAME" for root in ROOTS]
    if field in ROOTS:
        issue = f"is an object; name what is in it, as in {field}.NAME"
        raise RefusedError(PROTOCOL_ERROR, parameter, issue, allowed=allowed)
    if field is None:
        near, issue = suggestion(name), "unknown field"
        if near:
            issue += f"; did you mean {near}?"
        elif is_path(name):
            issue += '; quote what is no name in it, as in metadata."my level"'
        raise RefusedError(PROTOCOL_ERROR, parameter, issue, allowed=allowed)
    if field in _UNIQUE:
        issue = "differs from message to message, so its values are not counted"
        raise RefusedError(PROTOCOL_ERROR, parameter, issue, allowed=allowed)
    return field


class Values:
    """Read the values that a message has in one field."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._read = reader(field)
        self._text = str if compared_as_id(field) else normalized
        self._only_strings = field in KEY_FILTERS  # as those filters

    def of(self, message: AnyMessage) -> set[str]:
        """Return the values, in the form in which they are compared."""
        return {self._compared(value) for value in self._scalars(message)}

    def spelled(self, message: AnyMessage) -> dict[str, str]:
        """Return the values, each with the text that the message has for it."""
        found = ((self._compared(value), value) for value in self._scalars(message))
        return {value: text if isinstance(text, str) else value for value, text in found}

    def spelling(self, payload: bytes, value: str) -> str:
        """Return a value as the message has it; in the form that is compared if it has not."""
        scalars = self._scalars(message_in(payload))
        spelled = (one for one in scalars if self._compared(one) == value)
        return next((one for one in spelled if isinstance(one, str)), value)

    def _scalars(self, message: AnyMessage) -> Iterator[Any]:
        if isinstance(message, Stub) and self._field != "type":
            return iter(())
        kinds = str if self._only_strings else (str, int, float)
        return (value for value in self._read(message) if isinstance(value, kinds))

    def _compared(self, value: Any) -> str:
        if isinstance(value, str):
            return self._text(value)
        if type(value) is int and abs(value) < _WHOLE:
            return str(value)
        return number_text(_in_one_form(value))


def _in_one_form(value: float) -> float:
    """Return 40 for 40.0 and 1e22 for 10**22, each of which filters take for the other."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return int(value) if abs(value) < _WHOLE and value.is_integer() else value
    nearest = as_float(value)
    return nearest if nearest == value else value


class Reading:
    """The values of fields in messages that are read."""

    def __init__(self, fields: Iterable[str], *, timed: bool = False) -> None:
        self.lists: dict[str, dict[str, BitMap]] = {field: {} for field in fields}
        """Field → value → positions of the messages that have it."""
        self.times: dict[int, int] | None = {} if timed else None
        """Position → timestamp in microseconds since 1970, if it is wanted."""
        self.found = BitMap()
        """Positions of the messages that were there."""
        self._values = {field: Values(field) for field in self.lists}

    def read(self, messages: Iterable[tuple[int, bytes]]) -> Steps[None]:
        """Read messages, given with their positions, in steps; an empty one is passed over."""
        for position, payload in messages:
            if payload:
                self._add(position, message_in(payload))
            yield

    def _add(self, position: int, message: AnyMessage) -> None:
        self.found.add(position)
        if self.times is not None:
            self.times[position] = parse_moment(message.timestamp or "", "timestamp")
        for field, lists in self.lists.items():
            for value in self._values[field].of(message):
                positions = lists.get(value)
                if positions is None:
                    positions = lists[value] = BitMap()
                positions.add(position)
