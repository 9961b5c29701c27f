"""`xtcp-replay info`: what a capture holds."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from xtcp.cli.command import say
from xtcp.cli.output import terminal_width
from xtcp.errors import ExitCode, XtcpError
from xtcp.sinks.text_file import TextFile
from xtcp.spelling import visible
from xtcp_replay.cli.reading import add_reading_options, open_named

if TYPE_CHECKING:
    from xtcp_replay.judging.inventory import Inventory
    from xtcp_replay.reading.opening import ReplaySource

_LABEL: Final = 13
_WIDTH: Final = 118
_NARROWEST: Final = 20
_DUMPS_SHOWN: Final = 12
_FAULTS_SHOWN: Final = 5
_TOGETHER: Final = "\N{NO-BREAK SPACE}"  # where a line is not to end
_EXAMPLES = """\
examples:
  xtcp-replay info nlmon.pcapng                  packets, dumps, sockets, kernel, byte order, damage
  xtcp-replay info *.pcap --json                 one JSON object a file
  ssh host cat nlmon.pcap.zst | xtcp-replay info -
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "info",
        help="what a capture holds",
        description="Counts what is in captures: packets, dumps, sockets, attributes; and what is damaged or unknown.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="captures, raw dumps, archives; - for standard input")
    parser.add_argument("--json", action="store_true", help="one JSON object a file")
    add_reading_options(parser)
    parser.set_defaults(handler=_info)


def _info(args: argparse.Namespace) -> int:
    from xtcp_replay.judging.inventory import take_inventory

    out = TextFile("-")
    worst = ExitCode.OK
    for number, path in enumerate(args.files):
        source = open_named(args, path)
        try:
            inventory = take_inventory(source)
        except XtcpError as error:
            # The other files have their turn; one alone ends as every command does.
            if len(args.files) == 1:
                raise
            say(f"error: {error}")
            worst = max(worst, error.exit_code)
            continue
        tally = inventory.tally
        damaged = bool(source.damage or tally.quarantined or tally.damaged)
        if damaged:
            worst = max(worst, ExitCode.DAMAGED)
        if damaged and args.strict:
            say(f"warning: {path} is damaged; with --strict nothing of it is shown")
        elif args.json:
            out.write(json.dumps(_as_dict(path, source, inventory), ensure_ascii=False) + "\n")
        else:
            out.write("\n" * bool(number) + "\n".join(_lines(path, source, inventory)) + "\n")
    return worst


def _as_dict(path: str, source: ReplaySource, inventory: Inventory) -> dict[str, object]:
    from xtcp_replay.judging.inventory import family_name

    contents = source.contents
    return {
        "file": path,
        "format": contents.form,
        "packets": contents.packets,
        "netlink_families": {family_name(number): n for number, n in contents.families.most_common()},
        "requests": contents.requests,
        "first_ns": contents.first_ns,
        "last_ns": contents.last_ns,
        "dumps": contents.numbered,
        "dumps_described": [
            {
                "dump": dump.number,
                "asked": str(dump.asked) if dump.asked else None,
                "request_seen": dump.request_seen,
                "done_seen": dump.done_seen,
                "complete": dump.complete,
                "errno": dump.errno,
                "first_ns": dump.first_ns,
                "last_ns": dump.last_ns,
                "datagrams": dump.datagrams,
                "bytes": dump.bytes,
                "sockets": inventory.rows_by_dump[dump.number],
            }
            for dump in contents.dumps
        ],
        **inventory.as_dict(),
        "other_sockets": dict(contents.others),
        "damage": source.damage,
        "notes": source.notes,
    }


def _lines(path: str, source: ReplaySource, inventory: Inventory) -> list[str]:
    from xtcp.schema.layout import size_of
    from xtcp.schema.tcp_info import TCP_INFO
    from xtcp_replay.judging.inventory import attribute_name, family_name

    contents, tally = source.contents, inventory.tally
    lines = ["standard input" if path == "-" else visible(path)]
    width = min(_WIDTH, terminal_width() or _WIDTH)

    def add(label: str, text: str) -> None:
        if text:
            text = _TOGETHER.join(map(visible, text.split(_TOGETHER)))
            wrapped = textwrap.wrap(text, max(width - _LABEL, _NARROWEST), break_on_hyphens=False)
            for i, line in enumerate(wrapped):
                lines.append(f"  {label if not i else '':<{_LABEL - 2}}{line.replace(_TOGETHER, ' ')}")

    add("format", contents.form)
    add("host", ", ".join(inventory.hosts))
    add("kernel", ", ".join(inventory.releases) or "not told (see --kernel-release)")
    add("namespace", ", ".join(inventory.namespaces))
    add("messages", _counted(inventory.orders) if len(inventory.orders) > 1 else ", ".join(inventory.orders))
    first, last = contents.first_ns, contents.last_ns
    if first is not None and last is not None:
        add("time", f"{_time(first)} UTC, {_span(last - first)}")
    families = {family_name(number): n for number, n in contents.families.most_common()}
    if contents.packets:
        requests = f"{contents.requests:,} request{'' if contents.requests == 1 else 's'}"
        add("packets", f"{contents.packets:,}: {_counted(families)}; {requests}")
    _add_dumps(add, source, inventory)
    add("sockets", f"{inventory.rows:,}: {_counted(inventory.families)}")
    add("states", _counted(inventory.states))
    add("congestion", _counted(inventory.congestion))
    lengths = {f"{length} bytes": n for length, n in sorted(tally.info_lengths.items())}
    without = inventory.rows - tally.info_lengths.total()
    add("tcp_info", _counted(lengths | ({"none": without} if without and lengths else {})))
    add("attributes", _counted({attribute_name(number): n for number, n in sorted(inventory.attributes.items())}))
    add("unknown", _counted(dict(sorted(tally.unknown.items()))) or "none")
    surplus = {f"attribute {path} of {length} bytes": n for (path, length), n in sorted(tally.surplus.items())}
    add("longer", _counted(surplus))
    add("others", _counted(contents.others))
    _add_damage(add, source, inventory)
    for note in source.notes:
        add("note", note)
    if tally.surplus[("2", size_of(TCP_INFO, (7, 0)))] and not inventory.releases:
        add("note", "the last four bytes of tcp_info are laid out in two ways; give --kernel-release to read them")
    return lines


def _add_dumps(add: Callable[[str, str], None], source: ReplaySource, inventory: Inventory) -> None:
    from xtcp.encode.units import size

    contents = source.contents
    # Only a capture has requests, and so beginnings.
    incomplete = contents.incomplete if contents.packets else 0
    whole = "all complete" if contents.packets and contents.numbered else ""
    add(
        "dumps",
        ", ".join(filter(None, (f"{contents.numbered:,}", f"{incomplete:,} incomplete" if incomplete else whole))),
    )
    for dump in contents.dumps[:_DUMPS_SHOWN]:
        asked = dump.asked or ("one socket" if dump.single else "request not seen" if contents.packets else "")
        sockets = inventory.rows_by_dump[dump.number]
        parts = [str(asked)] if asked else []
        parts.append(f"{sockets:,} socket{'' if sockets == 1 else 's'}")
        parts.append(size(dump.bytes))
        if dump.first_ns is not None and dump.last_ns is not None:
            parts.append(f"{_time(dump.first_ns)[11:23]} + {_span(dump.last_ns - dump.first_ns)}")
        if dump.errno:
            parts.append(f"errno {dump.errno}")
        if not dump.done_seen and not dump.single and "archive" not in contents.form:
            parts.append("no NLMSG_DONE")
        add("", f"{str(dump.number).rjust(3, _TOGETHER)}{_TOGETHER * 2}" + ", ".join(parts))
    if contents.numbered > _DUMPS_SHOWN:
        add("", f"and {contents.numbered - _DUMPS_SHOWN:,} more")


def _add_damage(add: Callable[[str, str], None], source: ReplaySource, inventory: Inventory) -> None:
    tally = inventory.tally
    found = list(source.damage)
    if tally.quarantined:
        found.append(f"{tally.quarantined:,} messages quarantined")
    if tally.damaged:
        found.append(f"{tally.damaged:,} sockets kept up to a damaged attribute")
    found += [f"{f.length} bytes at offset {f.offset} of their chunk: {f.reason}" for f in tally.faults[:_FAULTS_SHOWN]]
    if len(tally.faults) > _FAULTS_SHOWN:
        found.append("and more of them")
    found += [f"the kernel answered with errno {e.errno} {e.text}".rstrip() for e in tally.errors[:_FAULTS_SHOWN]]
    for text in found or ["none"]:
        add("damage", text)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}".replace(" ", _TOGETHER) for name, count in counts.items())


def _time(ns: int) -> str:
    """`2026-11-24 12:00:00.123456789`; the number itself where no calendar has it."""
    seconds, rest = divmod(ns, 1_000_000_000)
    try:
        whole = dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OverflowError, OSError, ValueError):
        return f"{ns} ns"
    return f"{whole:%Y-%m-%d %H:%M:%S}.{rest:09}"


def _span(ns: int) -> str:
    from xtcp.encode.units import duration

    return duration(ns // 1000)
