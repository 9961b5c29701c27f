"""What is at which path, as an ASGI application. Four paths; everything else is 404, every other method 405.

The text of /metrics is the one in memory: no request polls the kernel. A request with a body is refused unread. The
query is not looked at.
"""

from __future__ import annotations

import html
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final, TypeAlias

from xtcp import __version__
from xtcp.metrics.exposition import Exposition
from xtcp.web.configuration import WebConfiguration
from xtcp.web.passwords import Passwords, TooManyWaiting

_log: Final = logging.getLogger(__name__)

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_TEXT: Final = "text/plain; charset=utf-8"
_ALWAYS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_CLOSE: Final = {"Connection": "close"}
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>xtcp</title></head>
<body><h1>xtcp {version}</h1>
<p>Every TCP socket of this host, read from the kernel.</p>
<ul><li><a href="/metrics">/metrics</a>: for Prometheus</li>
<li><a href="/-/healthy">/-/healthy</a>: {healthy}</li>
<li><a href="/-/ready">/-/ready</a>: {ready}</li></ul>
{reasons}</body></html>
"""


@dataclass(frozen=True)
class Answer:
    """What a request is answered with; `headers` are those that other answers do not have."""

    status: int
    body: bytes
    content_type: str = _TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


class Application:
    """`answers` counts by status. `configure` exchanges headers and users while requests go on."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._passwords = Passwords({})
        self._headers = dict(_ALWAYS)
        self.answers: Counter[int] = Counter()

    def configure(self, configuration: WebConfiguration) -> None:
        """Takes headers and users. Raises `ConfigurationError` where bcrypt is needed and not there."""
        passwords = Passwords(configuration.users)
        self._passwords.close()
        self._passwords = passwords
        self._headers = {**_ALWAYS, **configuration.headers}

    def close(self) -> None:
        """Ends what it has running."""
        self._passwords.close()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:  # noqa: ARG002 - bodies are refused
        """One request."""
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope)
        except Exception:  # noqa: BLE001 - one request's fault is not the server's
            _log.exception("a request failed by a fault of this program")
            answer = Answer(500, b"This is a fault of xtcp.\n")
        self.answers[answer.status] += 1
        headers = {
            **self._headers,
            **answer.headers,
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            "Date": formatdate(usegmt=True),
        }
        sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Message) -> Answer:
        received = _received(scope)
        if scope["http_version"] not in {"1.0", "1.1"}:
            return Answer(505, b"Use HTTP/1.1.\n", headers=_CLOSE)
        if received.get("content-length", "0") != "0" or "transfer-encoding" in received:
            return Answer(413, b"A request here has no body.\n", headers=_CLOSE)
        try:
            if not await self._passwords.allows(received.get("authorization", "")):
                return Answer(401, b"Unauthorized\n", headers={"WWW-Authenticate": 'Basic realm="xtcp"'})
        except TooManyWaiting:
            return Answer(503, b"Too many passwords are being checked.\n", headers={"Retry-After": "5"})
        page = _PAGES.get(scope["path"])
        if page is None:
            return Answer(404, b"There is nothing here. What there is: / /metrics /-/healthy /-/ready\n")
        if scope["method"] not in {"GET", "HEAD"}:
            return Answer(405, b"Use GET or HEAD.\n", headers={"Allow": "GET, HEAD", **_CLOSE})
        return page(self._exposition, received)


def _received(scope: Message) -> dict[str, str]:
    """Headers by name; those that come several times are one, as HTTP has it."""
    found: dict[str, str] = {}
    for raw_name, raw in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw.decode("latin-1")
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _metrics(exposition: Exposition, received: dict[str, str]) -> Answer:
    text = exposition.text(received.get("accept", ""), received.get("accept-encoding", ""))
    headers = {"Vary": "Accept, Accept-Encoding"}
    if text.encoding:
        headers["Content-Encoding"] = text.encoding
    return Answer(200, text.body, text.content_type, headers)


def _healthy(exposition: Exposition, _: dict[str, str]) -> Answer:
    verdict = exposition.verdict
    return _verdict(verdict.healthy, verdict.reasons)


def _ready(exposition: Exposition, _: dict[str, str]) -> Answer:
    verdict = exposition.verdict
    return _verdict(verdict.ready, verdict.reasons)


def _verdict(good: bool, reasons: tuple[str, ...]) -> Answer:
    said = "".join(f"{reason}\n" for reason in reasons).encode("utf-8", "backslashreplace")
    return Answer(200, b"OK\n") if good else Answer(503, said or b"not yet\n")


def _landing(exposition: Exposition, _: dict[str, str]) -> Answer:
    verdict = exposition.verdict
    reasons = "".join(f"<p>{html.escape(reason)}</p>\n" for reason in verdict.reasons)
    page = _PAGE.format(
        version=html.escape(__version__),
        healthy="yes" if verdict.healthy else "no",
        ready="yes" if verdict.ready else "no",
        reasons=reasons,
    )
    return Answer(200, page.encode("utf-8", "backslashreplace"), "text/html; charset=utf-8")


_PAGES: Final[dict[str, Callable[[Exposition, dict[str, str]], Answer]]] = {
    "/": _landing,
    "/metrics": _metrics,
    "/-/healthy": _healthy,
    "/-/ready": _ready,
}
