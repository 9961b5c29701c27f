"""Far sides that can be stopped: mock brokers, a stream socket, a named pipe, datagrams and statsd, a deaf HTTP server.

Started in a network namespace as `python -m tests.bench.far_sides FOLDER`; prints its destinations, one a line, and
reads everything until standard input ends. A SIGSTOP stalls all of them at once. The HTTP server answers nobody.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
from pathlib import Path
from typing import Final

from confluent_kafka import Producer

_PIECE: Final = 1 << 20


def main(folder: Path) -> None:
    """Opens all, says where they are, reads."""
    producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 0})
    brokers = producer.list_topics(timeout=10).brokers
    broker = next(iter(brokers.values()))
    chosen = selectors.DefaultSelector()

    stream = socket.socket(socket.AF_UNIX)
    stream.bind(str(folder / "stream"))
    stream.listen(4)
    chosen.register(stream, selectors.EVENT_READ, "listener")

    pipe = folder / "pipe"
    os.mkfifo(pipe)
    chosen.register(os.open(pipe, os.O_RDWR | os.O_NONBLOCK), selectors.EVENT_READ, "pipe")

    records = _datagrams(chosen)
    statsd = _datagrams(chosen)

    deaf = socket.create_server(("127.0.0.1", 0))
    for destination in (
        f"kafka:{broker.host}:{broker.port}/farm",
        f"unix:{folder}/stream",
        f"file:{pipe}?format=envelopes",
        f"udp:127.0.0.1:{records}?record=flat&sample=1",
        f"statsd:127.0.0.1:{statsd}",
        f"clickhouse:http://127.0.0.1:{deaf.getsockname()[1]}/default.sockets",
    ):
        print(destination)
    print(flush=True)

    os.set_blocking(sys.stdin.fileno(), False)
    chosen.register(sys.stdin, selectors.EVENT_READ, "end")
    while _read(chosen):
        producer.poll(0)


def _datagrams(chosen: selectors.BaseSelector) -> int:
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.bind(("127.0.0.1", 0))
    end.setblocking(False)
    chosen.register(end, selectors.EVENT_READ, "stream")
    return int(end.getsockname()[1])


def _read(chosen: selectors.BaseSelector) -> bool:
    """What is there, from all; False once standard input has ended."""
    for key, _ in chosen.select(1.0):
        ready = key.fileobj
        if key.data == "end":
            return False
        if key.data == "listener":
            assert isinstance(ready, socket.socket)
            peer, _ = ready.accept()
            peer.setblocking(False)
            chosen.register(peer, selectors.EVENT_READ, "stream")
        elif key.data == "pipe":
            assert isinstance(ready, int)
            os.read(ready, _PIECE)
        elif isinstance(ready, socket.socket) and not ready.recv(_PIECE) and ready.family == socket.AF_UNIX:
            chosen.unregister(ready)
            ready.close()
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
