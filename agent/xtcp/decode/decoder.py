"""Decoder: one chunk to one batch."""

from __future__ import annotations

from collections.abc import Collection

from xtcp.batch import Batch, Tally
from xtcp.chunk import Chunk, Context
from xtcp.decode.assembly import Assembly
from xtcp.decode.attributes import Lockstep
from xtcp.decode.messages import find_rows
from xtcp.decode.templates import Templates


class Decoder:
    """Decodes chunks to batches; remembers templates between chunks, which changes the speed and nothing else.

    `columns` are the columns wanted (None: all); `damaged` comes whenever there is damage. `md5_keys` keeps the key
    bytes of `md5sig`, zeroed otherwise. `templates=False` takes the lockstep walk for all rows.
    """

    def __init__(
        self, columns: Collection[str] | None = None, *, md5_keys: bool = False, templates: bool = True
    ) -> None:
        self._wanted = None if columns is None else frozenset(columns) | {"damaged"}
        self._md5_keys = md5_keys
        self._use_templates = templates
        self._templates: Templates | None = None
        self._made_for: tuple[object, ...] = ()

    def decode(self, chunk: Chunk) -> Batch:
        """All rows of `chunk`; malformed input never raises, `Batch.tally` tells of it."""
        tally = Tally()
        context = chunk.context
        rows = find_rows(chunk, tally)
        assembly = Assembly(len(rows.offset))
        if self._use_templates and len(rows.offset):
            rows = self._templates_for(context).read(chunk.data, rows, assembly, tally)
        if len(rows.offset):
            Lockstep(
                chunk.data,
                context.order,
                context.kernel,
                context.protocol,
                self._wanted,
                tally,
                md5_keys=self._md5_keys,
            ).read(rows, assembly)
        tally.faults.sort()
        columns, valid = assembly.finish()
        return Batch(context, len(assembly.position), columns, valid, assembly.position, tally)

    def _templates_for(self, context: Context) -> Templates:
        key = (context.order, context.kernel, context.protocol)
        if self._templates is None or self._made_for != key:
            self._made_for = key
            self._templates = Templates(
                context.order, context.kernel, context.protocol, self._wanted, md5_keys=self._md5_keys
            )
        return self._templates
