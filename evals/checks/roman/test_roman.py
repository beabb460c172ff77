"""Does $WORKSPACE/roman.py print Roman numerals? It is started as a program, so that it cannot answer for the test."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

ROMAN = Path(os.environ.get("WORKSPACE", ""), "roman.py")


class TestRoman(unittest.TestCase):
    def prints(self, number, numeral):
        ran = subprocess.run([sys.executable, "-I", ROMAN, str(number)], capture_output=True, text=True)
        self.assertEqual(ran.stdout.strip(), numeral)

    def test_one_letter(self):
        self.prints(100, "C")

    def test_adds(self):
        self.prints(2026, "MMXXVI")

    def test_subtracts(self):
        self.prints(1994, "MCMXCIV")
