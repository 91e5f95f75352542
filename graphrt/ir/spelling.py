"""How single values are spelled in IR text: numbers, strings, element types, tensor types, arrays, tuples.

In: an attribute value (`value_text`), or a `Line` cursor over text (`read_value`, `read_type`, `read_string`).
Out: the spelling, or the value. Arrays are spelled with their type: `f32[2](0.5, 1.0)`, larger ones as
`f32[1000](base64="...")`. Reading executes nothing and allocates nothing larger than the text itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

import numpy as np

from ..dtypes import BY_SHORT, DType
from ..errors import ParseError
from .types import Literal, TensorType

SMALL_LITERAL = 16  # up to this many elements an array is printed as numbers
MAX_RANK = 64
MAX_NESTING = 16
MAX_ITEMS = 1024  # of a tuple: shape rules may take time quadratic in the number of axes
MAX_DIGITS = 40
MAX_BYTES = 2**63 - 1

# Writing


def value_text(value: Any) -> str:
    """One attribute value in IR syntax. Raises TypeError for a value no op attribute may have."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, DType):
        return value.short
    if isinstance(value, Literal):
        return _literal_text(value)
    if isinstance(value, tuple):
        return "(" + ", ".join(map(value_text, value)) + (",)" if len(value) == 1 else ")")
    raise TypeError(f"{type(value).__name__} cannot be an op attribute: {value!r}")


def _literal_text(literal: Literal) -> str:
    array = literal.array
    if array.size <= SMALL_LITERAL:
        # The shortest spelling of a float32 can land on a neighbour when it is rounded by way of a double, and NaNs
        # can carry payloads, so numbers are used only when they read back to the same bytes.
        for spell in (str, lambda x: value_text(x.item())):
            numbers = [spell(x) for x in array.ravel()]
            if Literal(_array_of_numbers([_number(x) for x in numbers], literal.type)) == literal:
                return f"{literal.type}({', '.join(numbers)})"
    return f'{literal.type}(base64="{base64.b64encode(array.tobytes()).decode()}")'


def _array_of_numbers(numbers: list[Any], type: TensorType) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.array(numbers, dtype=type.dtype.numpy).reshape(type.shape)


def _number(text: str) -> int | float | bool:
    if text in ("True", "False"):
        return text == "True"
    return int(text) if text.lstrip("-").isdigit() else float(text)


# Reading

_TOKEN = re.compile(
    r"""[ \t\r]*(?:
    (?P<string>"[^"\\\n]*(?:\\.[^"\\\n]*)*")
  | (?P<node>%\d+)
  | (?P<number>-?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|inf\b|nan\b))
  | (?P<word>[A-Za-z_]\w*)
  | (?P<mark>[()\[\],:=@])
  | (?P<end>\#.*|$)
    )""",
    re.VERBOSE | re.ASCII,
)


class Line:
    """A cursor over the tokens of one line: `kind` and `token` are the next one, `take` moves on."""

    def __init__(self, text: str, number: int):
        self.text, self.number, self.start, self.position = text, number, 0, 0
        self._advance()

    def _advance(self) -> None:
        match = _TOKEN.match(self.text, self.position)
        if match is None:
            raise self.error("unreadable text", given=self.text[self.position :])
        self.kind: str = match.lastgroup or "end"
        self.token = match.group(self.kind)
        self.start, self.position = match.start(self.kind), match.end()

    def take(self, kind: str, token: str | None = None) -> str:
        """Consumes the next token, which must be of this kind (and this token); returns it."""
        if self.kind != kind or (token is not None and self.token != token):
            raise self.error("unexpected text", expected=token or {"end": "end of line"}.get(kind, kind))
        taken = self.token
        if kind != "end":
            self._advance()
        return taken

    def at(self, mark: str) -> bool:
        return self.kind == "mark" and self.token == mark

    def skip(self, mark: str) -> bool:
        """Consumes `mark` if it is next; says whether it was."""
        found = self.at(mark)
        if found:
            self._advance()
        return found

    def error(self, message: object, expected: object = None, given: object = None) -> ParseError:
        if given is None and expected is not None:
            given = self.text[self.start :].strip() or "end of line"
        where = f"graph text, line {self.number}"
        return ParseError(f"{where}: {clip(message, 300)}", expected=clip(expected, 300), given=clip(given))


def read_type(line: Line) -> TensorType:
    """A tensor type such as f32[32,10], of a rank and size that can exist."""
    name = line.take("word")
    if name not in BY_SHORT:
        raise line.error("unknown element type", expected=", ".join(BY_SHORT), given=name)
    line.take("mark", "[")
    shape: list[int] = []
    while not line.at("]") and len(shape) <= MAX_RANK:
        shape.append(read_natural(line))
        if not line.skip(","):
            break
    if len(shape) > MAX_RANK:
        raise line.error("tensor has too many axes", expected=f"at most {MAX_RANK}")
    line.take("mark", "]")
    type = TensorType(tuple(shape), BY_SHORT[name])
    if type.bytes > MAX_BYTES or any(extent > MAX_BYTES for extent in shape):
        raise line.error("tensor is too large", f"at most {MAX_BYTES} bytes", type)
    return type


def read_string(line: Line) -> str:
    """A quoted string with JSON's escapes."""
    token = line.take("string")
    try:
        return json.loads(token)
    except ValueError:
        raise line.error("string with an unknown escape or a raw control character") from None


def read_natural(line: Line) -> int:
    """A whole number."""
    token = line.take("number")
    if not token.isdigit() or len(token) > MAX_DIGITS:
        raise line.error("not a size", expected="a whole number", given=token)
    return int(token)


def read_value(line: Line, depth: int = 0) -> Any:
    """An attribute value: number, string, True, False, None, element type, array, or a tuple of these."""
    if line.kind == "string":
        return read_string(line)
    if line.kind == "number":
        return _read_number(line)
    if line.skip("("):
        if depth == MAX_NESTING:
            raise line.error("tuples are nested too deeply", expected=f"at most {MAX_NESTING} levels")
        items: list[Any] = []
        while not line.at(")"):
            if len(items) == MAX_ITEMS:
                raise line.error("tuple is too long", expected=f"at most {MAX_ITEMS} items")
            items.append(read_value(line, depth + 1))
            if not line.skip(","):
                break
        line.take("mark", ")")
        return tuple(items)
    if line.kind == "word" and line.token in _NAMED_VALUES:
        return _NAMED_VALUES[line.take("word")]
    if line.kind == "word" and line.token in BY_SHORT:
        following = line.text[line.position : line.position + 1]
        return _literal(line) if following == "[" else BY_SHORT[line.take("word")]
    raise line.error("unexpected text", expected="a value")


_NAMED_VALUES = {"True": True, "False": False, "None": None}
_NUMBER_TYPES: dict[str, tuple[type, ...]] = {"bool": (bool,), "float": (int, float)}


def _read_number(line: Line) -> int | float:
    token = line.take("number")
    if len(token) > MAX_DIGITS:
        raise line.error("number is too long", expected=f"at most {MAX_DIGITS} characters", given=token)
    return _number(token)  # type: ignore[return-value]


def _literal(line: Line) -> Literal:
    type = read_type(line)
    line.take("mark", "(")
    if line.kind == "word" and line.token == "base64":
        line.take("word")
        line.take("mark", "=")
        array = _decoded(line, line.take("string")[1:-1], type)
    else:
        array = _written_out(line, type)
    line.take("mark", ")")
    return Literal(array)


def _decoded(line: Line, encoded: str, type: TensorType) -> np.ndarray:
    # Compare lengths before decoding: nothing larger than the text itself is ever allocated.
    if len(encoded) != (type.bytes + 2) // 3 * 4:
        raise line.error(
            "array data of another size", f"{type.bytes} bytes", f"{len(encoded)} base64 characters"
        )
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise line.error("array data is not base64") from None
    if len(data) != type.bytes:
        raise line.error("array data of another size", f"{type.bytes} bytes", f"{len(data)} bytes")
    return np.frombuffer(data, dtype=type.dtype.numpy).reshape(type.shape)


def _written_out(line: Line, type: TensorType) -> np.ndarray:
    accepted = _NUMBER_TYPES.get(type.dtype.kind, (int,))
    numbers: list[Any] = []
    while not line.at(")"):
        is_bool = line.kind == "word" and line.token in ("True", "False")
        value = line.take("word") == "True" if is_bool else _read_number(line)
        if value.__class__ not in accepted:
            raise line.error(f"not an element of {type}", expected=type.dtype, given=value_text(value))
        numbers.append(value)
        if not line.skip(","):
            break
    if len(numbers) != type.size:
        raise line.error("array data of another size", f"{type.size} numbers", f"{len(numbers)} numbers")
    try:
        return _array_of_numbers(numbers, type)
    except (OverflowError, ValueError):
        raise line.error(f"a number does not fit into {type.dtype}") from None


def clip(value: object, length: int = 120) -> str | None:
    """The start of a text that may be very long, for error messages."""
    text = None if value is None else str(value)
    return text if text is None or len(text) <= length else text[:length] + "..."
