"""Lists every setting once: option, ini key, variable, default and help.

It is imported in every pytest run of its environment, so it holds texts only; parsing.py knows what they mean.
"""

from __future__ import annotations

from typing import Any, NamedTuple

EFFORTS = ("low", "medium", "high", "xhigh", "max")
ENGINES = ("v1", "v2", "v3")
GATES = ("point", "refute", "demonstrate")
#: Of an option that may be given several times.
_COMPARED = "given several times, they are compared"


class Setting(NamedTuple):
    """One row of the table.

    Without a `metavar` the option is a switch, which has no value but on the command line. `kind` is what parsing.py
    reads the value as, or the words of which it must be one. `without` says what holds where there is no default. With
    `several`, an option that is given more than once names variants, which are compared.
    """

    name: str
    metavar: str
    default: str | None
    kind: str | tuple[str, ...]
    help: str
    without: str = ""
    several: bool = False

    @property
    def shown_default(self) -> str:
        return self.without or self.default or ""

    @property
    def option(self) -> str:
        return f"--kiro-{self.name.replace('_', '-')}"

    @property
    def ini(self) -> str:
        return f"kiro_{self.name}"

    @property
    def variable(self) -> str:
        return f"PYTEST_KIRO_{self.name.upper()}"

    @property
    def option_keywords(self) -> dict[str, Any]:
        """What `add_argument` is told, beside the names and the help."""
        if not self.metavar:
            return {"action": "store_const", "const": "on"}
        return {"metavar": self.metavar, **({"action": "append"} if self.several else {})}


TABLE = (
    Setting("sandbox", "NAME", "local", "text", "where Kiro works: local, bubblewrap, daytona, or a plugin's provider"),
    Setting(
        "cli",
        "WHAT",
        None,
        "cli",
        "official, scripted, or an absolute path in the sandbox; official on local and bubblewrap is your own",
        "scripted on local, official elsewhere",
    ),
    Setting(
        "replies",
        "WHO",
        None,
        ("model", "scenario", "recording"),
        "who thinks of the answers: model, scenario (the scripts of the stand-in; official with scenario needs no "
        "account and spends no credits), or recording (what --kiro-record has kept; Kiro is not asked)",
        "scenario with the stand-in, else model",
    ),
    Setting(
        "cli_version",
        "VERSION",
        None,
        "version",
        "the version of kiro-cli that must answer: official installs exactly this one, any other is refused",
        "any",
    ),
    Setting(
        "engine",
        "E",
        "v2",
        (*ENGINES, "auto"),
        f"kiro-cli's engine: {', '.join(ENGINES)}, or auto, the newest that its version has and this plugin can read; "
        f"{_COMPARED}",
        several=True,
    ),
    Setting(
        "output",
        "FORM",
        "text",
        ("text", "stream-json"),
        "what kiro-cli prints: text, or stream-json (events, shown to people as text)",
    ),
    Setting("scenarios", "DIR", "scenarios", "text", "folder of the stand-in's scripts, beside the tests"),
    Setting("scenario_seed", "TEXT", "1", "text", "what the chances of alternatives in scenarios are drawn by"),
    Setting(
        "record",
        "WHAT",
        "off",
        ("off", "missing", "all", "prune"),
        "keep turns: off, missing (replay what is kept, run and keep the rest), all (anew), prune (remove the unused)",
    ),
    Setting("recordings", "DIR", "recordings", "text", "folder of recordings, beside the tests"),
    Setting("selfcheck", "", "off", "switch", "run evals again on altered recordings: do they notice worse agents?"),
    Setting(
        "login",
        "HOW",
        "auto",
        ("auto", "api-key", "saved", "device", "none"),
        "auto (already logged in, KIRO_API_KEY, a saved login, a device login where there is a terminal), api-key, "
        "saved (by python -m pytest_kiro login), device, or none (do not look)",
    ),
    Setting(
        "login_args",
        "ARGS",
        None,
        "words",
        "further arguments of kiro-cli login, such as '--license free', with which nothing has to be selected",
        "none",
    ),
    Setting("login_timeout", "SECONDS", "600", "seconds", "how long a device login waits for your approval"),
    Setting("open_browser", "", "off", "switch", "open the page of a device login in your browser"),
    Setting("agent", "NAME", None, "text", f"the Kiro agent that answers; {_COMPARED}", "Kiro's own", several=True),
    Setting("model", "ID", None, "text", f"the model that answers; {_COMPARED}", "Kiro's own", several=True),
    Setting(
        "effort",
        "LEVEL",
        None,
        EFFORTS,
        f"how hard it thinks: {', '.join(EFFORTS)}; {_COMPARED}",
        "Kiro's own",
        several=True,
    ),
    Setting(
        "trust", "TOOLS", "all", "trust", "tools that Kiro uses without asking: all, none, or names joined by commas"
    ),
    Setting("timeout", "SECONDS", "600", "seconds", "how long one turn may take"),
    Setting(
        "stall_timeout",
        "SECONDS",
        "off",
        "seconds_or_off",
        "end a turn that printed nothing for so long, or off: a quiet npm install is silent for minutes",
    ),
    Setting("setup_timeout", "SECONDS", "300", "seconds", "how long each step of installing and logging in may take"),
    Setting(
        "retries",
        "N",
        "1",
        "retries",
        "how often a conversation's first turn is run again after an infrastructure failure: 0 to 10",
    ),
    Setting(
        "budget",
        "CREDITS",
        None,
        "credits",
        "refuse the next turn once the run, on all its workers, has spent so many credits; 0 refuses the first",
        "no limit",
    ),
    Setting("max_turns", "N", None, "count", "how many turns a test may have; a further one is refused", "no limit"),
    Setting("max_calls", "N", None, "count", "how many tool calls a turn may make; a further one stops it", "no limit"),
    Setting(
        "keep_sandbox",
        "WHEN",
        "never",
        ("never", "on-failure", "always"),
        "leave the sandbox after the run and print how to get back to it: never, on-failure, always",
    ),
    Setting(
        "home",
        "WHICH",
        "fresh",
        ("fresh", "shared"),
        "the HOME that Kiro has: fresh (one for each test, as it was when the sandbox was ready) or shared (by all)",
    ),
    Setting(
        "ignore",
        "PATTERNS",
        None,
        "words",
        "what changes made by the way are, in a .gitignore's words with blanks between; turn.changes lists them apart",
        "the usual caches, and the seed's .gitignore",
    ),
    Setting(
        "network",
        "WHAT",
        "on",
        "network",
        "bubblewrap: on (this machine's), off, kiro (Kiro's service only), or further hosts joined by commas",
    ),
    Setting(
        "snapshot",
        "WHAT",
        "none",
        "text",
        "Daytona: what sandboxes are made from: none (its default image), auto (built once with kiro-cli and node "
        "in it, reused afterwards), or a snapshot's name",
    ),
    Setting(
        "max_sandboxes",
        "N",
        None,
        "count",
        "Daytona: at most so many sandboxes in this run; further xdist workers share them",
        "one for each worker",
    ),
    Setting(
        "trials", "N", None, "count", "run every eval so often, whatever its mark says", "mark.kiro_trials, else once"
    ),
    Setting(
        "gate",
        "GATE",
        None,
        GATES,
        "when trials pass, whatever their mark says: point (the rate is reached), refute (nothing speaks against it), "
        "demonstrate (it is certain)",
        "mark.kiro_trials, else point",
    ),
    Setting("all_trials", "", "off", "switch", "run trials also when they cannot change their verdict any more"),
    Setting("more", "N", None, "count", "add so many trials to each group of --kiro-baseline, and judge all", "none"),
    Setting("aa", "", "off", "switch", "compare the baseline with itself: how often does this suite cry wolf?"),
    Setting(
        "undecided",
        "HOW",
        None,
        ("fail", "pass"),
        "count a verdict that is undecided as failed, or as passed",
        "neither",
    ),
    Setting(
        "min_valid", "SHARE", "0.9", "share", "of planned trials, how many must be evaluated for a verdict: 0 to 1"
    ),
    Setting("terminal", "COLSxROWS", "120x30", "size", "size of the terminal that Kiro sees"),
    Setting(
        "stream",
        "WHEN",
        "auto",
        ("auto", "on", "off"),
        "show what Kiro prints while it prints: auto (with -s), on, off",
    ),
    Setting(
        "artifacts",
        "WHEN",
        "retain-on-failure",
        ("off", "on", "retain-on-failure"),
        "keep what turns said and left, a folder a test: off, on, retain-on-failure",
    ),
    Setting("artifacts_dir", "DIR", "kiro-results", "text", "where artifacts are, a folder for each run"),
    Setting(
        "baseline",
        "FILE",
        None,
        "text",
        "compare this run with an earlier one, by what its --kiro-results wrote; worse is a failure",
        "none",
    ),
    Setting(
        "results",
        "FILE",
        None,
        "text",
        "write what became of the run, its tests and their turns to this JSON file",
        "none",
    ),
    Setting(
        "report",
        "FILE",
        None,
        "text",
        "write this HTML file, which shows the run, and a Markdown file beside it; keeps artifacts of all tests",
        "none",
    ),
    Setting(
        "github",
        "WHAT",
        "auto",
        ("auto", "summary", "annotations", "off"),
        "in GitHub Actions: a summary of the step, annotations at lines that failed, auto (both), or off",
    ),
)
