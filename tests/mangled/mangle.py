"""Files as a disk, a spreadsheet, a stranger or a broken download leave them. Made here, never stored."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator

FIELDS = (
    "", " ", "nan", "NaN", "NA", "null", "inf", "-inf", "-1", "-0", "+5", "0x10", "1_000", "1,5", "5.5", "5e0", "1e17", "1e19",
    "1e300", "1e999", "9" * 19, "9" * 30, "9" * 5000, "9007199254740993", "\u0661\u0662", "\uff15", "\u00b2", " 5 ", "true",
    "'", '"', '""', '"a', 'a"b', "\\", "\x00", "\x1a", "\u200b5", "\u202e5", "\ufeff5", "=1+1", "x" * 200_000, "[1, 2", "[]",
    "[" * 30_000, "{}", '"\\ud800"', '"asin": "\\ud800"', "\ud7ff",
)  # fmt: skip
HARMLESS = ("byte order mark", "CRLF", "no last line end")  # a file that says the same


def archived(content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file in other clothes, under its own name."""
    yield "gzip under a plain name", gzip.compress(content)
    inner, outer, tar = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("inside", content)
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("inner.zip", inner.getvalue())
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo("inside")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    yield "zip under a plain name", inner.getvalue()
    yield "zip in zip", outer.getvalue()
    yield "tar under a plain name", tar.getvalue()
    yield "pickle", pickle.dumps({"content": content})


def harmed(content: bytes, separator: bytes) -> Iterator[tuple[str, bytes]]:
    """(what was done, the bytes) of everything that is tried on a delimited text as a whole."""
    lines = content.splitlines()
    yield "empty", b""
    yield "one line end", b"\n"
    yield "blanks", b" \t \n\n \n"
    yield "first line alone", lines[0] + b"\n"
    yield "without its first line", b"\n".join(lines[1:]) + b"\n"
    yield "first line twice", b"\n".join([lines[0], *lines]) + b"\n"
    yield "first column named twice", b"\n".join([lines[0].split(separator)[0] + separator + lines[0], *lines[1:]]) + b"\n"
    yield "first column twice", b"\n".join(line + separator + line.split(separator)[0] for line in lines) + b"\n"
    yield "second column named like the first", _field(lines, 0, 1, lines[0].split(separator)[0], separator)
    for tenth in (1, 3, 5, 7, 9):
        yield f"cut at {tenth} tenths", content[: len(content) * tenth // 10]
    yield "byte order mark", b"\xef\xbb\xbf" + content
    yield "CRLF", b"\r\n".join(lines) + b"\r\n"
    yield "no last line end", b"\n".join(lines)
    yield "CR", b"\r".join(lines) + b"\r"
    yield "mixed line ends", b"".join(line + (b"\n", b"\r\n", b"\r")[place % 3] for place, line in enumerate(lines))
    yield "blank lines", b"\n\n".join(lines) + b"\n\n"
    for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-7"):
        yield encoding, content.decode("latin-1").encode(encoding)
    yield "bytes that are no UTF-8", content[:-3] + b"\xff\xfe\xc3\x28" + content[-3:]
    yield "zero bytes", bytes(len(content))
    yield "last column missing", b"\n".join(line.rpartition(separator)[0] for line in lines) + b"\n"
    yield "first two columns swapped", b"\n".join(_swapped(line, separator) for line in lines) + b"\n"
    yield "one line shorter", b"\n".join([*lines[:-1], lines[-1].rpartition(separator)[0]]) + b"\n"
    yield "one line longer", b"\n".join([*lines[:-1], lines[-1] + separator + b"1"]) + b"\n"
    yield "another separator", content.replace(separator, b"|" if separator != b"|" else b";")
    yield "a line of a million bytes", content + b"1" * 1_000_000 + b"\n"
    yield "all quoted", b"\n".join(b'"' + line.replace(separator, b'"' + separator + b'"') + b'"' for line in lines) + b"\n"
    yield from archived(content)


def refilled(content: bytes, separator: bytes, most: int) -> Iterator[tuple[str, bytes]]:
    """(what was done, the bytes) where one field of the last line says something else; of the first `most` columns."""
    lines = content.splitlines()
    for text in FIELDS:
        for column in range(min(most, len(lines[-1].split(separator)))):
            yield f"field {text[:12]!r} in column {column}", _field(lines, -1, column, text.encode(), separator)


def _field(lines: list[bytes], line: int, column: int, value: bytes, separator: bytes) -> bytes:
    fields = lines[line].split(separator)
    fields[min(column, len(fields) - 1)] = value
    changed = [*lines]
    changed[line] = separator.join(fields)
    return b"\n".join(changed) + b"\n"


def _swapped(line: bytes, separator: bytes) -> bytes:
    first, second, *rest = [*line.split(separator), b""][:2] + line.split(separator)[2:]
    return separator.join([second, first, *rest])


def _flip(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _drop(content: bytes, rng: random.Random) -> bytes:
    at, until = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:at] + content[min(until, at + 40) :]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    at, until = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:until] + content[at:]


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice(FIELDS).encode() + content[at:]


def _overwrite(content: bytes, rng: random.Random) -> bytes:
    at, new = rng.randrange(len(content)), rng.randbytes(rng.randint(1, 16))
    return content[:at] + new + content[at + len(new) :]


def _move_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    lines.insert(rng.randrange(len(lines) + 1), lines.pop(rng.randrange(len(lines))))
    return b"\n".join(lines)


HARMS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flip, _cut, _drop, _repeat, _insert, _overwrite, _move_line)


def mangled(content: bytes, rng: random.Random) -> bytes:
    """The content after one to four harms."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        if content:
            content = rng.choice(HARMS)(content, rng)
    return content
