"""The agent's loop with clocks and a kernel of the test's: time, faults, refusals, memory."""

from __future__ import annotations

import errno
from itertools import chain, repeat
from typing import Any

import pytest

from tests.daemon.world import START_WALL, World
from tests.fake_kernel import done, error, row
from xtcp.batch import Batch
from xtcp.daemon.clocks import NS
from xtcp.daemon.memory import Memory
from xtcp.daemon.schedule import phase
from xtcp.errors import ExitCode, KernelRefused, XtcpError
from xtcp.netlink.arena import SLOT
from xtcp.poll.one_pass import OnePass
from xtcp.poll.trailer import Trailer
from xtcp.sinks.schemes import DEFAULT_BYTES


@pytest.fixture(autouse=True)
def one_pass(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The comparison of the two requests needs a kernel; how often it was made."""
    asked: list[int] = []

    def verify() -> OnePass:
        asked.append(1)
        return OnePass(True, "a kernel of the tests")

    monkeypatch.setattr("xtcp.daemon.poller.verify", verify)
    return asked


def watched(world: World) -> list[Trailer]:
    """The trailers that the sinks are given from here on."""
    trailers: list[Trailer] = []
    end_poll = world.agent.outlets.fan.end_poll

    def note(trailer: Trailer) -> None:
        trailers.append(trailer)
        end_poll(trailer)

    world.agent.outlets.fan.end_poll = note  # type: ignore[method-assign]
    return trailers


def test_polls_are_counted_and_end() -> None:
    """Three polls of two sockets, on the grid, and every row accounted for."""
    world = World(max_loops="3", frequency="30s")
    assert world.run() == 0
    assert len(world.begun()) == 3
    assert world.pauses()[1] == 30
    assert world.kernel.begun[1] % (30 * NS) == phase("a host of the tests", 30 * NS)
    (balance,) = world.agent.outlets.fan.ledger.snapshot()
    assert (balance.offered, balance.accepted, balance.balanced) == (6, 6, True)
    state = world.agent.state()
    assert (state.polls, state.messages, dict(state.rows)) == (3, 9, {(state.trailer.netns, "inet"): 6})  # type: ignore[union-attr]
    assert [line["event"] for line in world.events] == ["started", *["poll"] * 3, "ledger", "ended"]


def test_sequence_numbers_begin_where_they_are_told() -> None:
    """--nlmsg-seq 666, as xTCP has it: one more for each request, and never 0."""
    world = World(max_loops="3", nlmsg_seq="666")
    world.run()
    assert world.kernel.sequences == [666, 667, 668]
    world = World(max_loops="2", nlmsg_seq="4294967295")
    world.run()
    assert world.kernel.sequences == [4294967295, 1]


@pytest.mark.parametrize(("flag", "families"), [("ipv4", [2]), ("ipv6", [10]), ("", [0])])
def test_families(flag: str, families: list[int]) -> None:
    """-4 and -6 ask for one family, neither for both in one pass."""
    world = World(max_loops="1", flags={flag: "true"} if flag else {})
    assert world.run() == 0
    assert world.kernel.families == families


@pytest.mark.parametrize("step", [3600.0, -3600.0, -(START_WALL / NS)])
def test_fault_72_a_step_of_the_wall_clock(step: float) -> None:
    """An hour ahead, an hour back, 1970: the interval stays, the poll behind the step is flagged, the next is not."""
    world = World(max_loops="4")
    trailers = watched(world)
    world.on_wait = lambda: world.time.set_wall(step) if len(world.waits) == 2 else None
    assert world.run() == 0
    assert world.pauses()[1:] == [30, 30]
    in_1970 = world.time.wall < 10**15
    assert [("clock" in trailer.flags) for trailer in trailers] == [False, False, True, in_1970]
    (told,) = world.named("clock_stepped")
    assert told["seconds"] == pytest.approx(step)


def test_fault_72_partitions_are_by_the_start_of_the_poll() -> None:
    """The time that rows and trailer carry is the wall clock at the start of the poll, stepped or not."""
    world = World(max_loops="1")
    trailers = watched(world)
    world.run()
    assert trailers[0].poll_id == trailers[0].wall_start_ns


def test_fault_73_suspend_and_resume() -> None:
    """Two hours of sleep: one poll when it is due, none to catch up, and the trailer tells how long it was."""
    world = World(max_loops="4")
    trailers = watched(world)
    world.on_wait = lambda: world.time.sleep(7200) if len(world.waits) == 2 else None
    assert world.run() == 0
    assert world.pauses()[1:] == [30, 30]
    assert [trailer.suspended_ns for trailer in trailers] == [0, 0, 7200 * NS, 0]
    assert not any("clock" in trailer.flags for trailer in trailers)
    assert world.agent.state().overruns == 0
    assert world.named("host_slept")[0]["seconds"] == 7200


def test_fault_74_a_poll_longer_than_the_interval() -> None:
    """Ticks are skipped and counted, polls never overlap, and both are warned of."""
    world = World(max_loops="4", frequency="10s", takes=25.0, deadline="1h")
    world.run()
    assert all(pause >= 25 for pause in world.pauses())
    state = world.agent.state()
    assert state.overruns >= 2 * 3
    assert world.named("ticks_skipped")


def test_fault_74_a_long_poll_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above 80 % of the interval, xTCP's own rule; below it nothing is said."""
    for takes, expected in ((7.9, 0), (8.1, 3)):
        world = World(max_loops="3", frequency="10s", takes=takes)
        # The trailer's own clock is the poll's.
        monkeypatch.setattr("xtcp.poll.live.time.monotonic_ns", lambda world=world: world.time.monotonic)
        world.run()
        assert world.agent.state().long_polls == expected
        assert len(world.named("long_poll")) == expected


def test_the_deadline_is_of_the_whole_poll() -> None:
    """A poll above it is broken off where it is; its trailer says so, it counts as failed, the next one is taken."""
    world = World(max_loops="2", deadline="5s", answers=repeat([row(1), row(2), row(3), done()]))
    trailers = watched(world)
    world.agent._notifier.progress = lambda: world.time.pass_(6)  # type: ignore[method-assign]
    world.agent.poller._progress = world.agent._notifier.progress
    world.run()
    assert "deadline" in trailers[0].flags
    assert world.agent.state().failed["deadline"] == 2


# --- memory ---


def test_fault_76_rows_are_shed_before_the_cap() -> None:
    """At 90 % the rows of the newest poll go to no sink, each account says so, and the trailer; below, all goes on."""
    used = iter(chain([50] * 3, [85] * 3, [95] * 3, repeat(50)))
    memory = Memory(100, used=lambda: next(used), trim=lambda: None)
    world = World(max_loops="4", memory=memory)
    trailers = watched(world)
    assert world.run() == ExitCode.TEMPORARY
    (balance,) = world.agent.outlets.fan.ledger.snapshot()
    assert (balance.offered, balance.accepted, dict(balance.dropped)) == (8, 6, {"shed": 2})
    assert balance.balanced
    assert [("shed" in trailer.flags) for trailer in trailers] == [False, False, True, False]
    # Histories go first: in the second poll rows went on, figures did not.
    assert world.agent.state().shed == {"histories": 4, "shed": 2}
    assert world.agent.state().failed == {"shed": 1}


def test_fault_76_three_polls_above_the_cap_end_it() -> None:
    """What is shed may not be enough: after the third poll above the cap the agent ends with 75, and says why."""
    world = World(memory=Memory(100, used=lambda: 101, trim=lambda: None))
    with pytest.raises(XtcpError, match="after each of the last polls") as raised:
        world.run()
    assert raised.value.exit_code is ExitCode.TEMPORARY
    assert world.agent.state().polls == 3


def test_fault_76_one_poll_above_the_cap_does_not() -> None:
    """It takes three in a row."""
    used = iter(chain([101, 101, 50] * 40, repeat(50)))
    world = World(max_loops="10", memory=Memory(100, used=lambda: next(used), trim=lambda: None))
    world.run()
    assert world.agent.state().polls == 10


def test_fault_76_queues_cannot_grow_above_their_share() -> None:
    """The queues of all sinks together have an eighth of the limit, one whose size somebody named up to half."""
    memory = Memory(512 << 20)
    for sinks in (2, 3, 9, 50):
        assert sinks * memory.queue_bytes(DEFAULT_BYTES, sinks) <= 64 << 20
    assert memory.queue_bytes(DEFAULT_BYTES, 1) == DEFAULT_BYTES
    assert [memory.queue_bytes(size, 9) for size in (100, 5 << 20, 1 << 30)] == [1 << 20, 5 << 20, 256 << 20]


# --- faults of ours ---


class Fault(Exception):
    """Something that nobody thought of."""


def breaking(world: World, stage: str) -> None:
    """Makes one stage of the agent fail in its second poll."""
    calls: dict[str, int] = {}

    def wrap(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def failing(*arguments: Any, **named: Any) -> Any:
            calls[name] = calls.get(name, 0) + 1
            # A poll is two chunks: its rows, and its end.
            if calls[name] == (3 if name == "decode" else 2):
                raise Fault(stage)
            return function(*arguments, **named)

        setattr(owner, name, failing)

    agent = world.agent
    owner, name = {
        "source": (agent.poller, "_make_dump"),
        "decode": (agent.poller._decoder, "decode"),
        "health": (agent._health, "observe"),
        "health's end": (agent._health, "end_poll"),
        "sinks": (agent.outlets.fan, "accept"),
        "sinks' end": (agent.outlets.fan, "end_poll"),
        "figures": (agent.figures, "polled"),
        "report": (agent._reporter, "polled"),
    }[stage]
    wrap(owner, name)


@pytest.mark.parametrize(
    "stage", ["source", "decode", "health", "health's end", "sinks", "sinks' end", "figures", "report"]
)
def test_fault_82_an_exception_in_a_stage_costs_one_poll(stage: str) -> None:
    """It is counted and logged with its traceback, the polls after it are taken, and the ledger holds."""
    world = World(max_loops="4")
    breaking(world, stage)
    assert world.run() == 0
    state = world.agent.state()
    assert state.failed["fault"] == 1
    assert state.polls >= 4
    (told,) = world.named("poll_lost")
    assert "Fault" in told["error"] and "Traceback" in told["traceback"]
    assert world.agent.outlets.fan.ledger.balanced()


@pytest.mark.parametrize("stage", ["source", "decode", "health", "sinks"])
def test_fault_82_sinks_hear_of_the_end_of_a_lost_poll(stage: str) -> None:
    """A poll that breaks in the middle has a trailer flagged as an error, so that nobody waits for its rest."""
    world = World(max_loops="3")
    trailers = watched(world)
    breaking(world, stage)
    world.run()
    assert [trailer.flags for trailer in trailers] == [(), ("error",), ()]


def test_fault_82_more_than_five_a_minute_end_it() -> None:
    """Pauses double: six faults within a minute are the end, with 70; every second fault of 30 s is not."""
    world = World(frequency="10ms", answers=repeat(Fault("always")))
    with pytest.raises(XtcpError, match="6 polls failed within a minute") as raised:
        world.run()
    assert raised.value.exit_code is ExitCode.INTERNAL
    pauses = [round(pause) for pause in world.pauses()]
    assert pauses == [1, 2, 4, 8, 16]
    slow = World(frequency="30s", max_loops="40", answers=repeat(Fault("always")))
    assert slow.run() == 0
    assert slow.agent.state().failed == {"fault": 40}


def test_fault_82_pauses_begin_anew_after_a_good_poll() -> None:
    """One fault an hour never makes the agent slow."""
    good = [row(1), done()]
    answers: list[Any] = [Fault("a"), Fault("b"), good, Fault("c"), good]
    world = World(frequency="10ms", max_loops="5", answers=answers)
    assert world.run() == 0
    pauses = [round(pause) for pause in world.pauses()]
    assert pauses == [1, 2, 0, 1]


# --- refusals of the kernel ---


def test_the_first_poll_is_refused() -> None:
    """No tcp_diag: the agent does not start, the exit code is 69, and the message says what to load."""
    world = World(answers=repeat([done(-errno.ENOENT)]))
    with pytest.raises(KernelRefused, match="ENOENT") as raised:
        world.run()
    assert raised.value.exit_code is ExitCode.UNAVAILABLE
    assert "modprobe tcp_diag" in str(raised.value)
    assert world.agent.state().polls == 1


def test_a_later_poll_is_refused(one_pass: list[int]) -> None:
    """It is counted and logged, the next is taken, and which request works is looked at again."""
    answers = iter([[row(1), done()], [error(errno.ENOENT)], [row(1), done()]])
    world = World(max_loops="3", answers=answers)
    assert world.run() == 0
    assert world.agent.state().failed == {"error": 1}
    assert "ENOENT" in world.named("kernel_refused")[0]["error"]
    assert len(one_pass) == 2


def test_no_memory_for_the_first_poll_is_no_end() -> None:
    """What may be there again in a moment is waited for."""
    world = World(max_loops="2", answers=iter([[error(errno.ENOBUFS)], [row(1), done()]]))
    assert world.run() == 0
    assert world.agent.state().failed == {"error": 1}


# --- the kill switch ---


def test_no_poll_while_the_disable_file_is_there(tmp_path: Any) -> None:
    """xTCP's disabler, done right: a file stops polls, its removal starts them, and neither restarts the agent."""
    switch = tmp_path / "off"
    world = World(max_loops="3", disable_file=str(switch))
    waits = 0

    def turn() -> None:
        nonlocal waits
        waits += 1
        if waits == 1:
            switch.touch()
        if waits == 3:
            assert not world.agent.state().verdict.ready
            assert world.agent.state().verdict.healthy
        if waits == 5:
            switch.unlink()

    world.on_wait = turn
    assert world.run() == 0
    begun = world.begun()
    assert len(begun) == 3
    assert begun[1] - begun[0] >= 3 * 30
    assert [line["event"] for line in world.events if "switched" in line["event"]] == [
        "polls_switched_off",
        "polls_switched_on",
    ]


# --- what is judged ---


def test_ready_and_healthy() -> None:
    """Ready after a good poll, not for long without one; healthy until it is hopeless."""
    world = World(max_loops="1")
    assert world.agent.state().verdict.ready is False
    world.run()
    assert world.agent.state().verdict.ready
    world.time.pass_(3 * 55 + 1)
    verdict = world.agent.state().verdict
    assert (verdict.ready, verdict.healthy) == (False, True)
    assert "ago" in verdict.reasons[0]
    world.time.pass_(600)
    assert not world.agent.state().verdict.healthy


def test_a_sink_that_loses_a_row_ends_with_70() -> None:
    """The ledger is checked at the end of every run."""
    world = World(max_loops="1")
    account = world.agent.outlets.fan.ledger.open("lossy")

    class Lossy:
        def observe(self, batch: Batch) -> None:
            account.offer(batch.rows)

    world.agent._view = Lossy()  # type: ignore[assignment]
    with pytest.raises(XtcpError, match="does not add up") as raised:
        world.run()
    assert raised.value.exit_code is ExitCode.INTERNAL


def test_fault_80_every_run_has_an_id_of_its_own() -> None:
    """A restart is told by it."""
    ids = {World().agent.state().run_id for _ in range(5)}
    assert len(ids) == 5


def test_the_state_says_how_large_a_datagrams_buffer_is() -> None:
    """xTCP's metric of it is made of this: what the arena begins with."""
    world = World(max_loops="1")
    world.run()
    assert world.agent.state().packet_bytes == SLOT
