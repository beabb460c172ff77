# shellcheck shell=sh
# Answers `running` and ends while a terminal's program still runs; what stands behind it ends what that left.
#
# session_file  where the session of the terminal is noted
# mark          what the environment of its processes has in it
#
# A polite proxy closes a link as if the program had ended with 0, so the end is asked for where it happened. A shell
# that has not yet said who it is may be about to.
: "${session_file?}" "${mark?}"
leader=$(cat "$session_file" 2>/dev/null)
if [ -n "$leader" ]; then ! kill -0 "$leader" 2>/dev/null
else ! grep -qaF "$mark" /proc/[0-9]*/environ 2>/dev/null
fi || { echo running; exit; }
