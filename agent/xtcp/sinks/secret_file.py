"""A secret that stands in a file, so that it stands on no command line: the first line, without its end."""

from __future__ import annotations

from pathlib import Path

from xtcp.errors import ConfigurationError
from xtcp.sinks.text_file import file_error


def secret_in(path: str, option: str) -> str:
    """The secret. Raises `XtcpError`, which names the file and the `option` that named it."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise file_error(path, error, option) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not text in UTF-8.", f"{option} names it.", "Name another file.") from error
    if not lines or not lines[0]:
        raise ConfigurationError(f"{path}: its first line is empty.", f"{option} names it.", "Write the secret there.")
    if not lines[0].isprintable():
        what = f"{path}: its first line has characters that do not print."
        raise ConfigurationError(what, f"{option} names it.", "Write the secret there, and nothing else.")
    return lines[0]
