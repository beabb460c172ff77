"""What a turn costs in a sandbox of bubblewrap, beside the same one on the local sandbox."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

from bench_kiro import bench_kiro
from pairs import alternate, median_difference, table
from turns import TURNS, Place

from pytest_kiro import Provider, Sandbox, SandboxSpec
from pytest_kiro.sandbox.bubblewrap.provider import BubblewrapProvider
from pytest_kiro.sandbox.local import LocalProvider
from pytest_kiro.settings.table import Settings, read

_SCENARIO = '[[hello.turn]]\nrequests = [["Hello."]]\n' * TURNS


def bubblewrap(settings: Settings) -> Provider:
    """Return the provider, which shall show no kiro-cli."""
    return BubblewrapProvider(replace(settings, cli="scripted"))


class Archived(LocalProvider):
    """The local provider, to which the stand-in comes in an archive as well: without kept byte code."""

    def create(self, spec: SandboxSpec) -> Sandbox:
        made = super().create(spec)
        made.isolated = True
        return made


def making() -> float:
    """Return the seconds in which a sandbox is made, and its files have answered once."""
    provider = bubblewrap(read(option=lambda _: None, environ={}, ini=lambda _: None))
    started = time.perf_counter()
    sandbox = provider.create(SandboxSpec())
    sandbox.list_files("")
    elapsed = time.perf_counter() - started
    sandbox.close()
    provider.close()
    return elapsed


def main() -> None:
    """Measure turns of evals of their own, and those that follow in one eval; then single verbs."""
    with bench_kiro(_SCENARIO, bubblewrap) as inside, bench_kiro(_SCENARIO, Archived) as outside:
        there, here = Place(*inside), Place(*outside)

        def first(place: Place) -> float:
            with place.eval():
                return place.turn()

        def command(place: Place) -> float:
            started = time.perf_counter()
            place.kiro.sandbox.exec("true").check()
            return time.perf_counter() - started

        figures = {"a first turn": alternate(lambda: first(there), lambda: first(here), 31)}
        with there.eval(), here.eval():
            figures["a further turn"] = alternate(there.turn, here.turn, 31)
        figures["a command"] = alternate(lambda: command(there), lambda: command(here), 31)
    rows = [
        (f"{what} over local, target 25 ms", f"{median_difference(*both) * 1000:+.1f} ms")
        for what, both in figures.items()
    ]
    rows.append(("a sandbox is made in", f"{statistics.median(making() for _ in range(7)) * 1000:.0f} ms"))
    table("bubblewrap", rows)


if __name__ == "__main__":
    main()
