r"""What is executed inside a sandbox: pure, values in and `sh` text out.

Daytona pipes a command's text into zsh or bash, merges its output into JSON, holds the request while a background
child has the output open, and loses the output when it times out. So a command of the user's is wrapped: a POSIX
`sh`, in a session of its own, with a file for its output, and a folder by whose name a repeated request finds what the
first one began, so that an answer that was lost can be asked for again. Errands of our own are short and may be done
twice; they need no file, so that a full disk can still be cleared.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.protocol import OUTPUT_KEPT

#: The variable by which a task's processes are known again. It names no product: the agent can read it.
TAG = "SANDBOX_TASK"
#: Bytes that the kernel takes as one argument or one variable (Linux: 32 pages, with the zero at the end).
LONGEST_ARGUMENT = 128 * 1024 - 1

# The command comes on standard input, which has no limit of length. $1 is the folder of all tasks, $2 this task.
# Its own names are long, since a variable of the sandbox with the same name would be overwritten for the command.
_BEGIN = r"""
unset IFS
cd "$HOME" || exit 1
task_command=$(cat; echo .)
task_command=${task_command%.}
task_folder=$1 task_name=$2
mkdir -p -m 700 "$task_folder" 2>/dev/null
"""

# $3 … tasks whose answer has arrived
_ERRAND = rf"""{_BEGIN}
shift 2
for task_old do rm -rf "$task_folder/$task_old"; done
( eval "$task_command" ) </dev/null 2>&1
printf '\n%s %s ended\n' "$task_name" "$?"
"""

# $3 its tag · $4 cwd · $5 cap · $6 what sets the variables of the command, empty for none · $7 … tasks whose answer has
# arrived. What becomes of its files, in a temporary folder that anybody may clear, is of no importance to the first
# request: it has the output open, and knows the status.
_EXEC = rf"""{_BEGIN}
task_tag=$3 task_cwd=$4 task_cap=$5 task_given=$6
shift 6
for task_old do rm -rf "$task_folder/$task_old"; done
task_files=$task_folder/$task_name task_status= task_session=0 task_dead=0
exec 3</dev/null
if mkdir "$task_files" 2>/dev/null; then
  if ! true >"$task_files/output"; then task_status='1 full'
  elif exec 3<"$task_files/output"; {{ cd "$task_cwd"; }} 2>"$task_files/output"; then
    if [ -n "$task_given" ]; then set -- /bin/sh -c "$task_given" sh "$task_command"
    else set -- /bin/sh -c "$task_command"
    fi
    {TAG}="$task_tag" setsid "$@" </dev/null >"$task_files/output" 2>&1 3<&- &
    task_session=$!
    echo "$task_session" >"$task_files.session"
    {{ wait "$task_session"; }} 2>/dev/null
    task_status="$? ended"
  elif [ -d "$task_cwd" ]; then task_status='1 closed'
  elif [ -e "$task_cwd" ]; then task_status='1 file'
  else task_status='1 missing'
  fi
  echo "$task_status" >"$task_files/part" || [ ! -d "$task_files" ] || task_status="${{task_status%% *}} full"
  mv "$task_files/part" "$task_files/status"
  kill -0 "-$task_session" || rm -f "$task_files.session"
elif [ -d "$task_files" ]; then
  while [ -d "$task_files" ] && ! [ -f "$task_files/status" ] && [ $task_dead -lt 30 ]; do
    sleep 0.1
    if read -r task_session <"$task_files.session" && ! kill -0 "$task_session"; then task_dead=$((task_dead + 1)); fi
  done
  if [ -f "$task_files/status" ]; then
    task_status=$(cat "$task_files/status")
    if [ -f "$task_files/output" ]; then exec 3<"$task_files/output"; fi
  fi
else task_status='1 full'
fi 2>/dev/null
task_output=/proc/self/fd/3
task_size=$(wc -c <$task_output)
if [ "$task_size" -le "$task_cap" ]; then cat <$task_output
else
  head -c $((task_cap / 2)) <$task_output
  printf '\n[... %d bytes in the middle were not kept ...]\n' $((task_size - task_cap))
  tail -c $((task_cap / 2)) <$task_output
fi 2>/dev/null
printf '\n%s %s\n' "$task_name" "$task_status"
"""

# Kills until nothing is found, after a kill twice: a process may fork, or be just becoming another program, while we
# look. A tag is the beginning of those of many tasks, or one task's own.
_REAP = rf"""
reap() {{
  calm=1 round=0
  marks=$(for tag do echo "{TAG}=$tag"; done)
  while [ $calm -lt 2 ] && [ $round -lt 100 ]; do
    sessions=$(for tag do cat "$tasks/$tag"*session; done 2>/dev/null)
    found=$(
      grep -laF "$marks" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
      [ -z "$sessions" ] || cat /proc/[0-9]*/stat 2>/dev/null | awk -v wanted="$(echo $sessions)" '
        BEGIN {{ count = split(wanted, each); for (i = 1; i <= count; i++) ours[each[i]] = 1 }}
        {{ pid = $1; sub(/.*\) /, ""); if ($4 in ours && $1 !~ /[ZX]/) print pid }}'
    )
    if [ -n "$found" ]; then kill -9 $found 2>/dev/null; calm=0; else calm=$((calm + 1)); fi
    round=$((round + 1))
    [ $calm -eq 2 ] || sleep 0.02
  done
  for tag do rm -f "$tasks/$tag"*session; done
}}
"""


@dataclass(frozen=True)
class Ended:
    """What a wrapped command came to; `trouble` is set when its folder was the reason that it never began."""

    output: str
    exit_code: int
    trouble: str = ""


def wrap(
    command: str,
    *,
    tasks: str,
    task: str,
    tag: str,
    cwd: str,
    variables: Iterable[str] = (),
    answered: Iterable[str] = (),
) -> str:
    """Return the text to send for one command of the user's.

    `tasks` is the folder of all tasks and `task` this one's name in it; `tag` marks its processes; `variables` come
    in the request under `carried` names and are for the command alone: a PATH of the user's must not be ours.
    `answered` are tasks whose folders nobody will ask for again.
    """
    given = [f'{name}="${carried(name)}"; export {name}; unset {carried(name)}; ' for name in variables]
    if given:
        given.append('exec /bin/sh -c "$1"')
    return _piped(command, _EXEC, [tasks, task, tag, cwd, str(OUTPUT_KEPT), "".join(given), *answered])


def errand(command: str, *, tasks: str, task: str, answered: Iterable[str] = ()) -> str:
    """Return the text to send for a command of ours, which may be carried out twice."""
    return _piped(command, _ERRAND, [tasks, task, *answered])


def _piped(command: str, script: str, words: Sequence[str]) -> str:
    return f"printf %s {shlex.quote(command)} | exec {shlex.join(['sh', '-c', script, 'sh', *words])}"


def carried(name: str) -> str:
    """Return the name under which a variable of a command travels.

    >>> carried("PATH")
    'SANDBOX_TASK_GIVEN_PATH'
    """
    return f"{TAG}_GIVEN_{name}"


def unwrap(text: str, task: str) -> Ended:
    """Take a wrapped command's answer apart; `SandboxError` when its end is missing."""
    output, found, status = text.rpartition(f"\n{task} ")
    words = re.fullmatch(r"(\d+) (\w+)\s*", status)
    if not found or not words:
        raise SandboxError(
            "the sandbox answered without saying how the command ended: "
            f"{text[-200:]!r}; its temporary folder may have been removed, or the command killed what had started it"
        )
    return Ended(output, int(words[1]), "" if words[2] == "ended" else words[2])


def reap(tags: Sequence[str], tasks: str, void: str = "") -> str:
    """Return the command that kills all processes of tasks whose tags begin with these, and all in their sessions.

    `void` is a task that shall not begin any more: its request may still be on its way.
    """
    if not tags:
        return ""
    folder = shlex.quote(f"{tasks}/{void}")
    voided = f"mkdir {folder} 2>/dev/null && echo '137 ended' >{folder}/status\n" if void else ""
    return f"tasks={shlex.quote(tasks)}{_REAP}{voided}reap {shlex.join(tags)}\n"


def beforehand(command: str) -> str:
    """Return the text that executes a command of ours before another one's text, without a word."""
    return f"sh -c {shlex.quote(command)} </dev/null >/dev/null 2>&1\n"


def settle(tag: str, tasks: str) -> str:
    """Return the command that says whether a terminal's program still runs, and if not ends what it left.

    A polite proxy closes a link as if the program had ended with 0, so the end is asked for where it happened. A shell
    that has not yet said who it is may be about to.
    """
    file = session_file(tag, tasks)
    return (
        f"leader=$(cat {file} 2>/dev/null)\n"
        'if [ -n "$leader" ]; then ! kill -0 "$leader" 2>/dev/null\n'
        f"else ! grep -qaF {shlex.quote(f'{TAG}={tag}')} /proc/[0-9]*/environ 2>/dev/null\n"
        "fi || { echo running; exit; }\n"
        f"{reap([tag], tasks)}echo ended\n"
    )


def session_file(tag: str, tasks: str) -> str:
    """Return the file in which the session of a terminal is noted, as a word of a shell."""
    return shlex.quote(f"{tasks}/{tag}session")
