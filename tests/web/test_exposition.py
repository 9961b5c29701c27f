"""The text that is scraped: what promtool says of it, what it says of an agent, what hostile names do to it."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.conftest import require_program
from tests.health.made import Clock, connection, poll
from tests.health.made import hostile as hostile_rows
from tests.health.made import trailer as health_trailer
from tests.patience import fewer
from tests.web.states import HOSTILE_NAMES, hostile, ordinary, trailer
from xtcp.errors import PermissionMissing, UsageError
from xtcp.health.health import Health
from xtcp.health.snapshot import HealthSnapshot
from xtcp.metrics.agent_state import WebState, rows_by_family
from xtcp.metrics.exposition import Exposition
from xtcp.metrics.label import LONGEST, bounded, label
from xtcp.metrics.resources import resources
from xtcp.metrics.table import METRICS, render_markdown
from xtcp.metrics.textfile import write_textfile
from xtcp.metrics.xtcp_names import XTCP_NAMES

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def busy() -> HealthSnapshot:
    """A host with connections of several classes, polled twice."""
    health = Health({"web": [443]}, clock=Clock())
    snapshot = HealthSnapshot()
    for grown in (0, 1000):
        rows = [
            connection(
                n, tcpi_rtt=100 * n, tcpi_snd_cwnd=10, tcpi_bytes_sent=grown * n, tcpi_delivery_rate=n, cong=cong
            )
            for n, cong in enumerate((b"cubic", b"bbr", b"strange"), 1)
        ]
        snapshot = poll(health, [{"idiag_cookie": 99, "idiag_state": 10, "idiag_sport": 443}, *rows])
    return snapshot


def exposition(**options: bool) -> Exposition:
    """One that has everything."""
    made = Exposition(**options)
    made.web = lambda: WebState(3, {200: 5, 404: 1}, {"slow": 2})
    made.publish(ordinary(), busy())
    return made


def values(made: Exposition) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels, as the library's parser reads them; no two are alike."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in parse(made.text().body.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


@pytest.mark.parametrize("compatible", [False, True])
def test_promtool_finds_nothing(compatible: bool) -> None:
    """`promtool check metrics` is clean."""
    assert promtool(exposition(xtcp_names=compatible).text().body) == ""


def promtool(text: bytes) -> str:
    """What `promtool check metrics` has to say."""
    program = require_program("promtool", "prometheus")
    done = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode()


def openmetrics_names(text: bytes) -> set[str]:
    """The families that the library's strict parser finds."""
    return {family.name for family in parse_openmetrics(text.decode())}  # type: ignore[no-untyped-call]


def test_promtool_would_find_something() -> None:
    """The witness is awake."""
    assert "_total" in promtool(b"# TYPE x counter\nx 1\n")


def test_every_metric_of_the_table_appears() -> None:
    """An agent with everything shows the whole table, and nothing that is not in it."""
    made = exposition(xtcp_names=True)
    shown = {sample.name for sample in made.samples()}
    lacking = {"xtcp_pacing_rate_bytes_per_second", "xtcp_min_rtt_seconds", "xtcp_lost_segments"}
    queues = {m.name for m in METRICS if m.name.startswith(("xtcp_accept_", "xtcp_receive_queue", "xtcp_send_queue"))}
    assert {metric.name for metric in (*METRICS, *XTCP_NAMES)} - shown <= lacking | queues
    assert len({metric.name for metric in (*METRICS, *XTCP_NAMES)}) == len(METRICS) + len(XTCP_NAMES)


def test_values() -> None:
    """Some of them, by hand."""
    found = values(exposition(xtcp_names=True))
    assert found["xtcp_polls_total", ()] == 12
    assert found["xtcp_up", ()] == 1
    assert found["xtcp_last_poll_timestamp_seconds", ()] == pytest.approx(1_700_000_000.25)
    assert found["xtcp_rows_total", (("family", "inet6"), ("netns", "4026531840"))] == 30
    assert found["xtcp_sink_rows_dropped_total", (("reason", "queue"), ("sink", "udp:127.0.0.1:13000"))] == 6
    assert found["xtcp_sink_rows_missing", (("sink", "udp:127.0.0.1:13000"),)] == 0
    assert found["xtcp_poll_duration_seconds_bucket", (("le", "0.25"),)] == 1
    assert found["xtcp_poll_duration_seconds_bucket", (("le", "0.1"),)] == 0
    web = (("cc", "cubic"), ("direction", "outbound"), ("group", "web"))
    assert found["xtcp_sent_bytes_total", web] == 1000
    assert found["xtcp_rtt_seconds_count", web] == 2
    assert found["xtcp_rtt_seconds_sum", web] == pytest.approx(2 * 100e-6)
    assert found["xtcp_sockets", (("state", "ESTAB"),)] == 3
    assert found["xtcp_poller_loops", (("af", "v4"),)] == 12
    assert found["xtcp_web_requests_total", (("code", "404"),)] == 1


def test_a_poll_counts_once() -> None:
    """Published again for another reason, the same poll is not another observation."""
    made = Exposition()
    for poll_id in (1, 1, 2, 2):
        made.publish(ordinary(poll_id))
    assert values(made)["xtcp_poll_duration_seconds_count", ()] == 2


def test_an_incomplete_poll_is_down() -> None:
    """`xtcp_up` says what the kernel answered, not that a thread is alive."""
    made = Exposition()
    made.publish(ordinary(trailer=trailer(1, "deadline")))
    assert values(made)["xtcp_up", ()] == 0


def test_formats_and_encodings() -> None:
    """The library chooses the format by Accept; gzip where it is asked for; OpenMetrics ends with # EOF."""
    made = exposition()
    plain, zipped = made.text("", ""), made.text("*/*", "deflate, GZIP;q=1.0")
    assert plain.encoding == "" and zipped.encoding == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    assert plain.content_type.startswith("text/plain; version=")
    openmetrics = made.text(OPENMETRICS, "")
    assert openmetrics.content_type.startswith("application/openmetrics-text")
    assert openmetrics.body.endswith(b"# EOF\n")
    assert {"xtcp_polls", "xtcp_rtt_seconds"} <= openmetrics_names(openmetrics.body)


def test_fault_86_no_header_makes_more_texts() -> None:
    """Who asks for versions that nobody has, one after the other, gets the plain text, always the same one."""
    made = exposition()
    plain = made.text()
    for version in (*(f"1.0.{n}" for n in range(1, 50)), "x" * 10_000, "", "-1", "1.0.0.0", "¹"):
        for kind in ("application/openmetrics-text", "text/plain"):
            assert made.text(f"{kind};version={version};escaping=values", "").body is plain.body
    newest = "application/openmetrics-text;version=2.0.0;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5"
    assert made.text(newest).content_type.startswith("application/openmetrics-text; version=1.0.0")


def test_text_is_built_once() -> None:
    """Until something is published the same bytes are served, the very same object."""
    made = exposition()
    assert made.text().body is made.text().body
    before = made.text("", "gzip")
    made.publish(ordinary(2))
    assert made.text("", "gzip") is not before


def test_fault_88_hostile_names_do_not_break_the_exposition() -> None:
    """Quotes, line feeds, NUL, escapes, lone surrogates, 10 kB: promtool and both parsers read all of it."""
    made = Exposition()
    made.publish(hostile(), busy())
    assert promtool(made.text().body) == ""
    found = values(made)
    sinks = [labels for name, labels in found if name == "xtcp_sink_up"]
    assert len(sinks) == len(HOSTILE_NAMES)
    assert all(len(value) <= LONGEST for _, labels in found for _, value in labels)
    assert all(value.isprintable() for _, labels in found for _, value in labels)
    assert "xtcp_sink_up" in openmetrics_names(made.text(OPENMETRICS).body)


def test_label_values() -> None:
    """What does not print is shown as an escape; two long names stay two."""
    assert label("a\0b\n\udc80\x1b") == "a\\x00b\\n\\udc80\\x1b"
    assert label("plain") == "plain"
    long, other = label("x" * 1000), label("x" * 999 + "y")
    assert len(long) == LONGEST and long != other
    assert set(bounded(map(str, range(100)), 10).values()) == {*map(str, range(10)), "other"}


def test_fault_90_no_more_series_however_many_names() -> None:
    """Namespaces, reasons and features beyond 64 are `other`; classes are bounded by the configuration."""
    made = Exposition()
    health = Health({"web": [80, 443], "mail": [25, 587]}, clock=Clock(), most=1 << 16)
    counts = []
    for turn, (many, batches) in enumerate(((100, 1), (100, 1), (10_000, fewer(100)))):
        for number in range(batches):
            health.observe(hostile_rows(20_000, seed=1000 * turn + number))
        state = ordinary(
            turn,
            failed={f"r{n}": 1 for n in range(many)},
            shed={f"s{n}": 1 for n in range(many)},
            rows={(f"n{n}", family): 1 for n in range(many) for family in ("inet", "inet6")},
            features={f"f{n}": True for n in range(many)},
        )
        made.publish(state, health.end_poll(health_trailer()))
        counts.append(len(values(made)))
    assert counts[1] == counts[2]
    # 2 directions, 3 groups, 7 congestion controls: 42 classes of 96 buckets, sums and counts, and 12 counters.
    assert counts[2] < 42 * (12 + 110) + 600
    assert sum(v for (name, _), v in values(made).items() if name == "xtcp_rows_total") == 20_000


def test_the_document_has_every_metric() -> None:
    """A line a metric, with its labels."""
    lines = render_markdown().splitlines()
    assert len(lines) == len(METRICS) + 2
    assert "| `xtcp_sockets` | gauge | state | Sockets in the last complete poll, by state as ss names it |" in lines


def test_textfile(tmp_path: Path) -> None:
    """The file is whole, readable by others, ends in .prom, and nothing is left beside it."""
    made = exposition()
    write_textfile(tmp_path / "xtcp.prom", made)
    assert (tmp_path / "xtcp.prom").read_bytes() == made.text().body
    assert (tmp_path / "xtcp.prom").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["xtcp.prom"]
    with pytest.raises(UsageError, match=r"\.prom"):
        write_textfile(tmp_path / "xtcp.txt", made)
    with pytest.raises(PermissionMissing, match="cannot be written"):
        write_textfile(tmp_path / "missing" / "xtcp.prom", made)


@pytest.mark.live
def test_resources_of_this_process() -> None:
    """What /proc says, within reason."""
    used = resources()
    assert used.rss_bytes > 10 << 20 and used.virtual_bytes > used.rss_bytes
    assert used.threads >= 1 and 0 < used.open_fds < used.max_fds
    assert used.cpu_seconds > 0 and used.start_time_s > 1_600_000_000


def test_rows_by_family() -> None:
    """Rows are counted by the batch's namespace and each row's family."""
    from tests.batches import batch_of
    from xtcp.chunk import Context

    batch = batch_of([{"idiag_family": family} for family in (2, 2, 10, 1)], Context(netns="n"))
    assert rows_by_family(batch) == {("n", "inet"): 2, ("n", "inet6"): 1, ("n", "other"): 1}
