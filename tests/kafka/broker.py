"""A real Kafka broker for tests: one node, KRaft, on ports of the loopback that are its own.

Its jars come from Maven Central by tests/kafka/pom.xml, once, into ${XDG_CACHE_HOME:-~/.cache}/xtcp. It makes no topic
by itself, so that a missing one is missing. Four listeners: plain, SASL/PLAIN for `USER`, TLS, and the controller's.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs re-export none of them
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from tests.conftest import require_program
from tests.patience import patient

POM: Final = Path(__file__).with_name("pom.xml")
USER: Final = "xtcp"
PASSWORD: Final = "right&proper=1"
START_S: Final = 60.0
_JAVA: Final = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


def jars() -> Path:
    """The folder of the broker's jars; fetched first where it is not there, by one test run at a time."""
    maven = require_program("mvn", "maven")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xtcp"
    folder = cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            fresh = folder.with_suffix(".tmp")
            shutil.rmtree(fresh, ignore_errors=True)
            goal = ("dependency:copy-dependencies", f"-DoutputDirectory={fresh}")
            done = subprocess.run([maven, "-q", "-B", "-f", POM, *goal], capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(fresh, ignore_errors=True)
                pytest.skip(f"Maven cannot fetch the broker's jars: {(done.stdout + done.stderr).strip()[-300:]}")
            fresh.rename(folder)
    return folder


class Broker:
    """The broker, started; `kill`, `stop` and `start` it again as often as wanted: its data stay."""

    def __init__(self, folder: Path) -> None:
        self._java = require_program("java", "openjdk-17-jre-headless")
        self._jars = jars()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.ExitStack() as kept:
            sockets = [kept.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
            plain, sasl, tls, controller = (s.getsockname()[1] for s in sockets)
        self.address, self.sasl, self.tls = (f"127.0.0.1:{port}" for port in (plain, sasl, tls))
        self._certify()
        self._configure(controller)
        self._run("format", "kafka.tools.StorageTool", "format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c")
        try:
            self.start()
        except BaseException:
            self.kill()
            raise

    @property
    def certificate(self) -> Path:
        """That of the TLS listener, signed by itself."""
        return self._folder / "certificate.pem"

    def _certify(self) -> None:
        openssl = require_program("openssl", "openssl")
        made = (*("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),)
        names = (
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            self._folder / "key.pem",
            "-out",
            self.certificate,
        )
        subprocess.run([openssl, *made, *names], check=True, capture_output=True)

    def _configure(self, controller: int) -> None:
        plain = f"PLAINTEXT://{self.address},SASL_PLAINTEXT://{self.sasl},SSL://{self.tls}"
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        pem = (self._folder / "key.pem", self.certificate)
        key, certificate = (path.read_text().strip().replace("\n", "\\n") for path in pem)
        protocols = ",".join(f"{name}:{name}" for name in ("PLAINTEXT", "SASL_PLAINTEXT", "SSL"))
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "listeners": f"{plain},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": plain,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": f"{protocols},CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{login} user_{USER}="{PASSWORD}";',
            "ssl.keystore.type": "PEM",
            "ssl.keystore.key": key,
            "ssl.keystore.certificate.chain": certificate,
            "log.dirs": str(self._folder / "data"),
            # One that was killed may come back when its session is over: 9 s, were it not said.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        (self._folder / "server.properties").write_text(text)

    def _command(self, *arguments: str) -> list[str]:
        level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        properties = str(self._folder / "server.properties")
        return [self._java, *_JAVA, level, "-cp", f"{self._jars}/*", *arguments, properties]

    def _run(self, what: str, *arguments: str) -> None:
        done = subprocess.run(self._command(*arguments), capture_output=True, text=True, check=False, timeout=START_S)
        assert done.returncode == 0, f"{what}: {done.stdout}{done.stderr}"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(self._command("kafka.Kafka"), stdout=log, stderr=log)
        end = time.monotonic() + START_S
        while True:
            assert self._process.poll() is None, (self._folder / "broker.log").read_text()[-3000:]
            try:
                if self.admin().list_topics(timeout=patient(1)).brokers:
                    return
            except KafkaException:
                assert time.monotonic() < end, (self._folder / "broker.log").read_text()[-3000:]

    def kill(self) -> None:
        """As the kernel would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an operator would."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(patient(30))

    def admin(self, **options: str) -> AdminClient:
        """A client that may do everything."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0, **options})

    def create(self, topic: str, partitions: int = 1, **config: str) -> str:
        """A new topic, there when this returns; `_` in the names of `config` stand for dots."""
        settings = {name.replace("_", "."): value for name, value in config.items()}
        admin = self.admin()
        made = admin.create_topics([NewTopic(topic, partitions, 1, config=settings)], operation_timeout=10)
        made[topic].result(20)
        end = time.monotonic() + patient(20)
        while topic not in admin.list_topics(timeout=patient(5)).topics:
            assert time.monotonic() < end
        return topic

    def alter(self, topic: str, name: str, value: str) -> None:
        """Another value of a topic's setting."""
        changed: Any = ConfigResource(ResourceType.TOPIC, topic)
        changed.add_incremental_config(ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET))
        admin = self.admin()
        for done in admin.incremental_alter_configs([changed]).values():
            done.result(20)
