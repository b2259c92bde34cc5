"""How a wrong setting is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One setting that is wrong: what it is, why, and what to do."""

    variable: str
    value: str | None
    """As set; None when it is not set, masked when it is a secret."""
    reason: str
    fix: str

    @property
    def subject(self) -> str:
        """The variable and its value."""
        return f"{self.variable} is not set" if self.value is None else f"{self.variable}={self.value}"

    def __str__(self) -> str:
        return f"{self.subject}\n    {self.reason}\n    Fix: {self.fix}"


class SettingsError(Exception):
    """One or more settings are wrong; the text lists all of them."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        count = "1 setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        super().__init__(f"{count} wrong:\n\n" + "\n\n".join(f"  {problem}" for problem in problems))


def hidden(secret: str) -> str:
    """What is shown in place of a secret."""
    return f"(hidden, {len(secret)} characters)"
