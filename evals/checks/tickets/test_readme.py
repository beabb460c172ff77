import unittest

from tickets import price


class TestReadme(unittest.TestCase):
    def test_each_rule_holds_for_every_ticket(self):
        for cents in (400, 2000, 3000, 10000):
            paid = [price(cents, age) for age in (0, 5, 6, 17, 18, 64, 65, 70, 99)]
            child, pensioner = cents / 2, cents * 3 / 4
            self.assertEqual(paid, [0, 0, child, child, cents, cents, pensioner, pensioner, pensioner])
