"""Values as 16-bit words and back: high word first, high byte first. Pure."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

TEXT_BYTES = 32
Value = int | float | str


class Kind(StrEnum):
    """What lies in a field's registers."""

    U16 = "u16"
    U32 = "u32"
    F32 = "float32"
    TEXT = "ascii32"

    @property
    def words(self) -> int:
        """Registers that it takes."""
        return _WORDS[self]


_WORDS = {Kind.U16: 1, Kind.U32: 2, Kind.F32: 2, Kind.TEXT: TEXT_BYTES // 2}


@dataclass(frozen=True)
class Register:
    """A row of the register map.

    Attributes:
        address: of its first register, as it travels: from 0.
        name: unique in the map.
        kind: what lies there.
        meaning: for people.
        written: by the PLC; otherwise it reads it.
    """

    address: int
    name: str
    kind: Kind
    meaning: str
    written: bool = False

    def value(self, registers: Sequence[int], base: int = 0) -> Value:
        """What registers hold for it.

        Args:
            registers: words, the first of them at `base`.
            base: address.
        """
        start = self.address - base
        return unpack(self.kind, registers[start : start + self.kind.words])


Field = tuple[str, Kind, str]
"""Name, kind, meaning."""


def lay(base: int, fields: Sequence[Field], *, prefix: str = "", written: bool = False) -> list[Register]:
    """Rows that follow each other from an address on."""
    rows, address = [], base
    for name, kind, meaning in fields:
        rows.append(Register(address, prefix + name, kind, meaning, written))
        address += kind.words
    return rows


def pack(kind: Kind, value: Value) -> list[int]:
    """A value as words. A number that does not fit saturates; text is cut, and ends in a tilde then."""
    if isinstance(value, str):
        return list(struct.unpack(f">{kind.words}H", _ascii(value)))
    if kind is Kind.U16:
        return [min(max(int(value), 0), 0xFFFF)]
    if kind is Kind.F32:
        return list(struct.unpack(">2H", _float32(value)))
    number = min(max(int(value), 0), 0xFFFF_FFFF)
    return [number >> 16, number & 0xFFFF]


def unpack(kind: Kind, words: Sequence[int]) -> Value:
    """The value in words."""
    if kind is Kind.U16:
        return words[0]
    if kind is Kind.U32:
        return words[0] << 16 | words[1]
    raw = struct.pack(f">{kind.words}H", *words)
    if kind is Kind.TEXT:
        return raw.partition(b"\0")[0].rstrip(b" ").decode("ascii", errors="replace")
    value: float = struct.unpack(">f", raw)[0]
    return value


def _float32(value: float) -> bytes:
    try:
        return struct.pack(">f", value)
    except OverflowError:  # beyond what 32 bits hold
        return struct.pack(">f", math.copysign(math.inf, value))


def _ascii(text: str) -> bytes:
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text[: TEXT_BYTES + 1])
    if len(plain) > TEXT_BYTES:
        plain = plain[: TEXT_BYTES - 1] + "~"
    return plain.encode("ascii").ljust(TEXT_BYTES, b"\0")
