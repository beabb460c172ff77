"""Tool calls are really executed, and answered and recorded as the real tools are."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

import pytest
from standin_process import Standin, tool

from pytest_kiro.standin.kiro_cli import shell

INVALID = "The tool arguments failed validation: "
SCHEMA = "Failed to parse the tool use: The tool input does not match the tool schema: "


def call(standin: Standin, name: str, **args: Any) -> Any:
    """Run one tool call and return its answer: the data of an item, or the text of the error."""
    before = len(standin.results()) if standin.store.exists() else 0
    result = standin.chat("go", [[tool(name, **args)], ["ok"]], "-r")
    assert (result.code, result.out) == (0, "ok\n")
    entry = standin.results()[before]
    record = [m["data"]["results"] for m in standin.messages() if m["kind"] == "ToolResults"][-1]
    if entry["status"] == "error":
        assert "[tool] status: Failed\n" in result.err
        if entry["content"][0]["data"].startswith("Failed to parse"):
            assert record == {}
        else:
            assert list(record["tooluse_1"]["result"]) == ["Error"]
    else:
        assert "[tool] status: Completed\n" in result.err
        items = record["tooluse_1"]["result"]["Success"]["items"]
        parts = [{"kind": kind.lower(), "data": data} for item in items for kind, data in item.items()]
        assert parts == entry["content"]
    (content,) = entry["content"]
    return content["data"]


def test_create_writes_the_file_and_its_parents(standin: Standin) -> None:
    path = standin.cwd / "a" / "b ü.txt"

    answer = call(standin, "write", command="create", path="a/b ü.txt", content="one\r\ntwo")

    assert answer == f"Successfully created {path} (2 lines)."
    assert path.read_bytes() == b"one\r\ntwo"


def test_create_expands_the_home_and_overwrites(standin: Standin) -> None:
    (standin.home / "x").write_text("old")

    assert "(0 lines)" in call(standin, "fs_write", command="create", path="~/x", content="")
    assert (standin.home / "x").read_text() == ""


def test_create_under_a_file_fails(standin: Standin) -> None:
    (standin.cwd / "file").write_text("")

    answer = call(standin, "write", command="create", path="file/x", content="")

    assert answer.startswith(f"failed to create directory {standin.cwd}/file: ")
    record = standin.messages()[2]["data"]["results"]["tooluse_1"]["result"]
    assert record == {"Error": {"Io": {"context": f"failed to create directory {standin.cwd}/file"}}}


def test_create_over_a_directory_fails(standin: Standin) -> None:
    answer = call(standin, "write", command="create", path=".", content="")

    assert answer == f"failed to write to {standin.cwd}: Is a directory (os error 21)"


def test_replace(standin: Standin) -> None:
    file = standin.cwd / "x.txt"
    file.write_bytes(b"a b\r\na c\r\n")

    once = call(standin, "write", command="strReplace", path="x.txt", oldStr="b\na", newStr="-\n-")
    after_once = file.read_bytes()
    many = call(standin, "write", command="strReplace", path="x.txt", oldStr="-", newStr="=", replaceAll=True)

    assert once == f"Successfully replaced 1 occurrence(s) in {file}."
    assert after_once == b"a -\r\n- c\r\n"
    assert many == f"Successfully replaced 2 occurrence(s) in {file}."
    assert file.read_bytes() == b"a =\r\n= c\r\n"


def test_replace_fails_where_the_text_is_not_there_once(standin: Standin) -> None:
    file = standin.cwd / "x.txt"
    file.write_text("aa\n")

    def replace(path: str, old: str) -> Any:
        return call(standin, "write", command="strReplace", path=path, oldStr=old, newStr="")

    assert replace("x.txt", "a") == "2 occurrences of old_str were found when only 1 is expected"
    assert replace("x.txt", "b") == INVALID + "The provided old_str was not found in the file"
    assert replace("y.txt", "a").startswith(INVALID + "The provided path must exist")
    assert file.read_text() == "aa\n"


def test_insert(standin: Standin) -> None:
    file = standin.cwd / "x.txt"
    file.write_text("one\nthree")

    def insert(**args: Any) -> Any:
        return call(standin, "write", command="insert", path="x.txt", **args)

    assert insert(content="two", insertLine=1) == f"Successfully inserted 1 line(s) at line 1 in {file}."
    assert insert(content="four\n") == f"Successfully inserted 1 line(s) at end of file in {file}."
    assert insert(content="five\n", insertLine=99) == f"Successfully inserted 1 line(s) at line 99 in {file}."
    assert file.read_text() == "one\ntwo\nthree\nfour\nfive\n"
    assert insert(content="") == INVALID + "Content to insert must not be empty"


def test_insert_into_no_file_fails(standin: Standin) -> None:
    answer = call(standin, "write", command="insert", path="x.txt", content="a")

    assert answer == f"failed to read {standin.cwd}/x.txt: No such file or directory (os error 2)"


@pytest.mark.parametrize(
    ("name", "args", "what"),
    [
        ("write", {"path": "x"}, SCHEMA + "missing field `command`"),
        ("write", {"command": "create", "path": "x"}, SCHEMA + "missing field `content`"),
        ("write", {"command": "create", "path": 1, "content": ""}, SCHEMA + "invalid type of `path`"),
        ("write", {"command": "append", "path": "x"}, SCHEMA + "unknown variant `append`"),
        (
            "write",
            {"command": "insert", "path": "x", "content": "", "insertLine": True},
            SCHEMA + "invalid type of `insertLine`",
        ),
        ("read", {"path": "x"}, SCHEMA + "missing field `operations`"),
        ("read", {"operations": [{"mode": "Image", "image_paths": []}]}, SCHEMA + "unknown variant `Image`"),
        ("read", {"operations": ["x"]}, SCHEMA + "missing field `mode`"),
        ("shell", {}, SCHEMA + "missing field `command`"),
        ("grep", {}, SCHEMA + "missing field `pattern`"),
        ("grep", {"pattern": "x", "output_mode": "lines"}, SCHEMA + "unknown variant `lines`"),
        ("todo_list", {"command": "create", "tasks": ["x"]}, SCHEMA + "missing field `task_description`"),
        ("todo_list", {"command": "drop"}, SCHEMA + "unknown variant `drop`"),
        ("teleport", {}, "Failed to parse the tool use: A tool with the name 'teleport' does not exist"),
    ],
)
def test_a_call_that_does_not_fit_the_tool_fails(standin: Standin, name: str, args: dict[str, Any], what: str) -> None:
    assert call(standin, name, **args).startswith(what)
    assert standin.turns()[0]["builtin_tool_uses"] == 0


def test_read_lines(standin: Standin) -> None:
    (standin.cwd / "x.txt").write_bytes("1\r\n2\nü\n4".encode())

    def read(**operation: Any) -> Any:
        return call(standin, "read", operations=[{"mode": "Line", "path": "x.txt", **operation}])

    assert read() == "1\n2\nü\n4"
    assert read(offset=1, limit=2) == "2\nü"
    assert read(offset=9) == ""


def test_read_cuts_a_long_file_and_says_how_to_go_on(standin: Standin) -> None:
    (standin.cwd / "x.txt").write_text(("x" * 1023 + "\n") * 300)

    answer = call(standin, "read", operations=[{"mode": "Line", "path": "x.txt"}])

    assert answer.count("\n") == 250
    last = answer.splitlines()[-1]
    assert last == "...truncated (showing lines 1-250 of 300). Use offset: 250 to continue reading."


def test_read_several_at_once_answers_with_several_items(standin: Standin) -> None:
    for name in "ab":
        (standin.cwd / name).write_text(name)

    standin.chat("go", [[tool("read", operations=[{"mode": "Line", "path": p} for p in "ab"])], ["ok"]])

    assert standin.results()[0]["content"] == [{"kind": "text", "data": "a"}, {"kind": "text", "data": "b"}]


def test_read_fails_with_every_reason(standin: Standin) -> None:
    (standin.cwd / "binary").write_bytes(b"\xff\xfe")
    operations = [
        {"mode": "Line", "path": "nowhere"},
        {"mode": "Line", "path": "."},
        {"mode": "Line", "path": "binary"},
        {"mode": "Directory", "path": "nowhere"},
        {"mode": "Directory", "path": "binary"},
    ]
    cwd = standin.cwd

    assert call(standin, "read", operations=operations) == ", ".join(
        [
            f"{INVALID}'{cwd}/nowhere' does not exist",
            f"{INVALID}'{cwd}' is not a file",
            f"failed to read {cwd}/binary: stream did not contain valid UTF-8",
            f"{INVALID}Directory not found: {cwd}/nowhere",
            f"{INVALID}Path is not a directory: {cwd}/binary",
        ]
    )


def test_read_lists_a_directory_newest_first(standin: Standin) -> None:
    for age, name in enumerate(["new.txt", "sub", "skip.log"]):
        path = standin.cwd / name
        path.mkdir() if name == "sub" else path.write_text("x" * age)
        os.utime(path, (1_700_000_000 - age * 60,) * 2)
    (standin.cwd / "sub" / "inner.txt").write_text("")
    os.utime(standin.cwd / "sub", (1_699_999_940,) * 2)
    (standin.cwd / "new.txt").chmod(0o640)

    def read(**more: Any) -> list[str]:
        operation = {"mode": "Directory", "path": str(standin.cwd), "exclude_patterns": ["skip.log"], **more}
        return str(call(standin, "read", operations=[operation])).splitlines()

    flat = read()
    assert flat[0] == f"User id: {os.geteuid()}"
    assert flat[1].startswith("-rw-r----- 1 ")
    assert flat[1].endswith(f" 0 Nov 14 22:13 {standin.cwd}/new.txt")
    assert flat[2].startswith("d")
    assert len(flat) == 3
    assert read(depth=1)[3].endswith("/sub/inner.txt")


def test_shell_answers_with_status_and_both_streams(standin: Standin) -> None:
    answer = call(standin, "shell", command="pwd; echo oh >&2; cat; exit 3")

    assert answer == {"exit_status": "exit status: 3", "stdout": f"{standin.cwd}\n", "stderr": "oh\n"}
    assert standin.results()[0]["status"] == "success"


@pytest.mark.parametrize(
    ("command", "status"), [("kill -9 $$", "signal: 9 (SIGKILL)"), ("kill -TERM $$", "signal: 15 (SIGTERM)")]
)
def test_shell_names_the_signal_that_ended_it(standin: Standin, command: str, status: str) -> None:
    assert call(standin, "shell", command=command)["exit_status"] == status


def test_shell_runs_where_it_is_told(standin: Standin) -> None:
    (standin.cwd / "sub").mkdir()

    assert call(standin, "shell", command="pwd", working_dir="sub")["stdout"] == f"{standin.cwd}/sub\n"
    what = call(standin, "shell", command="pwd", working_dir="nowhere")
    assert what == f"{INVALID}Working directory is not a directory: {standin.cwd}/nowhere"
    assert call(standin, "shell", command="") == INVALID + "Command must not be empty"


def test_shell_uses_bash_or_the_shell_of_the_environment_or_sh(standin: Standin) -> None:
    assert call(standin, "execute_bash", command="echo $BASH")["stdout"].endswith("bash\n")
    standin.env["KIRO_CHAT_SHELL"] = "/bin/sh"
    assert call(standin, "shell", command="echo $0")["stdout"] == "/bin/sh\n"
    del standin.env["KIRO_CHAT_SHELL"]
    (standin.home / "bin").mkdir()
    (standin.home / "bin" / "sh").symlink_to("/bin/sh")
    standin.env["PATH"] = str(standin.home / "bin")
    assert call(standin, "shell", command="echo $0")["stdout"] == "sh\n"


def test_shell_that_cannot_be_started_is_an_error(standin: Standin) -> None:
    standin.env["KIRO_CHAT_SHELL"] = "/no/such/shell"

    assert call(standin, "shell", command="id").startswith("Failed to spawn command 'id': ")


def test_shell_does_not_wait_for_what_it_leaves_behind(standin: Standin) -> None:
    answer = call(standin, "shell", command="sleep 600 & echo $!")

    os.kill(int(answer["stdout"]), 9)
    assert answer["exit_status"] == "exit status: 0"


@pytest.mark.parametrize("at", ["start", "poll"])
def test_ctrl_c_in_the_middle_of_subprocess_waits_for_it(monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Else its process would stay, or a lock of its would."""
    pressed, outlived, made = list[str](), list[str](), list[subprocess.Popen[bytes]]()

    def press(here: str) -> None:
        if here == at and not pressed:
            pressed.append(here)
            signal.raise_signal(signal.SIGINT)
            outlived.append(here)

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)
            press("start")

        def poll(self) -> int | None:
            press("poll")
            return super().poll()

    monkeypatch.setattr(shell.subprocess, "Popen", Popen)
    with pytest.raises(KeyboardInterrupt):
        shell.execute("shell", {"ExecuteCmd": {"command": "exec sleep 600", "working_dir": None}})
    (process,) = made
    try:
        assert outlived == [at]
        assert process.returncode == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_shell_output_is_by_lines_and_cut(standin: Standin) -> None:
    assert call(standin, "shell", command="printf 'a\\r\\nb'")["stdout"] == "a\nb\n"
    answer = call(standin, "shell", command="head -c 200000 /dev/zero | tr '\\0' x; printf '\\377' >&2")
    assert answer["stdout"] == "x" * 133333 + " ... truncated"
    assert answer["stderr"] == "\N{REPLACEMENT CHARACTER}\n"


def fill(standin: Standin, **files: str) -> None:
    for name, text in files.items():
        path = standin.cwd / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_grep_shows_files_with_most_matches_first(standin: Standin) -> None:
    fill(standin, a_txt="One\n\ntwo one  \n", sub__b_txt="one\none\none\n", _git__c_txt="one\n", d_txt="two\n")
    (standin.cwd / "binary").write_bytes(b"one\0")
    (standin.cwd / "link.txt").symlink_to("a.txt")
    a, b = f"{standin.cwd}/a.txt", f"{standin.cwd}/sub/b.txt"

    assert call(standin, "grep", pattern="o(n)e") == {
        "numMatches": 5,
        "numFiles": 2,
        "truncated": False,
        "results": [
            {"file": b, "count": 3, "matches": ["1:one", "2:one", "3:one"]},
            {"file": a, "count": 2, "matches": ["1:One", "3:two one"]},
        ],
    }
    sensitive = call(standin, "grep", pattern="One", case_sensitive=True, output_mode="count")
    assert sensitive["results"] == [{"file": a, "count": 1}]
    assert call(standin, "grep", pattern="one", path="a.txt", include="*.md")["numFiles"] == 1
    assert call(standin, "grep", pattern="one", include="b.*")["numFiles"] == 1
    assert call(standin, "grep", pattern="one", max_depth=1)["numFiles"] == 1


def test_grep_limits_what_it_shows(standin: Standin) -> None:
    fill(standin, a_txt="x" * 600 + "\nx\nx\n", b_txt="x\n")

    cut = call(standin, "grep", pattern="x", max_matches_per_file=1)
    few = call(standin, "grep", pattern="x", max_total_lines=3)
    names = call(standin, "grep", pattern="x", output_mode="files_with_matches", max_files=1)

    assert cut["results"][0]["matches"] == ["1:" + "x" * 500 + "...[+100 chars]"]
    assert (cut["numMatches"], cut["truncated"]) == (4, True)
    assert (len(few["results"]), few["truncated"]) == (1, True)
    assert (len(names["results"]), names["truncated"]) == (1, True)


def test_grep_without_a_match(standin: Standin) -> None:
    assert call(standin, "grep", pattern="x") == {
        "message": "No files to search",
        "numMatches": 0,
        "numFiles": 0,
    }
    fill(standin, a_txt="a")
    message = {"message": "No matches found for pattern: x", "numMatches": 0, "numFiles": 0}
    assert call(standin, "grep", pattern="x") == message


def test_searches_fail_clearly(standin: Standin) -> None:
    assert "Invalid regex '('" in call(standin, "grep", pattern="(")
    assert call(standin, "grep", pattern="") == INVALID + "The grep pattern cannot be empty"
    where = f"{INVALID}Path does not exist: {standin.cwd}/nowhere"
    assert call(standin, "glob", pattern="*", path="nowhere") == where
    fill(standin, a_txt="")
    what = f"{INVALID}Path is not a directory: {standin.cwd}/a.txt"
    assert call(standin, "glob", pattern="*", path="a.txt") == what


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.py", ["a.py", "src/b.py", "src/deep/c.py"]),
        ("**/*.py", ["a.py", "src/b.py", "src/deep/c.py"]),
        ("src/**/*.py", ["src/b.py", "src/deep/c.py"]),
        ("src/*.py", ["src/b.py", "src/deep/c.py"]),
        ("src", ["src/b.py", "src/deep/c.py", "src/d{.ts"]),
        ("?.{py,md}", ["a.py", "e.md", "src/b.py", "src/deep/c.py"]),
        ("[a-b].py", ["a.py", "src/b.py"]),
        ("[!a].py", ["src/b.py", "src/deep/c.py"]),
        ("d[{].ts", ["src/d{.ts"]),
        ("*,*", []),
        ("{a.py", ["a.py"]),
        ("a.py[", []),
    ],
)
def test_glob(standin: Standin, pattern: str, found: list[str]) -> None:
    for name in ("a.py", "e.md", "src/b.py", "src/d{.ts", "src/deep/c.py"):
        (standin.cwd / name).parent.mkdir(parents=True, exist_ok=True)
        (standin.cwd / name).write_text("")

    answer = call(standin, "glob", pattern=pattern)

    assert sorted(answer["filePaths"]) == [f"{standin.cwd}/{name}" for name in found]
    assert (answer["totalFiles"], answer["truncated"]) == (len(found), False)
    assert ("message" in answer) is not found or not found


def test_glob_limits_what_it_shows(standin: Standin) -> None:
    fill(standin, a_txt="", b_txt="", c_txt="")

    answer = call(standin, "glob", pattern="*", limit=2)

    assert (len(answer["filePaths"]), answer["totalFiles"], answer["truncated"]) == (2, 3, True)


def test_an_unknown_task_cannot_be_completed(standin: Standin) -> None:
    answer = call(standin, "todo_list", command="complete", completed_task_ids=["1"], context_update="")

    assert answer == "There is no task with the id 1"


def test_parallel_calls_are_recorded_together(standin: Standin) -> None:
    calls = [
        tool("shell", 1, command="echo 1", __tool_use_purpose="Why not"),
        tool("teleport", 2),
        tool("shell", 3, command="false"),
    ]

    standin.chat("go", [[*calls], ["ok"]])

    message = standin.messages()[2]["data"]
    assert [part["data"]["toolUseId"] for part in message["content"]] == [f"tooluse_{n}" for n in (1, 2, 3)]
    assert list(message["results"]) == ["tooluse_1", "tooluse_3"]
    assert message["results"]["tooluse_1"]["tool"]["tool_use_purpose"] == "Why not"
    assert standin.messages()[1]["data"]["content"][1]["data"]["input"]["__tool_use_purpose"] == "Why not"
    (turn,) = standin.turns()
    numbers = [turn[key] for key in ("total_request_count", "number_of_cycles", "builtin_tool_uses")]
    assert numbers == [2, 1, 2]
