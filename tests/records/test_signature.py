"""Signed datagrams: what is believed and what is not."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtcp.errors import ConfigurationError, UsageError, XtcpError
from xtcp.records.signature import (
    FOOTER,
    OUT_OF_TIME,
    UNKNOWN_KEY,
    UNSIGNED,
    WINDOW_S,
    WRONG,
    Keys,
    is_signed,
)

OLD, NEW = b"an old key, 16 bytes", b"a new key of the fleet"
NOW = 1_790_000_000 * 10**9


@given(st.binary(min_size=1, max_size=100), st.data())
def test_a_footer_is_believed_until_one_bit_changes(datagram: bytes, data: st.DataObject) -> None:
    """Whatever bit changes, in the datagram or in the footer, it is believed no more."""
    keys = Keys(NEW, OLD)
    signed = datagram + Keys(OLD).footer(datagram, NOW)
    assert len(signed) == len(datagram) + FOOTER
    assert keys.fault(signed, NOW) is None
    bit = data.draw(st.integers(0, 8 * len(signed) - 1))
    changed = bytearray(signed)
    changed[bit // 8] ^= 1 << bit % 8
    assert keys.fault(changed, NOW) in (WRONG, UNKNOWN_KEY, UNSIGNED)


def test_the_footer_is_what_its_text_says() -> None:
    """Made again by hand from the module's description."""
    said = hashlib.sha256(b"xtcp key id\0" + NEW).digest()[:8] + NOW.to_bytes(8, "big")
    mac = hmac.digest(NEW, b"datagram" + said, "sha256")[:16]
    assert Keys(NEW).footer(b"datagram", NOW) == said + mac + b"XTS1"


def test_time_and_keys() -> None:
    """Five minutes to both sides; another key; none at all."""
    signed = b"x" + Keys(NEW).footer(b"x", NOW)
    for off, fault in ((WINDOW_S, None), (-WINDOW_S, None), (WINDOW_S + 1, OUT_OF_TIME), (-WINDOW_S - 1, OUT_OF_TIME)):
        assert Keys(NEW).fault(signed, NOW + off * 10**9) == fault
    assert Keys(OLD).fault(signed, NOW) == UNKNOWN_KEY
    assert Keys(OLD).fault(b"x", NOW) == UNSIGNED
    assert not is_signed(signed[1:])


def test_key_files(tmp_path: Path) -> None:
    """A key a line; not one that everybody may read, none that is short, none at all."""
    file = tmp_path / "keys"
    file.write_bytes(b"# of the fleet\n\n  " + NEW + b"\r\n" + OLD + b"\n")
    file.chmod(0o640)
    keys = Keys.of_file(str(file))
    assert keys.footer(b"x", NOW) == Keys(NEW).footer(b"x", NOW)
    assert keys.fault(b"x" + Keys(OLD).footer(b"x", NOW), NOW) is None
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="everybody"):
        Keys.of_file(str(file))
    file.chmod(0o600)
    for text in (b"# nothing\n", b"short\n"):
        file.write_bytes(text)
        with pytest.raises(ConfigurationError):
            Keys.of_file(str(file))
    with pytest.raises(UsageError):
        Keys.of_file(str(tmp_path / "none"))
    with pytest.raises(XtcpError):
        Keys.of_file(str(tmp_path))
