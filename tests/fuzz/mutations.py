"""Seeded damage to the bytes of a valid file: bits, cuts, insertions, header fields, splices, and words of a text."""

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

EXTREMES = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63,
    2**64 - 1,
)
FLOATS = tuple(struct.pack("<f", value) for value in (float("nan"), float("inf"), -float("inf"), 0, -1, 1e38, 1e-45))
WORDS = tuple(
    word.encode()
    for word in (
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-1",
        "0",
        "99999999999999999999",
        "9" * 5000,
        "null",
        "None",
        "true",
        "~",
        "''",
        '"',
        "'",
        "[",
        "]",
        "{",
        "}",
        "[" * 3000,
        "{" * 3000,
        "&a",
        "*a",
        "&a [*a, *a]",
        "!!python/object:os.system",
        "!!binary x",
        "<<: *a",
        "2024-02-30",
        "2024-02-29 25:61:61",
        "0x",
        "0o9",
        "1_000",
        ":",
        ": ",
        "- ",
        "? ",
        "#",
        "%YAML 3.0\n",
        "---\n",
        "...\n",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\0",
        "\x1b[2J",
        "\ufeff",
        "\u202e",
        "é",
        "=1+1",
        "@x",
        ",",
        ";",
        ",,,,",
        "a" * 300,
        "../",
        "/etc/passwd",
        "::",
        "::a[0]",
        "~/",
        "C:\\",
        "file.npz::a[999999999999]",
        "%s%n",
        "{0}",
        "$HOME",
    )
)


@dataclass(frozen=True)
class Field:
    """A number in a header, at `at`, of `size` bytes."""

    at: int
    size: int


@dataclass(frozen=True)
class Damage:
    """Damaged bytes, and the kind of damage."""

    content: bytes
    kind: str


Mutation = Callable[[random.Random, bytearray, Sequence[Field], Sequence[bytes]], None]


def damaged(rng: random.Random, seed: bytes, fields: Sequence[Field], others: Sequence[bytes], *, text: bool) -> Damage:
    """One to four mutations of `seed`. `others` are seeds of the same kind, for splices."""
    content = bytearray(seed)
    kinds = [_flip, _set_byte, _cut, _insert, _remove, _repeat, _splice]
    kinds += [_field] * (4 if fields else 0) + [_word] * (6 if text else 0)
    names = []
    for _ in range(1 + (rng.random() < 0.3) * rng.randrange(1, 4)):
        mutation = rng.choice(kinds)
        mutation(rng, content, fields, others)
        names.append(mutation.__name__[1:])
    return Damage(bytes(content), "+".join(names))


def _flip(rng: random.Random, content: bytearray, fields: Sequence[Field], others: Sequence[bytes]) -> None:
    if content:
        content[_place(rng, content)] ^= 1 << rng.randrange(8)


def _set_byte(rng: random.Random, content: bytearray, fields: Sequence[Field], others: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 4, 16))):
        if content:
            content[_place(rng, content)] = rng.choice((0, 255, rng.randrange(256)))


def _cut(rng: random.Random, content: bytearray, fields: Sequence[Field], others: Sequence[bytes]) -> None:
    del content[_place(rng, content) :]


def _insert(rng: random.Random, content: bytearray, fields: Sequence[Field], others: Sequence[bytes]) -> None:
    at = _place(rng, content)
    content[at:at] = rng.choice((rng.randbytes(rng.randrange(1, 64)), bytes(rng.choice((1, 16, 4096)))))


def _remove(rng: random.Random, content: bytearray, fields: Sequence[Field], others: Sequence[bytes]) -> None:
    at = _place(rng, content)
    del content[at : at + rng.choice((1, 2, 8, 64, 512))]


def _repeat(rng: random.Random, content: bytearray, fields: Sequence[Field], others: Sequence[bytes]) -> None:
    at, length = _place(rng, content), rng.choice((1, 8, 64, 512))
    content[at:at] = content[at : at + length] * rng.choice((1, 2, 10))


def _splice(rng: random.Random, content: bytearray, fields: Sequence[Field], others: Sequence[bytes]) -> None:
    other = rng.choice(others) if others else bytes(content)
    at = _place(rng, content)
    start = at if rng.random() < 0.5 else rng.randrange(len(other) + 1)
    content[at : at + rng.choice((8, 64, 1 << 30))] = other[start : start + rng.choice((8, 64, 1 << 30))]


def _field(rng: random.Random, content: bytearray, fields: Sequence[Field], others: Sequence[bytes]) -> None:
    field = rng.choice(fields)
    order = rng.choice(("little", "little", "big"))
    if field.size == 4 and rng.random() < 0.3:
        content[field.at : field.at + 4] = rng.choice(FLOATS)
        return
    limit = 1 << (8 * field.size)
    before = int.from_bytes(content[field.at : field.at + field.size], order)
    value = rng.choice((*EXTREMES, before + 1, before - 1, before * 2, rng.randrange(limit)))
    content[field.at : field.at + field.size] = (value % limit).to_bytes(field.size, order)


def _word(rng: random.Random, content: bytearray, fields: Sequence[Field], others: Sequence[bytes]) -> None:
    at = _place(rng, content)
    content[at : at + rng.choice((0, 0, 1, 4, 12))] = rng.choice(WORDS)


def _place(rng: random.Random, content: bytearray) -> int:
    """Half of all damage hits the first kilobyte, where headers stand."""
    size = len(content)
    return rng.randrange(min(size, 1024) if rng.random() < 0.5 else size) if size else 0
