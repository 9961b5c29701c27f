"""librdkafka's mock brokers in a process of their own: they can be stalled, killed, and told which errors to answer.

The mock cluster is part of the library that confluent-kafka brings; only its C interface has all of it
(librdkafka, src/rdkafka_mock.h). The process reads commands, a line each, and answers each with a line.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

import confluent_kafka

from tests.patience import patient

ROOT: Final = Path(__file__).resolve().parents[2]
PRODUCE: Final = 0  # ApiKey of a Produce request
METADATA: Final = 3


class MockBrokers:
    """The process; ended at the end of `with`."""

    def __init__(self, count: int = 3) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kafka.mock_brokers", str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.address = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _command(self, *words: object) -> None:
        assert self._process.stdin is not None
        print(*words, file=self._process.stdin, flush=True)
        assert self._answer() == "ok"

    def topic(self, name: str, partitions: int = 1) -> str:
        """A topic; one that is not made so has four partitions."""
        self._command("topic", name, partitions)
        return name

    def errors(self, request: int, *codes: int) -> None:
        """The next requests of this kind are answered with these errors of the protocol, one after the other."""
        self._command("errors", request, *codes)

    def leader(self, topic: str, broker: int) -> None:
        """Partition 0 is led by another broker."""
        self._command("leader", topic, broker)

    def stall(self) -> None:
        """They answer nothing, and their connections stay open."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `stall`."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """For good."""
        self._process.kill()
        self._process.wait(patient(10))
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def _library() -> ctypes.CDLL:
    """The library that confluent-kafka itself uses: inside its wheel, or the system's."""
    package = Path(confluent_kafka.__file__).parent
    found = sorted(package.parent.glob("confluent_kafka.libs/librdkafka*.so*"))
    name = str(found[0]) if found else ctypes.util.find_library("rdkafka")
    library = ctypes.CDLL(name)
    pointers = ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new")
    for function in pointers:
        getattr(library, function).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


def _serve(count: int) -> None:
    library = _library()
    text = ctypes.create_string_buffer(512)
    client = library.rd_kafka_new(0, ctypes.c_void_p(library.rd_kafka_conf_new()), text, ctypes.c_size_t(len(text)))
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(ctypes.c_void_p(client), count))
    print(library.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
    for line in sys.stdin:
        command, *words = line.split()
        if command == "errors":
            request, *codes = map(int, words)
            array = (ctypes.c_int * len(codes))(*codes)
            push = library.rd_kafka_mock_push_request_errors_array
            push(cluster, ctypes.c_int16(request), ctypes.c_size_t(len(codes)), array)
        elif command == "leader":
            library.rd_kafka_mock_partition_set_leader(cluster, words[0].encode(), 0, int(words[1]))
        else:
            library.rd_kafka_mock_topic_create(cluster, words[0].encode(), int(words[1]), 1)
        print("ok", flush=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
