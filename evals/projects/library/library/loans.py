"""Loans: who may keep a book until when."""

from dataclasses import dataclass
from datetime import date, timedelta

PERIOD = timedelta(days=14)


@dataclass(frozen=True)
class Loan:
    book: str
    lent: date

    @property
    def due(self):
        """The last day on which the book may come back for free."""
        return self.lent + PERIOD
