"""The simplest answer of a stream: whatever was right last time."""

from __future__ import annotations

from producers.values import parse_number


class NoChange:
    """How well the label of the row before answers, over all labels in file order."""

    def __init__(self, decimal_comma: bool) -> None:
        self._decimal_comma = decimal_comma
        self._before: tuple[str, float | None] | None = None
        self.pairs = self._same = self._numbers = 0
        self._apart = 0.0

    def add(self, text: str) -> None:
        """The next label."""
        number = parse_number(text, self._decimal_comma)
        if self._before is not None:
            last, last_number = self._before
            self.pairs += 1
            if number is None or last_number is None:
                self._same += text == last
            else:
                self._same += number == last_number
                self._numbers += 1
                self._apart += abs(number - last_number)
        self._before = (text, number)

    @property
    def accuracy(self) -> float:
        """Share of labels that equal the one before."""
        return self._same / self.pairs if self.pairs else 0.0

    @property
    def mae(self) -> float | None:
        """Mean distance of a number from the one before; None where there are none."""
        return self._apart / self._numbers if self._numbers else None
