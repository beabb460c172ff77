"""An emulated Daytona: the API over real HTTP and WebSockets, sandboxes with real shells and PTYs.

The unmodified SDK cannot tell it from the service, as far as `docs/emulator-fidelity.md` says. It runs in a process of
its own; each sandbox is a folder of this machine whose HOME is `<root>/<id>/home/daytona`.

By hand: `python -m tests.emulator` prints the two variables to export. In a test:

    with Emulator(memory_quota=10) as emulator:
        config = DaytonaConfig(api_key=emulator.key, api_url=emulator.url)
        emulator.fault("sandbox_create", status=429, headers={"Retry-After-sandbox-create": "1"}, times=2)
        ...
        assert emulator.sandboxes() == []

Knobs, for `configure` and the constructor (an unknown one, or a wrong value, is a ValueError):

| knob | default | what it does |
| --- | --- | --- |
| latency | 0 | seconds added to each request and handshake, half of it to each frame in either direction |
| shell | auto | zsh, bash or sh for exec and PTYs; auto is the daemon's choice by /etc/shells |
| memory_quota, cpu_quota, disk_quota | None | GiB, processors, GiB; beyond it create and start are 403 |
| max_sandboxes | None | the same for the number of running sandboxes |
| rate_limit | None | creates per minute of the emulator's clock; beyond it 429 with Retry-After-sandbox-create |
| creating_polls | 0 | GETs until a new or started sandbox is `started` |
| destroying_polls | 0 | GETs for which a deleted sandbox is `destroying` before it is gone |
| build_polls, activate_polls | 1 | GETs until a new, or an activated, snapshot is `active` |
| build_fails | None | the reason with which builds of new snapshots fail |
| snapshot_home | None | a folder: the home of sandboxes whose Dockerfile, or whose snapshot's, has a RUN line |
| toolbox_url | True | False: toolboxProxyUrl is empty, so that the SDK asks for it |
| pty_exit | both | how PTYs tell their exit code: see exit_style below |
| subprotocol | False | True: the first is chosen in the handshake |
| shell_delay | 0 | seconds until the shell of a new PTY starts; the terminal echoes meanwhile |
| slow_client_grace | 5 | seconds a client may take nothing while 256 chunks wait for it; 0 is as 0.190 was |
| start_error | False | True: an exec that cannot start, as in a missing cwd, is a 400 instead of exit code -1 |
| disk_full | False | True: uploads end in "no space left on device", processes cannot write files |

Rules, for `fault(route, times=1, after=0, sandbox=None, duration=None, **actions)`; routes are those of `routes.py`,
by which `log()` names them too, and `unknown`. A later rule overrides an earlier one:

| action | routes | what it does |
| --- | --- | --- |
| delay, delay_response | all | seconds before the request is processed, or after it, before it is answered |
| status, message, code, headers | all | the error with which it is answered, unprocessed |
| drop | all | the connection is torn, unprocessed |
| refuse | all | the same, and nobody is let in for so many seconds |
| lose_response | all | processed; the connection is torn instead of answered (a PTY's handshake too) |
| cut_body | all but PTYs | the connection is torn at this byte of the answer's body |
| truncate | files_bulk_download | the answer ends politely at this byte |
| disk_full | files_bulk_upload | there is no space left |
| kill_sandbox | of a sandbox | destroyed or error: the machine dies while the request is processed |
| creating_polls, end_state, error_reason | sandbox_create | as the knob; the state it ends in: error, build_failed |
| destroying_polls | sandbox_delete | as the knob |
| build_polls, build_fails | snapshot_create | as the knobs |
| shell_delay | pty_create_connect | as the knob |
| no_pong, no_connected | PTYs | pings are not answered; nobody says "connected" |
| connected_delay, early_output | PTYs | seconds before "connected"; a text that comes as output before it |
| hold_output | PTYs | output waits in the queue for so many seconds, or, True, until the session ends: a slow line |
| cut_after | PTYs | the connection is torn at this byte of output |
| close_after, close_code, close_reason | PTYs | it is closed there: 1000 without a reason, or as is said |
| mute_after | PTYs | nothing more comes, and the connection stays |
| kill_after, kill_state | PTYs | the machine dies there, and is then destroyed or in error |
| exit_style | PTYs | both; control or close: only that frame; abort; none; two ends of the daemon's race: see below |

The daemon says "exited" and closes while output may still be under way. `d190`: that output is lost. `late`: it comes
behind "exited". The default, `both`, is the end that loses nothing.
"""

from __future__ import annotations

from .handle import Emulator, EmulatorError

__all__ = ["Emulator", "EmulatorError"]
