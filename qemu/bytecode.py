"""Python's byte code, made here for another machine: it is the same for every processor and byte order.

The interpreter has to be of the same version, 3.11 for 3.11. The files are those that never look at the time or the
content of their source (PEP 552, unchecked hashes): an archive has no times worth the name.
"""

from __future__ import annotations

import importlib.util
import marshal
import posixpath
import struct
import sys
import warnings
from typing import Final

_HASHED_UNCHECKED: Final = 1


def place(path: str) -> str:
    """Where the byte code of a source file belongs."""
    folder, name = posixpath.split(path)
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"


def compiled(source: bytes, path: str) -> bytes | None:
    """The file of byte code of `source`, which will be at `path`; None if it is no Python of this version."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):  # templates and samples among the libraries
        return None
    head = importlib.util.MAGIC_NUMBER + struct.pack("<I", _HASHED_UNCHECKED) + importlib.util.source_hash(source)
    return head + marshal.dumps(code)
