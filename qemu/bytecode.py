"""The byte code of Python files, as files: it is the same for every processor and byte order.

They never look at the time or the content of their source (PEP 552, unchecked hashes): archives have no times worth the
name. As a program this reads sources from standard input and writes byte code to standard output, each a dictionary of
path and content in the form of `marshal` that all versions of Python read: see qemu/compiling.py.
"""

from __future__ import annotations

import importlib.util
import marshal
import struct
import sys
import warnings
from collections.abc import Mapping
from typing import Final

MARSHAL_VERSION: Final = 2
_HASHED_UNCHECKED: Final = 1


def compiled(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """Byte code for files whose absolute paths are given. Templates and samples that are no Python have none."""
    return {path: code for path, source in sources.items() if (code := _compiled(path, source)) is not None}


def _compiled(path: str, source: bytes) -> bytes | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        return None
    head = importlib.util.MAGIC_NUMBER + struct.pack("<I", _HASHED_UNCHECKED) + importlib.util.source_hash(source)
    return head + marshal.dumps(code)


if __name__ == "__main__":
    sys.stdout.buffer.write(marshal.dumps(compiled(marshal.loads(sys.stdin.buffer.read())), MARSHAL_VERSION))
