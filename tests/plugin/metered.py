"""A kiro-cli whose turns cost something: the stand-in, which meters nothing, with credits put into its records."""

from __future__ import annotations

import sys

from eval_runs import STAND_IN, Evals, program

_SCRIPT = f"""
{sys.executable} -I -S {STAND_IN} "$@"
status=$?
sessions=$HOME/.kiro/sessions/cli
[ -d "$sessions" ] && find "$sessions" -name '*.json' | while read -r file; do
    sed 's/"metering_usage": *\\[\\]/"metering_usage": [{{"value": '"${{COST:-0.25}}"'}}]/' "$file" >"$file.new"
    cat "$file.new" >"$file"
    rm "$file.new"
done
exit $status"""


def metered(evals: Evals) -> str:
    """Return the option that chooses it; a turn costs what COST in its environment says, else 0.25."""
    return f"--kiro-cli={program(evals, _SCRIPT)}"
