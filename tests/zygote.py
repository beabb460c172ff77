"""Forks inner runs of pytest from one process that has imported what is slow.

`python -m pytest` takes most of its time to import: half a second for pytest, as much for what an eval needs of ours,
seconds for Daytona's SDK. A zygote has done that once; each `Process` is a fork of it, in a session of its own, with
its own working directory, environment, descriptors and arguments. Nothing of ours has run in it, no module of a test
folder's is there, and nothing of an earlier run. Where an environment asks for another interpreter, a real one is
started; what a run imports, and when, is tested with such ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import importlib
import json
import os
import random
import runpy
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import installed
import pexpect
import ptyprocess

#: What pytest's plugins import late, if they are there.
LATE = ("xdist.dsession", "xdist.workermanage", "execnet.gateway_bootstrap", "execnet.gateway_io", "pdb")
#: What evals import late of ours; `plugin` itself comes with them.
OURS = (
    "pytest_kiro.plugin.reporting",
    "pytest_kiro.plugin.setting_up",
    "pytest_kiro.plugin.hiding",
    "pytest_kiro.plugin.providers",
    "pytest_kiro.run.stops",
    "pytest_kiro.agent.kiro",
    "pytest_kiro.agent.scores",
    "pytest_kiro.agent.scripted",
    "pytest_kiro.sandbox.local",
)
#: What a fork is instead of a module: a worker that its controller tells everything.
WORKER = "xdist worker"
#: Variables that an interpreter reads when it starts; two of them do not make it another one.
_AT_START, _HARMLESS = ("PYTHON", "LC_", "LANG"), ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


# -- the process that forks


def main() -> None:
    """Import what is slow, fork for each request, and be what was asked for: only forks come back from `_serve`."""
    control, path = socket.socket(fileno=int(sys.argv[1])), sys.path[1:]
    _warm_up(sys.argv[2:])
    gc.collect()
    gc.freeze()
    job, descriptors = _serve(control)
    job = _become(job, descriptors, path)
    if job["module"] == WORKER:
        exec(eval(sys.stdin.readline()), {"__name__": "__main__"})  # as execnet starts a gateway
    elif job["module"] == "-c":
        exec(job["args"][0], {"__name__": "__main__"})
    else:
        runpy.run_module(job["module"], run_name="__main__", alter_sys=True)


def _warm_up(names: Sequence[str]) -> None:
    """Run pytest once, without ours, in a folder with one test: so its own hook has imported all modules."""
    import pytest

    installed.read_once()
    with contextlib.suppress(ImportError):  # a fork that is measured would take a tenth of a second for it
        importlib.import_module("coverage")
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        late = "import contextlib, importlib\n"
        late += "".join(f"with contextlib.suppress(ImportError): import {name}\n" for name in LATE)
        late += "".join(f"importlib.import_module({name!r})\n" for name in (*OURS, *names))
        for file, text in {
            "conftest.py": late,
            "pytest.ini": "[pytest]\n",
            "test_it.py": "def test_it(): ...\n",
        }.items():
            Path(folder, file).write_text(text)
        quiet = ("kiro", "randomly", "hypothesispytest", "cacheprovider", "rerunfailures")
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            assert pytest.main([*(f"-pno:{name}" for name in quiet), f"--rootdir={folder}", folder]) == 0
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(folder):
                del sys.modules[name]


def _serve(control: socket.socket, *, end: bool = True) -> tuple[dict[str, Any], Sequence[int]]:
    """Tell whoever asked the fork's process id, and later how it ended; `end` what runs when nobody asks any more."""
    woken, wake = socket.socketpair()
    for one in (woken, wake):
        one.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    running: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    while woken.recv(4096):
                        pass
                _tell_who_ended(running)
            if control not in ready:
                continue
            job, descriptors = _receive(control)
            if not job:
                break
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                for one in (control, woken, wake):
                    one.close()
                return job, descriptors
            running[pid] = descriptors[3]
            _write(descriptors[3], pid)
            for descriptor in descriptors[:3]:
                os.close(descriptor)
    for pid in running if end else ():
        os.kill(pid, signal.SIGTERM)
    os._exit(0)


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, descriptors, _, _ = socket.recv_fds(control, 4, 4)
    size, text = int.from_bytes(head, "big"), b""
    while len(text) < size:
        text += control.recv(size - len(text))
    return json.loads(text or "{}"), list(descriptors)


def _tell_who_ended(running: dict[int, int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            report = running.pop(pid)
            _write(report, status)
            os.close(report)


def _write(report: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # who asked is not interested
        os.write(report, struct.pack("!i", number))


def _become(job: dict[str, Any], descriptors: Sequence[int], path: Sequence[str]) -> dict[str, Any]:
    """Turn the fork into what `python -m module` is when it begins, and return what it is now."""
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if job["module"] != WORKER:
        os.setsid()
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    time.tzset()
    if job["shell"]:
        _be_its_shell(job["shell"])
    if any(arg.startswith("-n") for arg in job["args"]) and (forked := _raise_workers()):
        return _become(*forked, path)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    streams = [None if number in job["closed"] else _stream(number) for number in range(3)]
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = streams
    for number in job["closed"]:
        os.close(number)
    sys.argv[:] = ["-c", *job["args"][1:]] if job["module"] == "-c" else ["-m", *job["args"]]
    sys.path[:] = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *path]
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    if "xdist.plugin" in sys.modules:  # which gives its workers the path that was there when it was imported
        sys.modules["xdist.plugin"]._sys_path[:] = sys.path
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
    tempfile.tempdir = None
    random.seed()
    sys.warnoptions[:] = job["warnings"]
    for action in job["warnings"]:
        warnings.simplefilter(action)
    if "COVERAGE_PROCESS_START" in os.environ or "COVERAGE_PROCESS_CONFIG" in os.environ:
        import coverage  # a .pth file does this where an interpreter starts

        coverage.process_startup(force=True)
    return job


def _raise_workers() -> tuple[dict[str, Any], Sequence[int]] | None:
    """Let xdist's workers be forks too, of a child in this session which is as fresh as they shall be."""
    import execnet.gateway_io

    control, theirs = socket.socketpair()
    if os.fork() == 0:
        control.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; a worker hears it
        return _serve(theirs, end=False)
    theirs.close()
    forks, popen = Forks(control), execnet.gateway_io.Popen2IO

    def begin(self: Any, args: Sequence[str], execmodel: Any) -> None:
        (stdin, write), (read, stdout) = os.pipe(), os.pipe()
        self.popen = forks.fork(WORKER, [], cwd=os.getcwd(), stdin=stdin, stdout=stdout, stderr=2)
        os.close(stdin)
        os.close(stdout)
        popen.__init__(self, os.fdopen(write, "wb"), os.fdopen(read, "rb"), execmodel=execmodel)

    execnet.gateway_io.Popen2IOMaster.__init__ = begin
    return None


def _stream(number: int) -> Any:
    """A standard stream as Python makes it, for what is behind this descriptor now."""
    old = (sys.__stdin__, sys.__stdout__, sys.__stderr__)[number]
    return open(
        number,
        "w" if number else "r",
        buffering=1 if number == 2 or os.isatty(number) else -1,
        encoding=old.encoding,
        errors=old.errors,
        newline="\n" if number else None,
        closefd=False,
    )


def _be_its_shell(files: Mapping[str, str]) -> None:
    """Be the shell that a user starts pytest in, and return in its child; note the terminal before and after."""

    def note(name: str) -> None:
        with open(files[name], "w") as file:
            subprocess.run(["stty", "-a"], stdout=file, check=True)

    signal.signal(signal.SIGINT, lambda *_: None)
    Path(files["shell"]).write_text(str(os.getpid()))
    note("before")
    if (pid := os.fork()) == 0:
        return
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(1, b"ended %d\n" % (status if status >= 0 else 128 - status))
    note("after")
    os.write(1, b"over\n")
    os._exit(0)


# -- who asks for forks


class Forks:
    """Asks the process at the other end of a socket for forks."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def fork(
        self,
        module: str,
        args: Sequence[str],
        *,
        cwd: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        stdin: int,
        stdout: int,
        stderr: int,
        closed: Sequence[int] = (),
        warnings: Sequence[str] = (),
        shell: Mapping[str, str] | None = None,
    ) -> Process:
        """Run a module in a fork; a stdin that is a terminal becomes the one that controls it."""
        job = {
            "module": module,
            "args": list(args),
            "cwd": os.fspath(cwd),
            "env": dict(os.environ if env is None else env),
        }
        job |= {"closed": list(closed), "warnings": list(warnings), "shell": dict(shell or {})}
        text = json.dumps(job).encode()
        report, theirs = os.pipe()
        try:
            socket.send_fds(self._control, [len(text).to_bytes(4, "big")], [stdin, stdout, stderr, theirs])
            self._control.sendall(text)
        finally:
            os.close(theirs)
        return Process(report)


class Zygote(Forks):
    """One Python that has imported pytest, and these modules."""

    def __init__(self, *modules: str) -> None:
        control, theirs = socket.socketpair()
        super().__init__(control)
        env = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PYTEST_"))}
        env.pop("PYTHONPATH", None)
        self._env = env
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno()), *modules]
            self._process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], cwd="/", start_new_session=True
            )

    def close(self) -> None:
        self._control.close()
        self._process.wait()

    def suits(self, env: Mapping[str, str]) -> bool:
        """Whether a fork is what an interpreter with this environment would be."""

        def at_start(variables: Mapping[str, str]) -> dict[str, str]:
            return {
                n: v for n, v in variables.items() if n.startswith(_AT_START) and n not in _HARMLESS and v != "C.UTF-8"
            }

        return at_start(env) == at_start(self._env)


class Process:
    """A fork of a zygote, with the verbs of a `subprocess.Popen` that tests use."""

    stdin = None

    def __init__(self, report: int) -> None:
        self._report = report
        self.returncode: int | None = None
        self.pid = self._read()

    def _read(self) -> int:
        told = os.read(self._report, 4)
        assert told, "the zygote has ended"
        return int(struct.unpack("!i", told)[0])

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._report], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a fork", timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def _end(self) -> None:
        self.status = self._read()
        self.returncode = os.waitstatus_to_exitcode(self.status)
        os.close(self._report)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Pty(ptyprocess.PtyProcess):  # type: ignore[misc]
    """A fork in a terminal; how it ended is told by its zygote, since it is no child of ours."""

    def __init__(self, process: Process, fd: int) -> None:
        super().__init__(process.pid, fd)
        self._process, self.delayafterclose = process, 0.0

    def isalive(self) -> bool:
        if not self.terminated:
            try:
                # After the end of its output the end itself is near.
                self._process.wait(None if self.flag_eof else 0.1 if self.fileobj.closed else 0)
            except subprocess.TimeoutExpired:
                return True
            self.status, self.terminated = self._process.status, True
            code = self._process.returncode
            self.exitstatus, self.signalstatus = (code, None) if code >= 0 else (None, -code)
        return False

    def wait(self) -> int | None:
        self._process.wait()
        self.isalive()
        return self.exitstatus


class Terminal(pexpect.spawn):  # type: ignore[misc]
    """A fork in a terminal, as pexpect has a program in one."""

    def __init__(
        self,
        zygote: Zygote,
        module: str,
        args: Sequence[str],
        *,
        size: tuple[int, int] = (80, 24),
        timeout: float,
        **job: Any,
    ) -> None:
        # A link that is lost may cut a character in half, which a terminal shows as well.
        super().__init__(None, timeout=timeout, encoding="utf-8", codec_errors="replace")
        self.child_fd, theirs = os.openpty()
        try:
            termios.tcsetwinsize(theirs, (size[1], size[0]))
            process = zygote.fork(module, args, stdin=theirs, stdout=theirs, stderr=theirs, **job)
        finally:
            os.close(theirs)
        self.ptyproc, self.pid = _Pty(process, self.child_fd), process.pid
        self.terminated = self.closed = False


@functools.cache
def zygote(*modules: str) -> Zygote:
    """The one Python of this process that has imported pytest and these modules."""
    _ZYGOTES.append(made := Zygote(*modules))
    return made


_ZYGOTES: list[Zygote] = []


def close_zygotes() -> None:
    while _ZYGOTES:
        _ZYGOTES.pop().close()
    zygote.cache_clear()


class Program:
    """A module, or `-c` and a source, where no terminal is: in a fork, or in the other interpreter that it asks for."""

    def __init__(
        self,
        module: str,
        args: Sequence[str],
        *,
        cwd: str | os.PathLike[str],
        env: Mapping[str, str],
        stdin: str = "",
        warnings: Sequence[str] = (),
        preloaded: Sequence[str] = (),
        forks: bool = True,
    ) -> None:
        self._command = [sys.executable, *(f"-W{action}" for action in warnings)]
        self._command += [*(("-m",) if module != "-c" else ()), module, *args]
        with contextlib.ExitStack() as stack:
            typed, *self._said = (stack.enter_context(tempfile.TemporaryFile("w+", newline="")) for _ in range(3))
            typed.write(stdin)
            typed.seek(0)
            streams = dict(zip(("stdin", "stdout", "stderr"), (f.fileno() for f in (typed, *self._said)), strict=True))
            self.process: Process | subprocess.Popen[bytes]
            if forks and (parent := zygote(*preloaded)).suits(env):
                self.process = parent.fork(module, args, cwd=cwd, env=env, warnings=warnings, **streams)
            else:
                self.process = subprocess.Popen(self._command, cwd=cwd, env=env, start_new_session=True, **streams)
            self._files = stack.pop_all()

    def ends(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and return what it said."""
        with self._files:
            try:
                code = self.process.wait(timeout)
            finally:
                self.process.kill()
            for file in self._said:
                file.seek(0)
            return subprocess.CompletedProcess(self._command, code, *(file.read() for file in self._said))


def run(module: str, args: Sequence[str], *, timeout: float, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a `Program` to its end."""
    return Program(module, args, **options).ends(timeout)


if __name__ == "__main__":
    main()
