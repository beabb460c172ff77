"""Puts together what is executed inside a sandbox: values in, `sh` text out.

Daytona pipes a command's text into zsh or bash, merges its output into JSON, holds the request while a background
child has the output open, and loses the output when it times out. scripts/exec.sh and scripts/errand.sh cope with it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import randbelow

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.bounds import READ_AT_ONCE
from pytest_kiro.sandbox.processes import TAG
from pytest_kiro.sandbox.protocol import OUTPUT_KEPT, Survivors
from pytest_kiro.sandbox.script import program

#: What the lines begin with in which `settle` tells what a program left.
SETTLED = "left"
#: Bytes that the kernel takes as one argument or one variable (Linux: 32 pages, with the zero at the end).
LONGEST_ARGUMENT = 128 * 1024 - 1
_SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class CommandEnd:
    """How a wrapped command ended; `trouble` is set when its folder was the reason that it never began."""

    output: str
    exit_code: int
    trouble: str = ""


def wrap(command: str, *, tasks: str, task: str, cwd: str, root: str, variables: Iterable[str]) -> str:
    """Return the text to send for one command of the user's.

    `tasks` is the folder of all tasks, `task` this one's name in it. Its variables come in the request under `carried`
    names: a PATH of the user's must not be ours.
    """
    given = [f'{name}="${carried(name)}"; export {name}; unset {carried(name)}; ' for name in variables]
    if given:
        given.append('exec /bin/sh -c "$1"')
    tag = f"{task}."
    script = _program(
        "exec",
        task_tag=tag,
        task_mark=mark(tag),
        task_cwd=cwd,
        task_root=root,
        task_cap=OUTPUT_KEPT,
        task_given="".join(given),
    )
    return _sent(command, tasks, task, script)


def errand(command: str, *, tasks: str, task: str) -> str:
    """Return the text to send for our command. It may be carried out twice."""
    return _sent(command, tasks, task, _program("errand"))


def _sent(command: str, tasks: str, task: str, script: str) -> str:
    script = f"exec /bin/sh -c {shlex.quote(_program('begin', task_folder=tasks, task_name=task) + script)}"
    if len(command.encode("utf-8", "surrogateescape")) <= LONGEST_ARGUMENT:
        return f"{script} sh {shlex.quote(command)} </dev/null"
    return f"printf %s {shlex.quote(command)} | {script}"


def task_files(task: str, tasks: str) -> list[str]:
    """Return the files of a command of the user's."""
    return [f"{tasks}/{task}{end}" for end in ("", ".output", ".status", ".session")]


def beforehand(tags: Sequence[str], tasks: str, paths: Sequence[str], word: str, alive: Collection[str]) -> str:
    """Return the text that tidies up before another: tasks by tag, files of ours.

    What was left of the tags is told in front of a line of the `word`; `take_survivors` reads that. `alive` is as
    `reap` has it.
    """
    reaps = [reap([tag], tasks, report=tag, alive=alive) for tag in tags]
    lines = [f"/bin/sh -c {shlex.quote(text)} </dev/null 2>/dev/null\n" for text in reaps]
    if paths:
        lines.append(f"rm -rf {shlex.join(paths)} </dev/null >/dev/null 2>&1\n")
    return "".join(lines) + (f"echo {word}\n" if tags else "")


def take_survivors(answer: str, tags: Sequence[str], word: str) -> tuple[dict[str, Survivors], str]:
    """Take an answer apart: what was left of each tag, and what the text behind `beforehand` answered."""
    before, mark, rest = answer.partition(f"{word}\n")
    return {tag: survivors(before, tag) for tag in tags}, rest if mark else answer


def survivors(answer: str, report: str) -> Survivors:
    """Read what a `reap` says was left behind."""
    lines = [line.split(" ", 2)[1:] for line in answer.splitlines() if line.startswith(f"{report} ")]
    killed, stuck = (tuple(what for how, what in lines if how == kind) for kind in ("killed", "stuck"))
    return Survivors(tuple(what for what in killed if what not in stuck), stuck)


def carried(name: str) -> str:
    """Return the name under which a variable of a command travels."""
    return f"{TAG}_GIVEN_{name}"


def unwrap(text: str, task: str) -> CommandEnd:
    """Take a wrapped command's answer apart; `SandboxError` when its end is missing."""
    output, mark, status = text.rpartition(f"\n{task} ")
    words = re.fullmatch(r"(\d+) (\w+)\s*", status)
    if not mark or not words:
        what = f"the sandbox answered without saying how the command ended: {text[-200:]!r}"
        advice = "its temporary folder may have been removed, or the command killed what had started it"
        raise SandboxError(what, advice=advice)
    return CommandEnd(output, int(words[1]), "" if words[2] == "ended" else words[2])


#: Digits of the numbers in a tag: of its machine, its place and its task.
_DIGITS = (9, 5, 5)


def new_tag() -> str:
    """Return what the tags of all tasks of a machine begin with."""
    return f"{randbelow(799_999_999) + 100_000_000}."


def mark(tag: str) -> str:
    """Return the digits of a tag, or of a beginning.

    They stand in a limit of its processes, that of file locks: no kernel since Linux 2.4 enforces it, children inherit
    it, and any user may lower it but not raise it again.
    """
    numbers = tag.rstrip(".").split(".")
    return "".join(f"{int(number) % 10**digits:0{digits}}" for number, digits in zip(numbers, _DIGITS, strict=False))


def marking(tag: str) -> str:
    """Return the command that marks a shell; one word for bash and zsh, another for dash and busybox.

    By its own choice zsh sets the soft limit only, which could be raised again.
    """
    return f"ulimit -SH -x {mark(tag)} 2>/dev/null || ulimit -w {mark(tag)} 2>/dev/null"


def reap(
    tags: Sequence[str],
    tasks: str,
    *,
    void: str = "",
    report: str = "",
    leader: str = "",
    alive: Collection[str] | None = None,
    proc: str = "/proc",
) -> str:
    """Return the command that kills all processes of tasks by tag beginnings; a `void` one shall not begin.

    Processes are told of in lines that begin with `report`, but for those in the session that the file `leader` names.
    With `alive`, the beginnings of tags that go on, also those are killed that have lowered the limit that marks them:
    below the mark of a terminal, whose number is higher than those of the terminals before it and lower than the
    numbers of all that begins meanwhile; below all marks when it is none of a terminal.
    """
    words = {"killed": f"{report} killed ", "stuck": f"{report} stuck "}
    if not tags:
        return ""
    return _reap(tags, tasks, alive, void=void, report=bool(report), leader=leader, proc=proc, **words)


def ending(tag: str, tasks: str, alive: Collection[str]) -> str:
    """Return the command that kills a task's processes: "PID name" each."""
    return _reap([tag], tasks, alive, void="", report=True, leader="", proc="/proc", killed="", stuck="")


def _reap(tags: Sequence[str], tasks: str, alive: Collection[str] | None, **values: str | int) -> str:
    marks = [mark(tag) for tag in tags]
    return _program(
        "reap",
        tasks=tasks,
        patterns=shlex.join([word for tag in tags for word in ("-e", f"{TAG}={re.escape(tag)}")]),
        marks=shlex.join(marks),
        top="" if alive is None else marks[0] if len(marks[0]) == sum(_DIGITS) else 10 ** (sum(_DIGITS) - 1),
        alive=shlex.join(sorted(mark(tag) for tag in alive or () if tag not in tags)),
        **values,
    )


def settle(tag: str, tasks: str, alive: Collection[str]) -> str:
    """Return the command that says whether a terminal's program runs. If not, it ends what the program left."""
    settled = _program("settle", session_file=session_file(tag, tasks), mark=f"{TAG}={tag}")
    return f"{settled}{reap([tag], tasks, report=SETTLED, alive=alive)}echo ended\n"


def session_file(tag: str, tasks: str) -> str:
    """Return the file in which the session of a terminal is noted."""
    return f"{tasks}/{tag}session"


# -- files, whose names may have any bytes


def on_files(script: str, words: Iterable[str], **values: str | int) -> str:
    """Return the command that executes one of the scripts on paths; the script says what it answers."""
    before, names = _words(words)
    return before + _program("look") + _program(script, names=names, **values)


def guarded(roots: Iterable[str]) -> str:
    """Return the command that lets nothing follow unless these are folders.

    It answers `strange FOLDER` of one that is not itself any more.
    """
    before, names = _words(roots, prefix="g")
    return before + _program("guarded", names=names) if names else ""


def pack(paths: Sequence[str], file: str, *, inline: int) -> str:
    """Return the command that answers what each path is. It packs them if all are files.

    Up to `inline` bytes come with the answer, as base64; for more the answer says `big`, and they are in `file`, or
    `large` when that is more than is read at all.
    """
    relative, inner = _words([path.lstrip("/") for path in paths], prefix="r")
    # GNU's tar makes a newline of \n in a name; others have no word against that, and no need of one.
    tar = "tar --no-unquote" if any("\\" in path for path in paths) else "tar"
    return relative + on_files("pack", paths, inner=inner, tar=tar, pack=file, inline=inline, most=READ_AT_ONCE)


def _words(paths: Iterable[str], prefix: str = "w") -> tuple[str, str]:
    """Return (preceding commands, quoted words) for paths of any bytes.

    JSON, as which a command travels, has no way to say bytes that are not UTF-8; the shell can make them.
    """
    before, shown = [], []
    for number, path in enumerate(paths):
        try:
            path.encode()
            shown.append(shlex.quote(path))
        except UnicodeEncodeError:
            octal = "".join(f"\\{byte:03o}" for byte in path.encode("utf-8", "surrogateescape"))
            name = f"{prefix}{number}"
            # A dot at the end, taken off again: $( ) would drop a newline there.
            before.append(f"{name}=$(printf '{octal}.'); {name}=${{{name}%.}}\n")
            shown.append(f'"${name}"')
    return "".join(before), " ".join(shown)


def _program(name: str, **values: str | int) -> str:
    return program(_SCRIPTS / f"{name}.sh", **values)
