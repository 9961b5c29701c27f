"""Asks a C compiler for numbers and for the place of bit fields, without running what it compiles.

In: C expressions and bit fields, one to a line of one source file. Out: their values, read from the object file's
sections. What the headers do not know is found from the lines of the compiler's errors, left out, and absent in the
answer.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xtcp.schema.model import Order

_FLAGS = ("-x", "c", "-w", "-O0", "-fmax-errors=0", "-fno-diagnostics-show-caret")
_ERROR = re.compile(r"^probe\.c:(\d+):\d+: error: ", re.MULTILINE)

BitField = tuple[str, str]


class NotInstalledError(Exception):
    """No compiler of this architecture here, or no headers for it; the text says which."""


@dataclass(frozen=True)
class Answers:
    """What the compiler said.

    `numbers`: value of each C expression. `ones`: for (struct, bit field) the whole struct's bytes with that bit
    field all ones and the rest zero. Expressions and bit fields that the headers lack are missing in both.
    """

    numbers: dict[str, int]
    ones: dict[BitField, bytes]


@dataclass(frozen=True)
class Line:
    """One line of the source that asks one thing: an expression, or a bit field of a struct."""

    text: str
    expression: str = ""
    bit_field: BitField = ("", "")


def find_compiler(machine: str) -> str:
    """Path of a gcc for `machine` (`s390x`, as in its triplet). Raises NotInstalledError."""
    for name in (f"{machine}-linux-gnu-gcc", "gcc"):
        path = shutil.which(name)
        if path and _run([path, "-dumpmachine"]).stdout.split("-")[0] == machine:
            return path
    raise NotInstalledError(f"no gcc for {machine}")


def ask(
    compiler: str, order: Order, preamble: str, expressions: Sequence[str], bit_fields: Sequence[BitField], work: Path
) -> Answers:
    """Compiles the questions against the headers that `preamble` includes; `work` is an empty folder to use.

    Raises NotInstalledError where a header is missing, AssertionError where what the headers do know does not
    compile.
    """
    lines = _source(preamble, expressions, bit_fields)
    first = _compile(compiler, lines, work, "-fsyntax-only")
    if "fatal error:" in first.stderr:
        raise NotInstalledError(first.stderr.strip().splitlines()[0])
    refused = {int(number) for number in _ERROR.findall(first.stderr)}
    kept = [line if number not in refused else Line("") for number, line in enumerate(lines, 1)]
    second = _compile(compiler, kept, work, "-c", "-o", "probe.o")
    assert second.returncode == 0, second.stderr
    return _read(compiler, order, kept, work)


def _source(preamble: str, expressions: Sequence[str], bit_fields: Sequence[BitField]) -> list[Line]:
    lines = [Line(text) for text in preamble.splitlines()]
    lines.append(Line('const unsigned long long numbers[] __attribute__((section(".numbers"))) = {'))
    lines += [Line(f"{expression},", expression=expression) for expression in expressions]
    lines.append(Line("};"))
    for struct in dict.fromkeys(struct for struct, _ in bit_fields):
        lines.append(Line(f'const struct {struct} ones_{struct}[] __attribute__((section(".{struct}"))) = {{'))
        lines += [Line(f"{{.{name} = -1}},", bit_field=(struct, name)) for of, name in bit_fields if of == struct]
        lines.append(Line("};"))
    return lines


def _compile(compiler: str, lines: Sequence[Line], work: Path, *how: str) -> subprocess.CompletedProcess[str]:
    (work / "probe.c").write_text("".join(f"{line.text}\n" for line in lines))
    return _run([compiler, *_FLAGS, *how, "probe.c"], work)


def _read(compiler: str, order: Order, lines: Sequence[Line], work: Path) -> Answers:
    structs = dict.fromkeys(line.bit_field[0] for line in lines if line.bit_field[0])
    sections = ["numbers", *structs]
    objcopy = _run([compiler, "-print-prog-name=objcopy"]).stdout.strip()
    dumps = [f"--dump-section=.{name}={name}.bin" for name in sections]
    copied = _run([objcopy, *dumps, "probe.o", "copy.o"], work)
    assert copied.returncode == 0, copied.stderr
    raw = (work / "numbers.bin").read_bytes()
    values = (int.from_bytes(raw[at : at + 8], _word(order)) for at in range(0, len(raw), 8))
    numbers = dict(zip((line.expression for line in lines if line.expression), values, strict=True))
    ones: dict[BitField, bytes] = {}
    for struct in structs:
        raw = (work / f"{struct}.bin").read_bytes()
        asked = [line.bit_field for line in lines if line.bit_field[0] == struct]
        size = len(raw) // len(asked)
        ones |= {bit_field: raw[index * size : (index + 1) * size] for index, bit_field in enumerate(asked)}
    return Answers(numbers, ones)


def _word(order: Order) -> Literal["little", "big"]:
    return "little" if order == "<" else "big"


def _run(command: list[str], work: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=work, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=False
    )
