"""Fines: what a late book costs."""

CENTS_A_DAY = 20
MOST = 500


def fine(loan, returned):
    """Return the fine in cents for a book that came back on the day `returned`."""
    days_late = (returned - loan.due).days + 1
    return min(max(days_late, 0) * CENTS_A_DAY, MOST)
