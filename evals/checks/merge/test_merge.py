import unittest

from meetings import merge


class TestMerge(unittest.TestCase):
    def test_nothing(self):
        self.assertEqual(list(merge([])), [])

    def test_apart(self):
        self.assertEqual(pairs([(13, 14), (9, 10)]), [(9, 10), (13, 14)])

    def test_overlapping_and_touching(self):
        self.assertEqual(pairs([(9, 11), (10, 12), (12, 13)]), [(9, 13)])

    def test_one_inside_another(self):
        self.assertEqual(pairs([(9, 17), (12, 13), (15, 16)]), [(9, 17)])

    def test_the_list_given_stays_as_it_was(self):
        meetings = [(13, 14), (9, 10)]
        merge(meetings)
        self.assertEqual(meetings, [(13, 14), (9, 10)])


def pairs(meetings):
    return [tuple(pair) for pair in merge(meetings)]
