"""What merely having the plugin installed costs every pytest run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pairs import alternate, median_difference, spread, table
from pytest_runs import seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_trivial.py").write_text("def test_trivial():\n    assert True\n")
        with_plugin, without = alternate(lambda: seconds(folder), lambda: seconds(folder, "-p", "no:kiro"), 25)
    table(
        "start-up tax: pytest on one trivial test (seconds: min, median, max)",
        [
            ("with the plugin", spread(with_plugin)),
            ("-p no:kiro", spread(without)),
            ("tax, median of pairs", f"{median_difference(with_plugin, without) * 1000:.1f} ms (target: under 30)"),
        ],
    )


if __name__ == "__main__":
    main()
