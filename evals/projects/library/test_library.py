import unittest
from datetime import date

from library.fines import fine
from library.loans import Loan

LOAN = Loan("The Mill on the Floss", lent=date(2024, 2, 20))


class TestLibrary(unittest.TestCase):
    def test_due_after_two_weeks(self):
        self.assertEqual(LOAN.due, date(2024, 3, 5))

    def test_early_is_free(self):
        self.assertEqual(fine(LOAN, date(2024, 2, 21)), 0)

    def test_every_late_day_costs(self):
        self.assertEqual([fine(LOAN, date(2024, 3, day)) for day in (5, 6, 7)], [0, 20, 40])

    def test_never_more_than_five_euros(self):
        self.assertEqual(fine(LOAN, date(2025, 3, 5)), 500)
