import unittest

from tickets import price


class TestTickets(unittest.TestCase):
    def test_adults(self):
        self.assertEqual(price(2000, 40), 2000)

    def test_small_children(self):
        self.assertEqual(price(2000, 5), 0)

    def test_children(self):
        self.assertEqual(price(2000, 6), 1000)
        self.assertEqual(price(3000, 17), 1500)

    def test_pensioners(self):
        self.assertEqual(price(2000, 65), 1500)
        self.assertEqual(price(3000, 70), 2700)
