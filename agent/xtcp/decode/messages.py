"""Datagrams to messages: which of them are rows, what the others say, what is set aside.

1. Fast: every reply to our dump carries its random `nlmsg_seq`, so its hits in the buffer are message starts, if each
   message leads exactly to the next and every datagram begins and ends on one. Proved in one operation.
2. Otherwise the lockstep walk of the datagrams.
3. In chunks of a few messages, of which a capture of single sockets or short dumps has thousands, one message at a
   time: an array operation costs as much as ten messages.

In every way the messages are judged the same: another sequence number or port id is foreign, `NLM_F_REQUEST` marks a
request (nlmon shows them too), types 18 and 20 are rows, the rest is control. Messages behind a `NLMSG_DONE` in its
datagram, rows shorter than `inet_diag_msg` and bytes that make no message are quarantined.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import MAX_DESCRIBED, KernelMessage, Tally
from xtcp.chunk import Chunk
from xtcp.decode.chains import walk_messages
from xtcp.netlink.numbers import (
    NLA_HDRLEN,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLM_F_DUMP_INTR,
    NLM_F_MULTI,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_HDRLEN,
    NLMSG_NOOP,
    NLMSG_OVERRUN,
    NLMSGERR_ATTR_MSG,
    ROW_LEN,
    SOCK_DIAG_BY_FAMILY,
    TCPDIAG_GETSOCK,
    aligned,
)

# Up to this many bytes, 64 messages at most, are read one message at a time.
FEW_BYTES = 1024

# errno of a NLMSG_DONE or NLMSG_ERROR too short to hold one: EBADMSG of the kernel's generic table.
TOO_SHORT = 74


@dataclass(frozen=True)
class Messages:
    """Messages in ascending order: offset and `nlmsg_len`, int64 (n,)."""

    offset: NDArray[np.int64]
    length: NDArray[np.int64]


def find_rows(chunk: Chunk, tally: Tally) -> Messages:
    """The messages of `chunk` that are rows; everything else goes to `tally`."""
    if not len(chunk.ends) or int(chunk.ends[-1] - chunk.starts[0]) <= FEW_BYTES:
        return _find_few(chunk, tally)
    words = chunk.data[: len(chunk.data) & ~3].view(chunk.context.order + "u4")
    messages = _scan(chunk, words)
    if messages is None:
        found = walk_messages(chunk.data, chunk.context.order, chunk.starts, chunk.ends)
        messages = Messages(found.offset, found.length)
        for datagram, at in zip(found.broken_chain.tolist(), found.broken_at.tolist(), strict=True):
            tally.messages += 1
            tally.quarantined += 1
            tally.fault(at, int(chunk.ends[datagram]) - at, "no whole message")
    tally.messages += len(messages.offset)
    if not len(messages.offset):
        return messages
    return _judge(chunk, words, messages, tally)


def _find_few(chunk: Chunk, tally: Tally) -> Messages:
    """The same for a few messages."""
    read = struct.Struct(chunk.context.order + "IHHII").unpack_from
    rows: list[tuple[int, int]] = []
    for start, end in zip(chunk.starts.tolist(), chunk.ends.tolist(), strict=True):
        at, done = start, False
        while at < end:
            length, kind, flags, seq, port = read(chunk.data, at) if at + NLMSG_HDRLEN <= end else (0,) * 5
            tally.messages += 1
            if not NLMSG_HDRLEN <= length <= end - at:
                tally.quarantined += 1
                tally.fault(at, end - at, "no whole message")
                break
            mine = (chunk.seq is None or seq == chunk.seq) and (chunk.port is None or port == chunk.port)
            tally.interrupted |= bool(mine and flags & NLM_F_DUMP_INTR)
            if done:
                tally.quarantined += 1
                tally.fault(at, length, "after NLMSG_DONE")
            elif not mine:
                tally.control["foreign"] += 1
            elif flags & NLM_F_REQUEST or kind not in {SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK}:
                _control_message(chunk, at, length, kind, flags, tally)
                done = kind == NLMSG_DONE and not flags & NLM_F_REQUEST
            elif length < ROW_LEN:
                tally.quarantined += 1
                tally.fault(at, length, "shorter than inet_diag_msg")
            else:
                rows.append((at, length))
            at += aligned(length)
    tally.rows += len(rows)
    found = np.array(rows, np.int64).reshape(-1, 2)
    return Messages(np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1]))


def _scan(chunk: Chunk, words: NDArray[np.uint32]) -> Messages | None:
    """All messages by their sequence number, or None where that does not prove itself."""
    if chunk.seq is None or not len(chunk.ends) or (chunk.ends == chunk.starts).any():
        return None
    end = int(chunk.ends[-1])
    first_word = int(chunk.starts[0]) >> 2
    offset = (np.flatnonzero(words[first_word : end >> 2] == chunk.seq) + (first_word - 2)) << 2
    # Between two datagrams lies what earlier ones left in the buffer.
    first = np.searchsorted(offset, chunk.starts)
    stop = np.searchsorted(offset, chunk.ends - NLMSG_HDRLEN, side="right")
    if (first >= stop).any() or (offset[first] != chunk.starts).any():
        return None
    count = stop - first
    if count.sum() < len(offset):
        change = np.zeros(len(offset) + 1, np.int8)
        change[first] += 1
        change[stop] -= 1
        offset = offset[np.cumsum(change[:-1], dtype=np.int8) > 0]
        first = np.cumsum(count) - count
    length = words[offset >> 2].astype(np.int64)
    expected = np.empty_like(offset)
    expected[:-1] = offset[1:]
    expected[first[1:] - 1] = chunk.ends[:-1]
    expected[-1] = chunk.ends[-1]
    if (length < NLMSG_HDRLEN).any() or (offset + ((length + 3) & ~3) != expected).any():
        return None
    return Messages(offset, length)


def _judge(chunk: Chunk, words: NDArray[np.uint32], messages: Messages, tally: Tally) -> Messages:
    """Sorts messages into rows, control and quarantine."""
    word = messages.offset >> 2
    second = words[word + 1]
    big = chunk.context.order == ">"
    if _all_rows(chunk, words, messages, second, big=big):
        tally.rows += len(word)
        return messages
    kind = second >> np.uint32(16) if big else second & np.uint32(0xFFFF)
    flags = second & np.uint32(0xFFFF) if big else second >> np.uint32(16)
    mine = np.ones(len(word), np.bool_)
    if chunk.seq is not None:
        mine &= words[word + 2] == chunk.seq
    if chunk.port is not None:
        mine &= words[word + 3] == chunk.port
    rows = mine & ((kind == SOCK_DIAG_BY_FAMILY) | (kind == TCPDIAG_GETSOCK)) & (flags & NLM_F_REQUEST == 0)
    tally.interrupted |= bool((flags[mine] & NLM_F_DUMP_INTR).any())
    if not rows.all() or (messages.length < ROW_LEN).any():
        rows = _control(chunk, messages, kind, flags, mine, rows, tally)
        messages = Messages(messages.offset[rows], messages.length[rows])
    tally.rows += len(messages.offset)
    return messages


def _all_rows(
    chunk: Chunk, words: NDArray[np.uint32], messages: Messages, second: NDArray[np.uint32], *, big: bool
) -> bool:
    """Whether all messages are rows of our dump and nothing else is to be said of them, as it nearly always is."""
    both = int(second[0])
    kind, flags = (both >> 16, both & 0xFFFF) if big else (both & 0xFFFF, both >> 16)
    if kind not in {SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK} or flags != NLM_F_MULTI or (second != both).any():
        return False
    word = messages.offset >> 2
    if chunk.seq is not None and (words[word + 2] != chunk.seq).any():
        return False
    if chunk.port is not None and (words[word + 3] != chunk.port).any():
        return False
    return int(messages.length.min()) >= ROW_LEN


def _control(
    chunk: Chunk,
    messages: Messages,
    kind: NDArray[np.uint32],
    flags: NDArray[np.uint32],
    mine: NDArray[np.bool_],
    rows: NDArray[np.bool_],
    tally: Tally,
) -> NDArray[np.bool_]:
    """Counts all that is not a row; returns the rows, without those that are quarantined."""
    dones = np.flatnonzero(mine & (kind == NLMSG_DONE) & (flags & NLM_F_REQUEST == 0))
    behind = np.zeros(len(rows), np.bool_)
    if len(dones):
        datagram = np.searchsorted(chunk.starts, messages.offset, side="right") - 1
        done_at = np.full(len(chunk.starts), len(rows))
        np.minimum.at(done_at, datagram[dones], dones)
        behind = np.arange(len(rows)) > done_at[datagram]
    short = rows & (messages.length < ROW_LEN)
    for index in np.flatnonzero(behind | short | ~rows).tolist():
        offset, length = int(messages.offset[index]), int(messages.length[index])
        if behind[index]:
            tally.quarantined += 1
            tally.fault(offset, length, "after NLMSG_DONE")
        elif not mine[index]:
            tally.control["foreign"] += 1
        elif short[index]:
            tally.quarantined += 1
            tally.fault(offset, length, "shorter than inet_diag_msg")
        else:
            _control_message(chunk, offset, length, int(kind[index]), int(flags[index]), tally)
    return rows & ~behind & ~short


def _control_message(chunk: Chunk, offset: int, length: int, kind: int, flags: int, tally: Tally) -> None:
    if flags & NLM_F_REQUEST:
        tally.control["request"] += 1
    elif kind == NLMSG_DONE:
        tally.control["done"] += 1
        message = _kernel_message(chunk, offset, length, flags, done=True)
        tally.done = message or KernelMessage(TOO_SHORT, "a NLMSG_DONE without its error code")
    elif kind == NLMSG_ERROR:
        message = _kernel_message(chunk, offset, length, flags, done=False)
        if message is None:
            tally.quarantined += 1
            tally.fault(offset, length, "NLMSG_ERROR without its error code")
        elif message.errno == 0:
            tally.control["ack"] += 1
        else:
            tally.control["error"] += 1
            if len(tally.errors) < MAX_DESCRIBED:
                tally.errors.append(message)
    elif kind == NLMSG_OVERRUN:
        tally.control["overrun"] += 1
    else:
        tally.control["noop" if kind == NLMSG_NOOP else "other"] += 1


def _kernel_message(chunk: Chunk, offset: int, length: int, flags: int, *, done: bool) -> KernelMessage | None:
    """The errno of a `NLMSG_ERROR` or `NLMSG_DONE` and its text, None where it is too short for an errno.

    The text is NLMSGERR_ATTR_MSG behind the errno, in an error also behind the request it answers (its header alone
    with NLM_F_CAPPED); Documentation/userspace-api/netlink/intro.rst, "Ext ACK".
    """
    if length < NLMSG_HDRLEN + 4:
        return None
    order = chunk.context.order
    raw = chunk.data[offset + NLMSG_HDRLEN : offset + length].tobytes()
    code = abs(struct.unpack_from(order + "i", raw)[0])
    if not flags & NLM_F_ACK_TLVS:
        return KernelMessage(code)
    at = 4
    if not done and len(raw) >= 8:
        at += NLMSG_HDRLEN if flags & NLM_F_CAPPED else aligned(struct.unpack_from(order + "I", raw, 4)[0])
    while at + NLA_HDRLEN <= len(raw):
        size, kind = struct.unpack_from(order + "HH", raw, at)
        if size < NLA_HDRLEN or at + size > len(raw):
            break
        if kind == NLMSGERR_ATTR_MSG:
            return KernelMessage(code, raw[at + NLA_HDRLEN : at + size].rstrip(b"\0").decode("utf-8", "replace"))
        at += aligned(size)
    return KernelMessage(code)
