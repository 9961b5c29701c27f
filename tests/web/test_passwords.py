"""Users: who is let in, what a wrong password costs, and that guessing holds up nobody."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import bcrypt

from tests.web.serving import ask, basic, serving, written
from xtcp.web.passwords import Passwords, TooManyWaiting

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()


def test_fault_87_passwords(tmp_path: Path) -> None:
    """The right one is served on every path; wrong and missing ones, unknown users and garbage are 401, and counted."""
    with serving(written(tmp_path, f"basic_auth_users: {{alice: {HASH}}}")) as server:
        for path in ("/", "/metrics", "/-/healthy", "/nothing"):
            answer = ask(server, path)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="xtcp"')
        assert ask(server, Authorization=basic("alice", "right")).status == 200
        assert ask(server, "/-/ready", Authorization=basic("alice", "right")).status == 200
        bad = [basic("alice", "wrong"), basic("mallory", "right"), basic("", ""), basic("alice", "ri\0ght")]
        bad += [basic("alice", "x" * 1000), "Basic !!!", "Bearer abc", "Basic", basic("alice", "right")[:-1]]
        for value in bad:
            assert ask(server, Authorization=value).status == 401, value
        assert server.state().answers == {401: 4 + len(bad), 200: 2}


def test_a_long_password(tmp_path: Path) -> None:
    """bcrypt looks at 72 bytes, in every language; what is behind them does not matter, and is no error."""
    hashed = bcrypt.hashpw(b"p" * 72, bcrypt.gensalt(4)).decode()
    with serving(written(tmp_path, f"basic_auth_users: {{alice: {hashed}}}")) as server:
        assert ask(server, Authorization=basic("alice", "p" * 100)).status == 200
        assert ask(server, Authorization=basic("alice", "p" * 71)).status == 401


def test_fault_87_the_time_of_a_wrong_password() -> None:
    """An unknown user takes as long as a wrong password: both are hashed, with the same rounds."""
    passwords = Passwords({"alice": bcrypt.hashpw(b"right", bcrypt.gensalt(8))})
    took: dict[str, list[float]] = {"alice": [], "mallory": []}

    async def guess() -> None:
        for number in range(12):
            for user, times in took.items():
                began = time.perf_counter()
                assert not await passwords.allows(basic(user, f"wrong{number}"))
                times.append(time.perf_counter() - began)

    asyncio.run(guess())
    passwords.close()
    fastest = {user: min(taken) for user, taken in took.items()}
    assert 0.5 < fastest["alice"] / fastest["mallory"] < 2
    assert fastest["mallory"] > 0.005


def test_fault_87_guessing_is_bounded() -> None:
    """A right answer is remembered, so who knows the password does not wait behind who guesses; the rest is refused."""
    passwords = Passwords({"alice": bcrypt.hashpw(b"right", bcrypt.gensalt(8))})

    async def storm() -> tuple[int, list[bool]]:
        assert await passwords.allows(basic("alice", "right"))
        guesses = [asyncio.create_task(passwords.allows(basic("alice", f"wrong{n}"))) for n in range(50)]
        await asyncio.sleep(0)
        assert await passwords.allows(basic("alice", "right"))
        done = [guess.done() for guess in guesses]
        results = await asyncio.gather(*guesses, return_exceptions=True)
        return sum(isinstance(result, TooManyWaiting) for result in results), done

    refused, done = asyncio.run(storm())
    passwords.close()
    assert refused == 42
    # It came before the eight that are checked, and behind those that were refused at once.
    assert done == [False] * 8 + [True] * 42
