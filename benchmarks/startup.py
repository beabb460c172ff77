"""What merely having the plugin installed costs every pytest run."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from pairs import alternate, median_difference, spread, table
from pytest_runs import seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_trivial.py").write_text("def test_trivial():\n    assert True\n")
        for cached, title, target in ((True, "", 12), (False, ", without byte code", 20)):
            with_plugin, without = alternate(
                partial(seconds, folder, cached=cached), partial(seconds, folder, "-p", "no:kiro", cached=cached), 25
            )
            tax = median_difference(with_plugin, without) * 1000
            table(
                f"start-up tax: pytest on one trivial test{title} (seconds: min, median, max)",
                [
                    ("with the plugin", spread(with_plugin)),
                    ("-p no:kiro", spread(without)),
                    ("tax, median of pairs", f"{tax:.1f} ms (target: at most {target})"),
                ],
            )


if __name__ == "__main__":
    main()
