import unittest

from slugify import slugify

SLUGS = {
    "Hello World": "hello-world",
    "  Hello,   World!  ": "hello-world",
    "Rock & Roll -- Live": "rock-roll-live",
    "Crème brûlée": "creme-brulee",
    "Top 10": "top-10",
    "snake_case": "snake-case",
    "?!": "",
    "": "",
}


class TestSlugify(unittest.TestCase):
    def test_slugs(self):
        self.assertEqual({text: slugify(text) for text in SLUGS}, SLUGS)
