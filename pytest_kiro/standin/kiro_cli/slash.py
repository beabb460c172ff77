"""Runs commands that begin with `/`, `!` or `@`; nothing of them goes to the model.

They are typed as V1's first prompt, or in a chat.
"""

from __future__ import annotations

from . import out
from .tools import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import agents

HELP = """\
/help             Show this list
/usage            Show the credits that were used
/context          Show how full the context window is
/model [ID]       Show the model, or go on with another one
/tools            Show the tools, and which of them are trusted
/clear            Begin a new conversation
/quit, /exit, /q  Leave the chat
!COMMAND          Run a command
"""
_REPORTS = {
    "/usage": "Estimated Usage | resets on 01/01 | STAND-IN\n\nCredits (0.00 of 50 covered in plan)\n",
    "/context": "Current context window (0.0% used)\n\nTools 0.0%\nKiro responses 0.0%\nYour prompts 0.0%\n",
}


def is_one(prompt: str) -> bool:
    """Tell whether this prompt is a command."""
    return prompt[:1] in ("/", "!", "@")


def is_known(word: str) -> bool:
    """Tell whether `run` answers this command of a chat."""
    return word in _REPORTS


def tools(trust: agents.Trust) -> str:
    """Write the report of `/tools`."""
    rows = [
        f"{name:<12}{'trusted' if trust.trusts(name) else 'not trusted'}\n" for name in dict.fromkeys(NAMES.values())
    ]
    return "Tool        Permission\n" + "".join(rows)


def run(prompt: str) -> int:
    """Run a command; there is no turn, and nothing is recorded."""
    words = prompt[1:].split()
    if prompt[0] == "@":
        out.write(2, f"Prompt '{words[0] if words else ''}' not found\n")
    elif prompt[0] == "/":
        # Like /tools of the real program, a command that is not known here prints nothing.
        out.write(1, _REPORTS.get(prompt.split()[0], ""))
    elif words:
        from . import shell

        command = {"command": prompt[1:].strip(), "working_dir": None}
        shell.execute("shell", {"ExecuteCmd": command}, lambda data: out.write(1, data))
    return 0
