"""What collecting many evals costs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pairs import alternate, median_ratio, spread, table
from pytest_runs import seconds

_MODULE = "import pytest\n\n\n" + "\n\n".join(
    f"def test_eval_{number}(kiro):\n    kiro.run('Say hello.')\n" for number in range(100)
)
_PLAIN = "\n\n".join(f"def test_plain_{number}():\n    pass\n" for number in range(100))
#: Without the plugin nothing knows the fixture; collection does not ask for it.
_MODULES = 20


def main() -> None:
    evals()
    trials()


def trials() -> None:
    """As many trials as plain tests: 100 evals of 20 trials beside 2,000 tests."""
    with tempfile.TemporaryDirectory() as name:
        folders = Path(name, "trials"), Path(name, "plain")
        for folder, sources in zip(folders, ([_MODULE], [_PLAIN] * _MODULES), strict=True):
            folder.mkdir()
            (folder / "pytest.ini").write_text("[pytest]\n")
            for number, source in enumerate(sources):
                (folder / f"test_{number}.py").write_text(source)
        expanded, plain = alternate(
            lambda: seconds(folders[0], "--collect-only", f"--kiro-trials={_MODULES}"),
            lambda: seconds(folders[1], "--collect-only"),
        )
    table(
        f"collection of {_MODULES * 100} trials (seconds: min, median, max)",
        [
            ("trials", spread(expanded)),
            ("plain tests", spread(plain)),
            ("ratio, median of pairs", f"{median_ratio(expanded, plain):.3f} (target: at most 1.3)"),
        ],
    )


def evals() -> None:
    """Evals beside the same tests without the plugin."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(_MODULES):
            (folder / f"test_evals_{number}.py").write_text(_MODULE)
        (folder / "pytest.ini").write_text("[pytest]\n")
        with_plugin, without = alternate(
            lambda: seconds(folder, "--collect-only"), lambda: seconds(folder, "--collect-only", "-p", "no:kiro")
        )
    table(
        f"collection of {_MODULES * 100} evals (seconds: min, median, max)",
        [
            ("with the plugin", spread(with_plugin)),
            ("-p no:kiro", spread(without)),
            ("ratio, median of pairs", f"{median_ratio(with_plugin, without):.3f} (target: at most 1.2)"),
        ],
    )


if __name__ == "__main__":
    main()
