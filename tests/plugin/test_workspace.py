"""The folder in which a conversation works: its seed, its paths, its commands."""

from __future__ import annotations

import os

from eval_runs import Evals, shell, turn


def test_seeds(evals: Evals) -> None:
    seed = evals.path / "seed"
    odd = [
        "with space.txt",
        "zwölf🥊.txt",
        "line\nbreak.txt",
        "back\\slash",
        "$(touch x).txt",
        "-rf",
        "deep/er/still.txt",
    ]
    for name in odd:
        evals.write(f"seed/{name}", name)
    (seed / "binary").write_bytes(bytes(range(256)) * 300)
    (seed / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (seed / "run.sh").chmod(0o755)
    (seed / "empty").mkdir()
    (seed / "link").symlink_to("deep/er/still.txt")
    (seed / "deep/up").symlink_to("../binary")
    (seed / "folder link").symlink_to("deep")
    for name in ("__pycache__/a.pyc", ".DS_Store", "deep/__pycache__/b.pyc"):
        evals.write(f"seed/{name}", "")
    evals.write("names.py", f"ODD = {odd!r}")
    evals.passes(
        r"""
        import os, pytest
        from pathlib import Path
        from names import ODD

        def check(workspace):
            contents = workspace.contents()
            assert set(contents) == {*ODD, "binary", "run.sh", "link", "deep/up"}
            assert all(contents[name] == name.encode() for name in ODD)
            assert contents["binary"] == bytes(range(256)) * 300
            assert workspace.exec("./run.sh").output == "ran\n"
            assert workspace.exec("readlink link deep/up 'folder link'").output.split() == [
                "deep/er/still.txt", "../binary", "deep"
            ]
            assert (workspace / "empty").is_dir()

        @pytest.mark.kiro(workspace="seed")
        def test_marker(kiro):
            check(kiro.workspace)
            turn = kiro.run("Look.")
            assert not turn.changes and turn.ok
            changed = kiro.run("Touch everything.").changes
            assert set(ODD) <= changed.modified and changed.added == {"new\nname.txt"}

        def test_by_hand(kiro):
            kiro.workspace.seed("seed")
            check(kiro.workspace)
            other = kiro.conversation(workspace=str(Path("seed").absolute())).workspace
            check(other)
            third = kiro.conversation().workspace
            third.seed(Path("seed"))
            check(third)

        def test_mapping(kiro):
            kiro.workspace.seed({"a.txt": "text", "b/c.bin": b"\0\xff", "ü \n.txt": "ü"})
            assert kiro.workspace.contents() == {"a.txt": b"text", "b/c.bin": b"\0\xff", "ü \n.txt": "ü".encode()}
            kiro.workspace.seed({"a.txt": "over"})
            assert (kiro.workspace / "a.txt").read_text() == "over"
        """,
        {
            "test_marker": [
                "I looked.",
                turn(
                    [
                        shell(
                            "find . -type f -exec sh -c 'for f; do echo >> \"$f\"; done' sh {} +; echo >'new\nname.txt'"
                        )
                    ],
                    ["OK"],
                ),
            ]
        },
        "-p",
        "no:cacheprovider",
    )


def test_bad_seeds(evals: Evals) -> None:
    for name in ("leaves", "absolute", "broken", "pipe", "loop"):
        evals.write(f"{name}/a.txt", "a")
    evals.write("secret.txt", "s")
    (evals.path / "leaves/link").symlink_to("../secret.txt")
    (evals.path / "absolute/link").symlink_to(evals.path / "absolute/a.txt")
    (evals.path / "broken/link").symlink_to("not-there")
    (evals.path / "loop/link").symlink_to("link")
    os.mkfifo(evals.path / "pipe/fifo")
    evals.passes(
        """
        import os
        import pytest
        from pytest_kiro import SettingsError

        @pytest.mark.parametrize(("seed", "words"), [
            ("missing", "workspace 'missing': there is no folder .*/missing; .* has: .*leaves, loop"),
            ("a/b", "workspace 'a/b': there is no folder .*/a/b; .*/a has: nothing, or is not there"),
            ("secret.txt", "workspace 'secret.txt': there is no folder"),
            ("leaves", "seed .*leaves: the link link leads to ../secret.txt, which is not in"),
            ("absolute", "the link link leads to /.*a.txt, which is not in"),
            ("pipe", "seed .*pipe: fifo is neither a file nor a folder .a pipe, socket or device."),
        ])
        def test_folder(kiro, seed, words):
            kiro.workspace.path  # made when first used
            with pytest.raises(SettingsError, match=words):
                kiro.conversation(workspace=seed).workspace
            with pytest.raises(SettingsError, match=words):
                kiro.workspace.seed(seed)
            # Of a bad seed no workspace stays.
            assert kiro.workspace.exec("ls ..").output.split() == [os.path.basename(kiro.workspace.path)]

        @pytest.mark.parametrize("seed", ["broken", "loop"])
        def test_a_link_to_nothing_is_a_link(kiro, seed):
            kiro.workspace.seed(seed)
            assert kiro.workspace.exec("readlink link").ok

        @pytest.mark.parametrize("path", ["../up.txt", "a/../../up.txt", "/abs.txt", "", "a\\0b"])
        def test_mapping(kiro, path):
            with pytest.raises(ValueError, match="a relative path inside the workspace is wanted"):
                kiro.workspace.seed({"good.txt": "g", path: "x"})
            assert kiro.workspace.contents() == {}

        @pytest.mark.parametrize("seed", [3, None, {"a.txt": 3}, {3: "a"}], ids=str)
        def test_no_seed(kiro, seed):
            with pytest.raises(TypeError, match="is not right; wanted: "):
                kiro.workspace.seed(seed)

        @pytest.mark.kiro(workspace="missing")
        def test_marker(kiro):
            with pytest.raises(SettingsError, match="workspace 'missing': there is no folder"):
                kiro.run("Hello.")
        """,
        {"test_marker": ["never said"]},
    )


def test_paths_and_commands(evals: Evals) -> None:
    evals.passes(
        r"""
        import os, pytest
        from pytest_kiro import CommandFailed, SandboxPath, SandboxTimeout

        def test_words_of_pathlib(kiro):
            root = kiro.workspace
            path = root / "src" / "main.test.py"
            assert isinstance(path, SandboxPath) and str(path) == f"{root.path}/src/main.test.py"
            assert (path.name, path.suffix, path.stem) == ("main.test.py", ".py", "main.test")
            assert path.parent == root / "src" and hash(path.parent) == hash(root / "src") and path != root.path
            assert not path.exists() and not path.parent.is_dir()
            path.write_text("grüß\r\n")
            assert path.exists() and path.is_file() and path.parent.is_dir() and not path.is_dir()
            assert path.read_text() == "grüß\r\n" and path.read_bytes() == "grüß\r\n".encode()
            (root / "src/-n").write_bytes(b"\0")
            assert [p.name for p in (root / "src").iterdir()] == ["-n", "main.test.py"]
            (root / "src/-n").unlink()
            root.exec("ln -s nowhere src/dangling").check()
            (root / "src/dangling").unlink()
            assert [p.name for p in (root / "src").iterdir()] == ["main.test.py"]
            assert repr(path) == f"SandboxPath({str(path)!r})"
            for use, error in (
                (lambda: (root / "no").read_text(), FileNotFoundError),
                (lambda: (root / "no").unlink(), FileNotFoundError),
                (lambda: list((root / "no").iterdir()), FileNotFoundError),
                (lambda: list(path.iterdir()), NotADirectoryError),
                (lambda: (root / "src").read_bytes(), IsADirectoryError),
            ):
                with pytest.raises(error):
                    use()
            with pytest.raises(TypeError, match="is in the sandbox; use its own read_text"):
                open(path)

        def test_exec(kiro):
            workspace = kiro.workspace
            result = workspace.exec("pwd; echo $GREETING; echo err >&2", env={"GREETING": "hi there"})
            assert result.ok and result.exit_code == 0 and result.duration > 0
            assert result.output == f"{workspace.path}\nhi there\nerr\n" and result.check() is result
            failed = workspace.exec("echo why; exit 3")
            assert not failed.ok and failed.exit_code == 3
            with pytest.raises(CommandFailed) as caught:
                failed.check()
            assert caught.value.result is failed
            assert str(caught.value).splitlines() == ["command failed with exit code 3: echo why; exit 3", "  | why"]
            with pytest.raises(SandboxTimeout, match="did not end within 0.2 s and was killed: echo so far; sleep 600"):
                workspace.exec("echo so far; sleep 600", timeout=0.2)
            assert repr(workspace) == f"<Workspace {workspace.path}>"

        @pytest.mark.parametrize("begun", [True, False])
        def test_no_command(kiro, begun):
            if begun:
                kiro.workspace.exec("true")
            for execute in (kiro.workspace.exec, lambda command: kiro.workspace.check({"a": "b"}, command)):
                with pytest.raises(TypeError, match=r"command=\['ls'\] is not right; wanted: an sh line as a str"):
                    execute(["ls"])

        def test_contents(kiro):
            kiro.workspace.seed({".git/HEAD": "x", "sub/.git/HEAD": "x", ".gitignore": "y"})
            kiro.workspace.exec("ln -s .gitignore link; ln -s sub folder; ln -s no nothing; ln -s self self")
            kiro.workspace.exec("mkfifo -m 0 pipe").check()
            assert kiro.workspace.contents() == {".gitignore": b"y", "link": b"y"}
        """,
        {"test_it": ["never asked"]},
    )


def test_what_kiro_left_in_the_way_of_a_seed(evals: Evals) -> None:
    twice = "echo 'x = 1' >m.py; python3 -c 'import m'; echo 'x = 2' >m.py; python3 -c 'import m; print(m.x)'"
    evals.write("checks/check.py", "raise SystemExit('the seeded check ran')")
    evals.write("checks/deep/trail ", "blank")
    evals.write("checks/deep/trail", "none")
    (evals.path / "checks/link").symlink_to("deep/trail")
    (evals.path / "checks/empty").mkdir()
    evals.passes(
        """
        import pytest
        from pytest_kiro import LaunchError, SandboxError

        WAYS = {
            "null": "ln -s /dev/null check.py",
            "out": "echo mine >~/out; ln -s ~/out check.py; ln -s ~ deep; ln -s ~ link; ln -s ~/none empty",
            "pipes": "mkfifo check.py deep link empty",
            "folders": "mkdir -p check.py/a/b link/c; echo >empty",
            "private": "echo >check.py; chmod 600 check.py",
        }

        @pytest.mark.parametrize("way", WAYS)
        def test_seed(kiro, way):
            kiro.run("Prepare.")
            kiro.workspace.exec(WAYS[way]).check()
            kiro.workspace.seed("checks")
            assert kiro.workspace.exec("python3 check.py").output == "the seeded check ran\\n"
            seen = kiro.workspace.exec("readlink link; find . -type f ! -perm 644; ls -A empty").output
            assert seen == "deep/trail\\n"
            assert kiro.workspace.contents()["deep/trail "] == b"blank"
            if way == "out":
                assert kiro.workspace.exec("cat ~/out; test -e ~/trail").output == "mine\\n"
            (kiro.workspace / "check.py").unlink()
            kiro.workspace.exec("ln -s ~/new check.py; ln -s ~ way")
            (kiro.workspace / "check.py").write_text("text")
            (kiro.workspace / "way/file").write_bytes(b"bytes")
            assert kiro.workspace.exec("cat check.py way/file; test -e ~/new || test -e ~/file").output == "textbytes"

        def test_byte_code(kiro):
            twice = "echo 'x = 1' >m.py; python3 -c 'import m'; echo 'x = 2' >m.py; python3 -c 'import m; print(m.x)'"
            assert kiro.workspace.exec(twice).output == "2\\n"
            kiro.run("Rewrite m.py.")
            assert (kiro.workspace / "seen").read_text() == "2\\n"
            for mark in ("one", "two"):  # same size, same second
                kiro.workspace.seed({"module.py": f"mark = {mark!r}"})
                assert kiro.workspace.exec("python3 -c 'import module; print(module.mark)'").output == f"{mark}\\n"
            kiro.workspace.exec("python3 -c 'import module'", env={"PYTHONDONTWRITEBYTECODE": ""})
            kiro.workspace.exec("test -d __pycache__").check()
            kiro.workspace.seed({"module.py": "mark = 'six'"})
            assert kiro.workspace.exec("python3 -c 'import module; print(module.mark)'").output == "six\\n"

        @pytest.mark.parametrize("swap", ["mv $OLDPWD ../old; ln -s ../old $OLDPWD", "rm -r $OLDPWD"])
        def test_swap(kiro, swap):
            turn = kiro.run("Prepare.")
            kiro.workspace.exec(f"cd ..; {swap}").check()
            path = kiro.workspace.path
            for use in (
                lambda: kiro.workspace.exec("pwd -P"),
                lambda: kiro.workspace.contents(),
                lambda: kiro.workspace.diff(),
                lambda: kiro.workspace.seed({"a": "b"}),
                lambda: (kiro.workspace / "a").write_text("b"),
                lambda: (kiro.workspace / "made").read_text(),
                lambda: kiro.run("Again."),
            ):
                with pytest.raises((SandboxError, LaunchError), match="is no folder of ours any more"):
                    pytest.fail(f"{use()}")
        """,
        {
            "test_seed": [turn([shell("touch made")], ["OK"])],
            "test_swap": [turn([shell("echo >made")], ["OK"]), "never said"],
            "test_byte_code": [turn([shell(f"({twice}) >seen")], ["OK"])],
        },
    )


def test_what_may_decide_a_check_is_told_also_when_the_test_passes(evals: Evals) -> None:
    plants = turn(
        [shell("echo >conftest.py; mkdir -p sub ~/lib; echo >~/lib/a.pth; echo >sub/json.py; echo >app.py")], ["OK"]
    )
    evals.write(
        "test_it.py",
        """
        def test_good(kiro):
            kiro.run("Help.")

        def test_bad(kiro):
            kiro.run("Help.")
            assert False

        def test_plain(kiro):
            kiro.run("Help.")
        """,
        {"test_good": [plants], "test_bad": [plants], "test_plain": [turn([shell("echo >app.py")], ["OK"])]},
    )
    said = evals.run("-rP").stdout.str()
    for line in (
        "conftest.py (pytest runs it)",
        "sub/json.py (shadows the standard library's json)",
        "~/lib/a.pth (Python",
    ):
        assert said.count(f"  may decide a check: {line}") == 2
    assert said.count("kiro planted") == 1
    assert "may decide a check: app.py" not in said
