"""A real Kafka broker with a topic, in a process of its own: `python -m tests.bench.kafka_broker TOPIC`.

Prints its address and stays until standard input ends. The bench itself stays small, or peaks of memory below its own
could not be told.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.kafka.broker import Broker


def main(topic: str) -> None:
    """Runs it."""
    with tempfile.TemporaryDirectory(prefix="xtcp-bench-kafka-") as folder:
        broker = Broker(Path(folder))
        try:
            broker.create(topic, retention_bytes="500000000")
            print(broker.address, flush=True)
            sys.stdin.read()
        finally:
            broker.kill()


if __name__ == "__main__":
    main(sys.argv[1])
