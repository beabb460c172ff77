"""`python -m pytest_kiro export`: what it writes is read by the formats' own published models."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import atif
import jsonschema
import pytest
from eval_runs import Evals, call, shell, turn, write
from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData
from opentelemetry.semconv import schemas
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, process_attributes, test_attributes
from opentelemetry.semconv.attributes import error_attributes

from pytest_kiro.__main__ import main
from pytest_kiro.export import otel
from pytest_kiro.records.run import SCHEMA

EVALS = """
import json
import pytest


@pytest.fixture(scope="module")
def shop(kiro):
    return kiro.run("Build a shop.")


@pytest.mark.parametrize("name", ["Ada"], ids=["a/b::Ada"])
def test_talk(kiro, name):
    kiro.score("words", 2.0, better="lower")
    kiro.run(f"My name is {name}.", model="claude-haiku-4.5")
    kiro.run("And now?")


def test_shop(shop):
    assert len(shop.changes.added) == 2


def test_world(kiro):
    kiro.run("Go.")


def test_other():
    assert True
"""
SCENARIO = {
    "test_talk": [
        turn(
            ["Let me see.", write("a.txt", "a\n"), shell("exit 3")],
            ["", call("subagent", prompt="Look.", requests=[["", shell("echo inside")], ["done."]])],
            ["Nice to meet you."],
        ),
        turn(["Nothing \u001b[31m::error::\u2028é."]),
    ],
    "fixture:shop": [turn(["", write("shop.py", "x\n")], ["Built."])],
    "test_world": [turn(misbehave="throttled")],
}


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """The results of the run, once one of these tests has made it."""
    return {}


@pytest.fixture
def run(evals: Evals, made: dict[str, bytes]) -> Evals:
    """A run of everything: conversations, a sub-agent, a wide fixture, a failure, infrastructure's fault."""
    evals.write("test_it.py", EVALS, SCENARIO)
    file = evals.path / "results.json"
    if not made:
        evals.run(f"--kiro-results={file.name}", "--kiro-retries=0", "--kiro-artifacts=off").assert_outcomes(
            passed=2, failed=2
        )
        made[file.name] = file.read_bytes()
    file.write_bytes(made[file.name])
    return evals


def exported(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """Export to stdout; return the document of each line."""
    capsys.readouterr()
    assert main(["export", *words]) == 0
    shown = capsys.readouterr().out
    assert shown.isascii()
    return [json.loads(line) for line in shown.splitlines()]


def test_trajectories(run: Evals, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run.path / "out" / "trajectories"
    assert main(["export", "--format", "atif", "results.json", "-o", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: 3 trajectories\n"
    read = {path.name: atif.Trajectory.model_validate_json(path.read_bytes()) for path in sorted(folder.iterdir())}
    assert [name.partition("--")[0] for name in read] == [
        "fixture-shop",
        "test_it.py-test_talk-a-b-Ada",
        "test_it.py-test_world",
    ]
    shop, talk, world = read.values()
    assert {one.schema_version for one in (shop, talk, world)} == {"ATIF-v1.7"}
    assert len({one.trajectory_id for one in (shop, talk, world)}) == 3
    assert (talk.agent.name, talk.agent.version, talk.agent.extra) == ("kiro-cli", "2.29.0", {"engine": "v2"})

    said = [(step.source, step.message) for step in talk.steps]
    assert said == [
        ("user", "My name is Ada."),
        ("agent", ""),
        ("agent", "Nice to meet you."),
        ("user", "And now?"),
        ("agent", "Nothing \u001b[31m::error::\u2028é."),
    ]
    acts = talk.steps[1]
    assert acts.tool_calls is not None
    assert acts.observation is not None
    assert [made.function_name for made in acts.tool_calls] == ["write", "shell", "subagent"]
    assert acts.tool_calls[1].arguments["command"] == "exit 3"
    extra = acts.observation.results[1].extra
    assert extra is not None
    assert (extra["status"], extra["exit_code"]) == ("completed", 3)
    (inner,) = talk.subagent_trajectories or []
    assert [ref.trajectory_id for ref in acts.observation.results[2].subagent_trajectory_ref or []] == [
        inner.trajectory_id
    ]
    assert inner.steps[0].message == "Look."
    assert [made.arguments["command"] for made in inner.steps[1].tool_calls or []] == ["echo inside"]
    assert talk.final_metrics is not None
    assert talk.final_metrics.total_steps == 5
    assert talk.notes is not None
    assert "Long texts are cut" in talk.notes

    assert talk.extra is not None
    assert world.extra is not None
    assert shop.extra is not None
    told = talk.extra["pytest_kiro"]
    assert (told["outcome"], told["params"], told["scores"]) == ("passed", {"name": "Ada"}, {"words": 2.0})
    assert shop.extra["pytest_kiro"]["fixture"] == "fixture:shop"
    assert world.extra["pytest_kiro"]["outcome"] == "failed"
    assert "throttled" in world.extra["pytest_kiro"]["failure"]
    ending = world.steps[-1].extra
    assert ending is not None
    assert (ending["cause"], ending["infrastructure"]) == ("throttled", True)


def spans_of(document: dict[str, Any]) -> list[Span]:
    """Read OTLP's JSON by OpenTelemetry's own messages; in it ids are hexadecimal, in theirs Base64."""
    lengths = {"traceId": 16, "spanId": 8, "parentSpanId": 8}

    def based(value: Any) -> Any:
        if isinstance(value, list):
            return [based(one) for one in value]
        if not isinstance(value, dict):
            return value
        for name in lengths.keys() & value.keys():
            assert len(bytes.fromhex(value[name])) == lengths[name]
        ids = {name: base64.b64encode(bytes.fromhex(value[name])).decode() for name in lengths.keys() & value.keys()}
        return {name: based(one) for name, one in value.items()} | ids

    read = json_format.ParseDict(based(document), TracesData())  # which refuses a field that is not known
    (resource,) = read.resource_spans
    assert resource.schema_url == otel.SCHEMA == schemas.Schemas.V1_41_0.value
    (scope,) = resource.scope_spans
    return list(scope.spans)


def attributes(of: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


def names_in(*modules: Any) -> Iterator[str]:
    for module in modules:
        yield from (value for name, value in vars(module).items() if name.isupper() and isinstance(value, str))


def test_traces(run: Evals, capsys: pytest.CaptureFixture[str]) -> None:
    (document,) = exported(capsys, "--format", "otel", "results.json")
    spans = spans_of(document)
    published = {*names_in(gen_ai_attributes, process_attributes, test_attributes, error_attributes)}
    for span in spans:
        given = [*attributes(span), *(name for event in span.events for name in attributes(event))]
        ours = {name for name in given if name.startswith("pytest_kiro.")}
        assert set(given) - ours <= published, span.name
        assert span.start_time_unix_nano <= span.end_time_unix_nano
    operations = {one.value for one in gen_ai_attributes.GenAiOperationNameValues.__members__.values()}
    assert {attributes(span).get("gen_ai.operation.name") for span in spans} - {None} <= operations

    ids = {span.span_id: span for span in spans}
    assert len(ids) == len(spans)
    tree: dict[str, list[str]] = {}
    for span in spans:
        if span.parent_span_id:
            parent = ids[span.parent_span_id]
            assert parent.trace_id == span.trace_id
            tree.setdefault(parent.name, []).append(span.name)
    assert tree == {
        "test_it.py::test_talk[a/b::Ada]": ["invoke_agent kiro-cli", "invoke_agent kiro-cli"],
        "invoke_agent kiro-cli": [f"execute_tool {name}" for name in ("write", "write", "shell", "subagent")],
        "execute_tool subagent": ["execute_tool shell"],
        **{name: ["invoke_agent kiro-cli"] for name in ("test_it.py::test_world", "fixture:shop")},
    }
    by_name = {span.name: span for span in spans}
    first = next(span for span in spans if attributes(span).get("gen_ai.request.model"))
    told = attributes(first)
    assert (first.kind, told["gen_ai.provider.name"], told["gen_ai.request.model"]) == (
        Span.SPAN_KIND_CLIENT,
        "kiro",
        "claude-haiku-4.5",
    )
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "My name is Ada."}]}
    ]
    (answer,) = json.loads(told["gen_ai.output.messages"])
    assert answer["parts"] == [{"type": "text", "content": "Nice to meet you."}]
    assert answer["finish_reason"] == "stop"
    talk, shop, world = (by_name[f"test_it.py::{name}"] for name in ("test_talk[a/b::Ada]", "test_shop", "test_world"))
    assert [(event.name, attributes(event)["gen_ai.evaluation.score.value"]) for event in talk.events] == [
        ("gen_ai.evaluation.result", 2.0)
    ]
    assert (attributes(talk)["test.case.result.status"], talk.status.code) == ("pass", Status.STATUS_CODE_OK)
    assert (attributes(shop)["test.case.result.status"], shop.status.code) == ("fail", Status.STATUS_CODE_ERROR)
    assert [link.span_id for link in shop.links] == [by_name["fixture:shop"].span_id]
    lost = next(span for span in spans if span.parent_span_id == world.span_id)
    assert (attributes(lost)["error.type"], lost.status.code) == ("throttled", Status.STATUS_CODE_ERROR)
    assert attributes(lost)["pytest_kiro.infrastructure"] is True
    (again,) = exported(capsys, "--format", "otel", "results.json")
    assert again == document, "the same ids whenever it is exported"


def test_lines(run: Evals, capsys: pytest.CaptureFixture[str]) -> None:
    rows = exported(capsys, "--format", "jsonl", "results.json")
    assert [(row["test"], row["prompt"]) for row in rows] == [
        ("fixture:shop", "Build a shop."),
        ("test_it.py::test_talk[a/b::Ada]", "My name is Ada."),
        ("test_it.py::test_talk[a/b::Ada]", "And now?"),
        ("test_it.py::test_world", "Go."),
    ]
    schema = json.loads(SCHEMA.read_text())
    published = {"$ref": "#/$defs/turn", "$defs": schema["$defs"]}
    fields = schema["$defs"]["turn"]["properties"]
    for row in rows:
        jsonschema.Draft202012Validator(published).validate({name: row[name] for name in fields})
    about = {name for name in rows[0] if name not in fields}
    assert about == {
        *("run", "test", "fixture", "test_outcome", "test_infrastructure", "trial", "variant", "params", "scores"),
        *("started", "messages"),
    }
    assert (rows[1]["params"], rows[3]["cause"], rows[3]["test_infrastructure"]) == ({"name": "Ada"}, "throttled", True)
    file = run.path / "turns.jsonl"
    assert main(["export", "--format", "jsonl", "results.json", "-o", str(file)]) == 0
    assert [json.loads(line) for line in file.read_text("utf-8").splitlines()] == rows
    assert capsys.readouterr().out == f"{file}: 4 lines\n"


# -- artifacts


def test_artifacts_have_the_turns_in_full(evals: Evals, capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 20_000
    calls: list[list[Any]] = [["First.", write("a.txt", long)], ["Then.", shell("cat a.txt")], ["Last."]]
    scenario = {"test_it": [turn(*calls), turn(["Again."]), turn(["Gone."])]}
    evals.write("test_it.py", "def test_it(kiro):\n    for prompt in 'abc':\n        kiro.run(prompt)\n", scenario)
    evals.run("--kiro-results=results.json", "--kiro-artifacts=on").assert_outcomes(passed=1)
    kept = evals.path / "kiro-results"
    latest = (kept / "latest").resolve()
    (test,) = [file.parent for file in latest.glob("*/test.json")]
    turns = test / "conversation-1"
    (turns / "turn-3.json").write_text('{"prompt": "cut')  # as a killed process leaves it
    for place in (kept, latest, test, evals.path / "results.json"):
        rows = exported(capsys, "--format", "jsonl", str(place))
        completed = place.suffix == ".json"  # results still know how it ended
        assert [row["status"] for row in rows] == ["completed"] * 2 + ["completed" if completed else "broken off"]
        assert rows[0]["messages"] == ["First.", "Then.", "Last."]
        assert rows[0]["tool_calls"][0]["input"]["content"] == long
        assert rows[0]["tool_calls_left_out"] == rows[0]["output_left_out"] == 0
        assert rows[0]["started"] < rows[1]["started"]
    out = evals.path / "out"
    assert main(["export", "--format", "atif", str(kept), "-o", str(out)]) == 0
    (file,) = out.iterdir()
    read = atif.Trajectory.model_validate_json(file.read_bytes())
    assert [step.message for step in read.steps] == ["a", "First.", "Then.", "Last.", "b", "Again.", "c", ""]
    done = [[made.function_name for made in step.tool_calls or []] for step in read.steps]
    assert done == [[], ["write"], ["shell"], [], [], [], [], []]
    made = [made.tool_call_id for step in read.steps for made in step.tool_calls or []]
    assert made == ["turn-1-call-1", "turn-1-call-2"]
    assert (
        read.notes
        == "Long texts are cut, and of the assistant's messages the last one is here: artifacts have the rest."
    )
    assert read.steps[0].timestamp == exported(capsys, "--format", "jsonl", str(kept))[0]["started"]
    spans = spans_of(*exported(capsys, "--format", "otel", str(latest)))
    assert [attributes(span).get("pytest_kiro.times") for span in spans[:2]] == [None, None]

    kept.joinpath("latest").unlink()
    evals.path.joinpath("kiro-results").rename(evals.path / "gone")
    cut, *_ = exported(capsys, "--format", "jsonl", "results.json")
    assert cut["messages"] == ["Last."]
    assert cut["tool_calls"][0]["input_left_out"]
    assert cut["started"] is None


WRONG = [
    (("otel", "."), " has no artifacts of a run in it; name a folder that --kiro-artifacts has written, or a file"),
    (("otel", "none.json"), "none.json cannot be read: No such file or directory; name a file of --kiro-results"),
    (("jsonl", "test_it.py"), "test_it.py is no JSON, or was cut"),
    (("jsonl", "empty.json"), "empty.json has no turns; name the results of a run that has asked Kiro something"),
    (("atif", "results.json"), "no folder is named for them; name one: -o FOLDER"),
    (("jsonl", "results.json", "-o", "none/x"), "none/x could not be written: No such file or directory"),
    (("atif", "results.json", "-o", "test_it.py"), "test_it.py could not be written: File exists"),
    (("otel", "broken"), "test.json cannot be read: Expecting"),
]


def test_what_cannot_be_exported(run: Evals, capsys: pytest.CaptureFixture[str]) -> None:
    results = json.loads((run.path / "results.json").read_text())
    (run.path / "empty.json").write_text(json.dumps({**results, "tests": [], "fixtures": []}))
    (run.path / "broken" / "one").mkdir(parents=True)
    (run.path / "broken" / "one" / "test.json").write_text("[")
    capsys.readouterr()
    for (form, *rest), said in WRONG:
        assert main(["export", "--format", form, *rest]) == 1, rest
        shown = capsys.readouterr()
        assert said in shown.err
        assert shown.out == ""
