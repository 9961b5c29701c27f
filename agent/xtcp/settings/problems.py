"""What is wrong with a configuration: every fault at once, each with its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xtcp.errors import ConfigurationError, ExitCode


@dataclass(frozen=True)
class Problem:
    """One fault: where it stands (`FILE:LINE: key`, a variable, a flag), and a sentence or two.

    `usage` tells one that stands on the command line.
    """

    where: str
    what: str
    usage: bool = False


class BadSettings(ConfigurationError):
    """Settings that cannot be: 2 where every fault stands on the command line, else 78."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "The configuration has a fault" if count == 1 else f"The configuration has {count} faults"
        lines = [f"  {problem.where}: {problem.what}" for problem in self.problems]
        super().__init__("\n".join([f"{head}:", *lines]), "", "Every setting: xtcp run --help")
        if all(problem.usage for problem in self.problems):
            self.exit_code = ExitCode.USAGE
