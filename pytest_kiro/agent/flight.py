"""One prompt on its way to kiro-cli and back: started, judged by what it left, landed as a turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

from pytest_kiro.agent.answered import answered
from pytest_kiro.agent.bench import Bench, Conversing
from pytest_kiro.agent.flying import Landed
from pytest_kiro.agent.launching import clear, launch_for
from pytest_kiro.agent.printed import Printed
from pytest_kiro.agent.request import Request, Resume
from pytest_kiro.agent.running import Running
from pytest_kiro.agent.spending import check_spent
from pytest_kiro.errors import HIDE_FRAMES, SandboxError
from pytest_kiro.kirocli import layout, sessions
from pytest_kiro.kirocli.evidence import StoreSearch, beginning, combine, contradict, judge
from pytest_kiro.terminal.attach import attach
from pytest_kiro.terminal.record import LaunchRecord
from pytest_kiro.terminal.text import plain_text
from pytest_kiro.turn.calls import ToolCalls
from pytest_kiro.turn.causes import Cause, Ending
from pytest_kiro.turn.changes import Changes, outside
from pytest_kiro.turn.loaded import Given
from pytest_kiro.turn.transcript import ToolCall, Transcript
from pytest_kiro.turn.turn import Turn
from pytest_kiro.turn.warnings import Warnings, some

__tracebackhide__ = HIDE_FRAMES


class Flight:
    """One turn from its start to its landing; whatever happens, what was opened for it is closed."""

    #: Whether the lists of files are wanted with all digests, also where nothing changed.
    lists_all = False

    def __init__(self, bench: Bench, conversation: Conversing, request: Request) -> None:
        self.bench, self.conversation, self.request = bench, conversation, request
        settings, timeout = bench.settings, request.options.timeout
        self._home = conversation.owner.home(bench.homes)
        self._launch = launch_for(request, bench, conversation.workspace, lists_all=self.lists_all)
        self.printed = Printed(bench.engine.name, bench.secrets, stream=bench.streams)
        check_spent(conversation.owner, scripted=bench.scripted)
        self._spending = bench.budget.admit(conversation.owner.name)
        self._began = False
        self._turn: Turn | None = None
        self._told = False
        with ExitStack() as undo:
            undo.callback(self._spend)
            undo.callback(self._clear)
            bench.sandbox.keep_alive(timeout)
            self._home.keep_in_step()
            self._pty = attach(bench.sandbox, self._launch, size=settings.terminal, waits=settings.waits)
            self._began = True
            with ExitStack() as broken:
                broken.callback(self._pty.close)
                for observer in bench.observers:
                    observer.started(conversation, request.prompt)
                broken.pop_all()
            self._undo = undo.pop_all()
        stall = math.inf if settings.stall_timeout is None else settings.stall_timeout
        self.running = Running(self._pty, timeout=timeout, stall=stall, waits=settings.waits)

    def land(self, late: Callable[[Sequence[ToolCall]], Ending | None]) -> Landed:
        """Collect what the ended turn left, and make it a value.

        `late` says what was to stop it for these calls: its record may tell more of them than were announced.
        """
        before, admission = self.request.resume, self.bench.admission
        self.conversation.workspace.made |= self._pty.started
        self._home.made |= self._pty.started
        with self._undo:
            record, trouble = self._collect()
            self._home.hand_on(record.stores if record else {})
            self.collected(record)
            turn, transcript = self._judged(record, trouble, late)
            # The record of one that was ended may have no more than what its session cost to begin.
            self._turn, self._told = turn, turn.ok or transcript.end_reason is not None
        renewed = admission.heard(turn, self._home.copy_in)
        untouched = _is_intact(record, turn) and not turn.tool_calls and not self.printed.announced
        passing = renewed or (turn.cause is not None and turn.cause.passing)
        resume = before
        # Only what completed with proof can be resumed (contract C2).
        if transcript.session_id and (turn.ok or transcript.session_id == before.session_id):
            resume = Resume(transcript.session_id, transcript.prompts, transcript.turns, before.charged(transcript))
        return Landed(turn, resume, may_fly_again=not turn.ok and untouched and passing)

    def abandon(self) -> None:
        """End the program without asking what it left."""
        with self._undo:
            self.running.kill()

    def collected(self, record: LaunchRecord | None) -> None:
        """Take note of what the sandbox kept; for those who keep more of a turn."""

    def _collect(self) -> tuple[LaunchRecord | None, str]:
        """Return what the program left, or why that is not known."""
        if not self._pty.started:
            return None, "it was ended before it began"
        try:
            return self._pty.collect(), ""
        except (SandboxError, OSError, ValueError) as error:
            return None, f"what it left could not be read: {error}"

    def _judged(
        self, record: LaunchRecord | None, trouble: str, late: Callable[[Sequence[ToolCall]], Ending | None]
    ) -> tuple[Turn, Transcript]:
        """Put together what the sandbox kept and what was seen."""
        request, secrets, status = self.request, self.bench.secrets, record.status if record else None
        # Twice, as colours may have stood in the middle of a secret.
        diagnostics = secrets(plain_text(secrets.data(record.diagnostics))) if record else ""
        said = f"{self.printed.text}\n{diagnostics}"
        transcript, strayed = self._transcript(record.stores if record else {})
        exit_code = self.running.exit_code if status is None else status
        by_itself = judge(exit_code, transcript, said, request.prompt, self._search(record))
        ending = self.running.ending or by_itself
        if ending.status == "lost" and status is not None:
            ending = by_itself  # the sandbox tells
        elif by_itself.cause is Cause.UNANSWERED and ending.cause in (Cause.OUT_OF_TIME, Cause.STALLED):
            ending = replace(ending, cause=by_itself.cause, detail=f"{ending.detail}; {by_itself.detail}")
        elif record is None and ending.status != "lost" and (self._pty.warnings or ending.cause is Cause.CRASH):
            detail = f"{trouble}; before that: {ending.detail}" if ending.detail else trouble
            ending = Ending("lost", Cause.CONNECTION, detail=detail)
        ending = self._verified(ending, record)
        resumed = request.resume.session_id if strayed else None
        begun, options = beginning(self.printed.text, diagnostics), request.options
        ending = contradict(ending, transcript, agent=options.agent, model=options.model, resumed=resumed, output=begun)
        transcript, ending = secrets.within((transcript or Transcript(""), ending))
        if ending.status == "completed":
            ending = late(transcript.tool_calls) or ending
        return self._made(record, transcript, ending, exit_code, diagnostics), transcript

    def _search(self, record: LaunchRecord | None) -> StoreSearch:
        """Return where the records of a first turn were looked for."""
        launch, bench = self._launch, self.bench
        if record is None or self.request.resume.session_id:
            return StoreSearch()
        places = launch.within(bench.sandbox.home).absolute(bench.engine.stores_for(launch.env, launch.workspace))
        search = StoreSearch.among(record.stores, record.beyond, places, version=bench.installation.version)
        return replace(search, unread=search.unread or places) if record.cut else search

    def _verified(self, ending: Ending, record: LaunchRecord | None) -> Ending:
        """Return `ending` unless the sandbox tells of it what cannot be: then no turn is completed."""
        doubtful = ending.status == "completed" or ending.cause in (Cause.CRASH, Cause.UNKNOWN_CLI)
        if record is None or not doubtful:
            return ending
        own, written, detail = self.running.exit_code, record.status, record.altered
        if not detail and ending.cause is Cause.UNKNOWN_CLI and (gone := _gone(record, self.bench.engine.stores)):
            detail = f"of its HOME, {some(gone)} is gone: something in the sandbox has removed or replaced it"
        if not detail and ending.status == "completed":
            if written is None:
                detail = "its launch script has left no exit status: something in the sandbox has removed it"
            elif own is not None and own != written:
                detail = f"its terminal says exit code {own}, and the file of its launch says {written}"
        return Ending("failed", Cause.ALTERED, detail=detail) if detail else ending

    def _transcript(self, stores: Mapping[str, bytes]) -> tuple[Transcript | None, bool]:
        """Return Kiro's own records; and whether another session answered than was to go on."""
        engine, prompt, resume = self.bench.engine.name, self.request.prompt, self.request.resume
        read = partial(sessions.read, stores, engine=engine, cwd=self._launch.workspace, prompt=prompt)
        store = read(session_id=resume.session_id, prompts=resume.prompts, turns=resume.turns, counted=resume.counted)
        stream, strayed = self.printed.transcript(), False
        if resume.session_id and (store is None or store.end_reason is None):
            other = read()
            if other is not None and other.session_id not in ("", resume.session_id):
                strayed, store = True, other
            elif stream is not None:  # of which no store has a record
                strayed = stream.session_id not in ("", resume.session_id)
                store = None if strayed else store
        return combine(store, stream, layout.credits(self.printed.text) if engine == "v1" else None), strayed

    def _made(
        self,
        record: LaunchRecord | None,
        transcript: Transcript,
        ending: Ending,
        exit_code: int | None,
        diagnostics: str,
    ) -> Turn:
        bench, request, pty, printed = self.bench, self.request, self._pty, self.printed
        changes, around = self._changes(record)
        if not pty.started and ending.status != "lost":
            changes = around = Changes()  # it never began; of what is lost nothing is known
        left = pty.survivors
        secrets = bench.secrets
        noted = [*self._reach_further(around, left.stuck)]
        if record is not None and record.beyond:
            noted.append(f"files too large to be read as records: {some(record.beyond)}")
        if record is not None and record.cut:
            noted.append("the session stores have more than 256 MiB; what is beyond that was not read")
        if record is not None and not record.intact and not record.altered:
            noted.append("its workspace is another folder than before, or none: something has replaced it")
        provenance, others = answered(bench, self._launch, request, record, transcript)
        noted += others
        turn = Turn(
            prompt=bench.secrets(request.prompt),
            number=len(self.conversation.turns) + 1,
            output=printed.text,
            raw=printed.data,
            truncated=printed.truncated or pty.cut,
            diagnostics=diagnostics,
            exit_code=exit_code,
            status=ending.status,
            cause=ending.cause,
            detail=ending.detail,
            proof=ending.proof,
            duration=self.running.duration,
            first_output_after=self.running.first_output_after,
            messages=transcript.messages,
            tool_calls=ToolCalls(transcript.tool_calls, folder=self._launch.workspace),
            credits=transcript.credits,
            credits_source=transcript.credits_source,
            provenance=provenance,
            session_id=transcript.session_id or None,
            known_changes=changes,
            known_outside=around,
            survivors=tuple(map(secrets, (*left.killed, *left.stuck))),
            warnings=tuple(Warnings([*request.history, *map(secrets, (*pty.warnings, *noted, *transcript.warnings))])),
            agents=transcript.agents,
            given=Given.of(transcript, whole=not (record and (record.beyond or record.cut))),
            home=self.conversation,
        )
        if changes is None:
            self.conversation.workspace.ledger.miss(turn.summary)
        return turn

    def _changes(self, record: LaunchRecord | None) -> tuple[Changes | None, Changes | None]:
        """Return what changed in the workspace, and outside of it in HOME; None for what is not known."""
        if record is None or record.before is None or record.after is None:
            return None, None
        workspace = self.conversation.workspace
        before, elsewhere = record.before.split()
        after, later = (before, elsewhere) if record.after is record.before else record.after.split()
        return workspace.ledger.record(before, after, workspace.ignore), outside(elsewhere, later, workspace.ignore)

    def _reach_further(self, changes: Changes | None, stuck: Sequence[str]) -> Iterator[str]:
        """Yield what of a turn could touch another test."""
        if stuck:
            yield f"processes that could not be ended: {some(stuck)}"
        if changes and self._launch.home in ("", self.bench.sandbox.home):
            yield f"in HOME, which other tests have as well, it changed: {some(sorted(changes.paths))}"

    def _spend(self) -> None:
        """Enter into the budget what the turn cost; the records of one that was ended may not say."""
        turn, budget = self._turn, self.bench.budget
        credits = turn.credits if turn else None
        unmetered = not self._began or self.bench.scripted or (turn is not None and turn.ok)
        if unmetered or (self._told and credits is not None):
            budget.settle(self._spending, credits)
        else:
            budget.forfeit(self._spending, credits)

    def _clear(self) -> None:
        if not self._began or self._pty.launch_record is None:  # else our files are gone already
            clear(self.bench.sandbox, self._launch)


def _is_intact(record: LaunchRecord | None, turn: Turn) -> bool:
    """Whether a second attempt would begin as the first did.

    kiro-cli itself adds files to a fresh HOME. What was not read may have said otherwise.
    """
    around = turn.known_outside
    if record is not None and (record.altered or record.cut or record.beyond or not record.intact):
        return False
    return turn.known_changes == Changes() and around is not None and not (around.modified or around.deleted)


def _gone(record: LaunchRecord, stores: Iterable[str]) -> list[str]:
    """Return the stores' folders in HOME that are no folders any more."""
    if record.before is None or record.after is None:
        return []
    gone = dict[str, None]()
    for store in stores:
        top = store.partition("/")[0]
        for folder in (*reversed(PurePosixPath(store).parents[:-1]), PurePosixPath(store)):
            # What stands in the first is not listed, unless it is no folder.
            usual = b"" if str(folder) == top else b"d"
            was, now = (
                lst.entries.get(f"./{folder}".encode(), (usual, b""))[0][:1] for lst in (record.before, record.after)
            )
            if now not in (b"d", was):
                gone[str(folder)] = None
                break
    return list(gone)
