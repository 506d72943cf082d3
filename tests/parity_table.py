"""The table of `make parity`: what was compared with the original, how many cases, the largest difference."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END = "<!-- parity: written by `make parity` -->", "<!-- /parity -->"


@dataclass
class ParityTable:
    """Collects what tests compared; several tests may add to one line."""

    cases: dict[str, int] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)

    def add(self, what: str, *, cases: int = 1, difference: float = 0.0) -> None:
        """Add compared cases.

        Args:
            what: the line.
            cases: how many were compared.
            difference: the largest of them: an absolute difference of numbers, or how many texts, ids or
                labels were not identical.
        """
        self.cases[what] = self.cases.get(what, 0) + cases
        self.largest[what] = max(self.largest.get(what, 0.0), float(difference))

    def markdown(self) -> str:
        """Write the table."""
        lines = ["| what | cases | largest difference |", "|---|---:|---:|"]
        for what in sorted(self.cases):
            largest = self.largest[what]
            shown = "none" if largest == 0 else f"{largest:.1e}"
            lines.append(f"| {what} | {self.cases[what]} | {shown} |")
        return "\n".join(lines)

    def write_into(self, page: Path) -> None:
        """Put the table between the marks of a page."""
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n\n{self.markdown()}\n\n{END}{after}", encoding="utf-8")
