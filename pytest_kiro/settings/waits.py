"""Holds how long is waited, so that time can be passed in."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DaytonaWaits:
    """Seconds that the Daytona provider waits; its pauses come with the service's answers."""

    #: For the answer to one request, and for that to a question about a sandbox's state.
    request: float = 60.0
    state: float = 20.0
    #: Beyond a call's own deadline, for the client's thread; and for a link that is told to close.
    slack: float = 5.0
    #: Before the n-th new attempt where the answer does not say, each jittered; never longer than that at once.
    pauses: tuple[float, ...] = (0.5, 1, 2, 4, 8, 15, 30)
    longest_pause: float = 60.0
    #: Beyond a command's own time, for its answer: it may be 16 MiB.
    answer: float = 60.0
    #: After Ctrl-C, for the end of a command.
    interrupted: float = 10.0
    #: For which what an ended terminal has left may wait for a request that takes its end along.
    left_over: float = 0.5
    #: For files: an upload beyond its bytes, and all of it, such as a download of unknown size.
    upload: float = 30.0
    all_files: float = 1800.0
    #: After which a download of which nothing comes is begun anew.
    stalled: float = 30.0
    #: For a terminal to open, to take what is typed, to close.
    pty_open: float = 60.0
    #: For the first word of a terminal's link.
    pty_connected: float = 10.0
    pty_write: float = 30.0
    pty_close: float = 30.0
    #: Of silence after which the machine is asked whether the program still runs; then the link has `late` to say so.
    silence: float = 20.0
    late: float = 3.0
    #: Bytes of a terminal that wait for their reader; beyond it the link is not read, as a full terminal would hold its
    #: program.
    held_bytes: int = 64 * 1024 * 1024
    #: For the deletion of one sandbox: a state change that is under way answers 409 for a while.
    delete: float = 60.0
    #: For a sweep, of which nothing depends: what it does not reach, the next one or the time to live does.
    sweep: float = 60.0
    #: Between looks for a sandbox whose creation was given up, and may be carried out all the same.
    looks: tuple[float, ...] = (0.5, 1, 2, 4, 8)
    #: Between looks at what the other workers make.
    join: float = 0.5
    #: For a snapshot (the CLI's archive alone is some hundred megabytes), and between looks at it.
    build: float = 1800.0
    poll: float = 1.0


@dataclass(frozen=True)
class Waits:
    """Seconds that are waited for programs, terminals, services and locks; no user sets them.

    They travel on `Settings`, so whoever is given those need not be told of time.
    """

    #: That Kiro has to write its records after Ctrl-C, and then after SIGTERM, before it is killed.
    grace: float = 5.0
    last_grace: float = 2.0
    #: After which Ctrl-C is pressed once more, since a program that just begins may not hear the first.
    press_again: float = 2.0
    #: That a program which had not begun is waited for after Ctrl-C.
    before_it_began: float = 1.0
    #: Of silence after which what looked like the beginning of a secret is shown.
    held_for: float = 1.0
    #: For what a killed turn left to be written down.
    collect: float = 60.0
    #: For whoami's answer: it asks no server and answers within a second; more is a CLI that waits for a human.
    whoami: float = 15.0
    #: That other processes may hold the lock of a file, of the run's or of the saved login: they do for milliseconds.
    lock: float = 30.0
    #: That a login may take to arrive from another worker; it comes from the same machine's memory.
    peer: float = 10.0
    #: After which a sandbox is kept alive once more while another worker asks for the login.
    sign_of_life: float = 60.0
    #: For which killing a local process is repeated: it may fork while we look, or take its time to die.
    kill: float = 5.0
    #: For which a local process may be just starting another program.
    start: float = 1.0
    #: That a program in a local terminal has to read what is typed.
    write: float = 10.0
    #: That a terminal's shell may take from its first byte to the marker; start-up files can be slow.
    launch: float = 60.0
    #: That a terminal has, after its last byte, to say how its program ended.
    settle: float = 5.0
    #: That the sandbox has to answer a question about a launch.
    answer: float = 20.0
    #: Between two questions to a program that prints nothing, after its link was lost; the last one is repeated.
    link_pauses: tuple[float, ...] = (0.2, 0.4, 0.8, 1.4, 2.0)
    #: Questions in a row without an answer, about 35 s apart from their own time, until the sandbox is given up.
    link_attempts: int = 20
    #: Of silence after which `kiro.terminal` shows what looked like the beginning of a secret.
    held_in_terminal: float = 0.2
    #: That a lent keyboard's program is waited for at a time: so long may a key take to be seen.
    keyboard_turn: float = 0.02
    #: Between two calls of a lent keyboard's `tick`.
    keyboard_tick: float = 0.25
    #: For a key that is just being typed, at the end of a loan; then the terminal is closed, which frees it.
    last_key: float = 1.0
    #: After which a turn that is under way is shown on a terminal, and between two looks at it.
    status_after: float = 1.0
    status_tick: float = 0.5
    #: Where there is no terminal: after which a turn is said to be under way, and is so again.
    long_turn: tuple[float, float] = (60.0, 300.0)
    daytona: DaytonaWaits = field(default_factory=DaytonaWaits)
