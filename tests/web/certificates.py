"""Certificates for tests, made by the openssl program."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import require_program


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl(
            *("req", "-x509", "-days", "2", "-subj", f"/CN={name}", "-out", str(self.pair.cert)),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(self.pair.key)),
        )

    def issue(self, name: str, names: str = "IP:127.0.0.1", days: int = 1) -> Pair:
        """A certificate for `names`; with `days` below 0 one that has expired."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        _openssl(
            *("req", "-new", "-subj", f"/CN={name}", "-out", str(request), "-nodes", "-keyout", str(pair.key)),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-out", str(pair.cert), "-extfile", str(extensions)),
            *("-CA", str(self.pair.cert), "-CAkey", str(self.pair.key), "-CAcreateserial", "-days", str(days)),
        )
        return pair


def _openssl(*arguments: str) -> None:
    program = require_program("openssl", "openssl")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
