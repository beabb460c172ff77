"""Files, by the SDK: in and out, listed, found, moved, removed."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from daytona import (
    AsyncSandbox,
    DaytonaBadRequestError,
    DaytonaConflictError,
    DaytonaError,
    DaytonaFileNotFoundError,
    DaytonaNotFoundError,
    FileDownloadRequest,
    FileUpload,
)
from daytona_client import OPENER, ask, create, run_in_sandbox
from emulator import Emulator

NAMES = [
    "plain.txt",
    "a b.txt",
    "ä/日本.txt",
    'quo"te.txt',
    "back\\slash.txt",
    "semi;colon=.txt",
    "'.txt",
]


@pytest.mark.parametrize("name", NAMES)
def test_bytes_survive_whatever_the_name(emulator: Emulator, name: str) -> None:
    data = bytes(range(256)) * 3 + b"\r\n--DAYTONA-FILE-BOUNDAR\r\n--\r\n"

    async def use(box: AsyncSandbox) -> None:
        await box.fs.upload_file(data, name)
        assert await box.fs.download_file(name) == data
        assert await box.fs.download_file(f"{await box.get_work_dir()}/{name}") == data

    run_in_sandbox(emulator, use)


def test_a_name_with_a_line_end(emulator: Emulator) -> None:
    """The client cannot send it, but the service can."""

    async def use(box: AsyncSandbox) -> None:
        await box.process.exec("printf x > 'new\nline'")
        assert await box.fs.download_file("new\nline") == b"x"

    run_in_sandbox(emulator, use)


def test_the_boundary_in_a_file_ends_it(emulator: Emulator) -> None:
    """It is always the same, and the SDK's parser reads no lengths: so it is on the service."""
    data = b"before\r\n--DAYTONA-FILE-BOUNDARY\r\nafter"

    async def use(box: AsyncSandbox) -> None:
        await box.fs.upload_file(data, "file")
        try:
            got = await box.fs.download_file("file")
        except DaytonaError:
            got = None
        assert got != data

    run_in_sandbox(emulator, use)
    (box,) = emulator.sandboxes()
    assert ask(emulator, "GET", f"/toolbox/{box['id']}/files/download?path=file").body == data


def test_many_at_once_and_what_is_missing(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        await box.fs.upload_files([FileUpload(str(n).encode(), f"deep/er/{n}") for n in range(5)])
        wanted = [FileDownloadRequest(f"deep/er/{name}") for name in ("3", "none", "0", "")]
        wanted.append(FileDownloadRequest("deep"))
        got = await box.fs.download_files(wanted)
        assert [one.result for one in got] == [b"3", None, b"0", None, None]
        codes = [one.error_details and one.error_details.code for one in got]
        assert codes == [None, "FILE_NOT_FOUND", None, "INVALID_FILE_PATH", "INVALID_FILE_PATH"]
        with pytest.raises(DaytonaFileNotFoundError):
            await box.fs.download_file("deep/er/none")
        with pytest.raises(DaytonaBadRequestError, match="directory"):
            await box.fs.download_file("deep")

    run_in_sandbox(emulator, use)


def test_an_upload_makes_parents_and_writes_in_place(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        await box.fs.upload_file(b"one", "a/b/program")
        modes = [(await box.fs.get_file_info(path)).permissions for path in ("a", "a/b", "a/b/program")]
        assert modes == ["0755", "0755", "0644"]
        await box.fs.set_file_permissions("a/b/program", mode="755")
        await box.process.exec("ln -s b/program a/link; ln a/b/program a/hard")
        await box.fs.upload_file(b"second", "a/link")
        info = await box.fs.get_file_info("a/b/program")
        assert (info.permissions, info.size) == ("0755", 6)
        assert await box.fs.download_file("a/hard") == b"second"
        assert (await box.process.exec("test -L a/link")).exit_code == 0

    run_in_sandbox(emulator, use)


def test_an_upload_to_what_is_no_file(emulator: Emulator) -> None:
    """A pipe takes the bytes, and keeps them from all others."""

    async def use(box: AsyncSandbox) -> None:
        await box.process.exec("mkfifo pipe; cp /bin/sleep busy; ln -s new dangling; ln -s not/there lost")
        await box.fs.upload_file(b"gone", "pipe")
        assert (await box.process.exec("test -p pipe")).exit_code == 0
        await box.fs.upload_file(b"x", "dangling")
        assert await box.fs.download_file("new") == b"x"
        await box.process.exec("./busy 1000 >/dev/null 2>&1 &")
        for path, why in (("lost", "no such file or directory"), ("busy", "text file busy")):
            with pytest.raises(DaytonaError, match=rf"400: {path}: create: open {path}: {why}$"):
                await box.fs.upload_file(b"x", path)

    run_in_sandbox(emulator, use)


def test_a_large_file_streams(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")  # a client that streams a file reads the certificates, though by HTTP
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(1 << 20) * 30)

    async def use(box: AsyncSandbox) -> None:
        await box.fs.upload_file(str(source), "large")
        await box.fs.download_file("large", str(back))
        await box.fs.upload_file_stream(b"x" * 100_000, "streamed")
        pieces = [piece async for piece in await box.fs.download_file_stream("streamed")]
        assert b"".join(pieces) == b"x" * 100_000

    run_in_sandbox(emulator, use)
    assert back.read_bytes() == source.read_bytes()


def test_an_upload_that_cannot_be_written(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        await box.fs.upload_file(b"", "file")
        for path, why in (
            ("file/deep/below", "mkdir file/deep: mkdir file: not a directory"),
            (".daytona", "create: open .daytona: is a directory"),
        ):
            with pytest.raises(DaytonaError, match=rf"400: {path}: {why}$"):
                await box.fs.upload_file(b"x", path)
        assert [one.name for one in await box.fs.list_files(".")] == [".daytona", ".zshrc", "file"]

    run_in_sandbox(emulator, use)
    body = b'--b\r\nContent-Disposition: form-data; name="files[0].file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
    url = f"{emulator.url.removesuffix('/api')}/toolbox/{emulator.sandboxes()[0]['id']}/files/bulk-upload"
    headers = {"Authorization": f"Bearer {emulator.key}", "Content-Type": "multipart/form-data; boundary=b"}
    with pytest.raises(urllib.error.HTTPError) as caught:
        OPENER.open(urllib.request.Request(url, data=body, headers=headers))
    assert json.loads(caught.value.read()) == {"errors": ["file[0]: missing .path metadata"], "files": None}


def test_blanks_around_a_path_are_lost(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        await box.fs.upload_file(b"x", " trail ")
        assert [one.name for one in await box.fs.list_files(".")] == [".daytona", ".zshrc", "trail"]

    run_in_sandbox(emulator, use)


def test_a_full_disk(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        emulator.configure(disk_full=True)
        with pytest.raises(DaytonaError, match=r"400: file: write: write file: no space left on device$"):
            await box.fs.upload_file(b"x", "file")
        emulator.configure(disk_full=False)
        await box.fs.upload_file(b"x", "file")
        emulator.fault("files_bulk_upload", disk_full=True)
        with pytest.raises(DaytonaError, match=r"no space left on device$"):
            await box.fs.upload_file(b"xy", "file")
        assert await box.fs.download_file("file") == b"", "it was there, and was opened to be written anew"

    run_in_sandbox(emulator, use)


def test_lists(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        await box.fs.upload_files([FileUpload(b"x", path) for path in ("top", "sub/child", "sub/nested/deep")])
        await box.process.exec("ln -s nowhere dangling; ln -s . loop")
        assert [one.name for one in await box.fs.list_files("sub")] == ["child", "nested"]
        deep = await box.fs.list_files("sub", depth=2)
        assert [one.name for one in deep] == ["child", "nested", "deep"]
        assert deep[-1].path is None
        assert [one.name for one in await box.fs.list_files("", depth=3)].count("loop") == 1
        for path, error in (("none", DaytonaNotFoundError), ("top", DaytonaBadRequestError)):
            with pytest.raises(error):
                await box.fs.list_files(path)

    run_in_sandbox(emulator, use)
    (box,) = emulator.sandboxes()
    for depth in ("0", "1.5"):
        assert ask(emulator, "GET", f"/toolbox/{box['id']}/files?path=sub&depth={depth}").status == 400


def test_what_is_known_of_a_file(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        await box.fs.upload_file(b"12345", "file")
        info = await box.fs.get_file_info("file")
        assert (info.name, info.size, info.is_dir, info.mode, info.permissions) == (
            "file",
            5,
            False,
            "-rw-r--r--",
            "0644",
        )
        assert (info.owner, info.group) == (str(os.getuid()), str(os.getgid()))
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9} \+0000 UTC", info.mod_time)
        assert (await box.fs.get_file_info(".")).is_dir
        with pytest.raises(DaytonaNotFoundError):
            await box.fs.get_file_info("none")

    run_in_sandbox(emulator, use)


def test_names_and_contents_are_found(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        home = await box.get_work_dir()
        files = {
            "a.txt": b"one\nsay hello\n",
            "sub/b.txt": b"hello\n",
            "sub/c.py": b"x",
            "sub/e/f/d.txt": b"x",
            "sub/txt.txt/g": b"x",
            "binary": b"\0hello",
        }
        await box.fs.upload_files([FileUpload(data, path) for path, data in files.items()])

        async def names(pattern: str) -> list[str]:
            return [path.removeprefix(f"{home}/") for path in (await box.fs.search_files(".", pattern)).files]

        assert sorted(await names("*.txt")) == ["a.txt", "sub/b.txt", "sub/e/f/d.txt", "sub/txt.txt"]
        assert sorted(await names("[^ab].*")) == ["sub/c.py", "sub/e/f/d.txt"]
        assert await names("sub/?.py") == []
        found = [
            (one.file.removeprefix(f"{home}/"), one.line, one.content) for one in await box.fs.find_files(".", "hello")
        ]
        assert found == [("a.txt", 2, "say hello"), ("sub/b.txt", 1, "hello")]

    run_in_sandbox(emulator, use)


def test_folders_moves_and_removals(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        await box.fs.create_folder("a/b", "700")
        assert (await box.fs.get_file_info("a/b")).permissions == "0700"
        await box.fs.upload_file(b"x", "a/b/file")
        await box.fs.move_files("a/b/file", "a/moved")
        assert await box.fs.download_file("a/moved") == b"x"
        await box.fs.upload_file(b"y", "a/other")
        with pytest.raises(DaytonaConflictError):
            await box.fs.move_files("a/other", "a/moved")
        with pytest.raises(DaytonaNotFoundError):
            await box.fs.move_files("none", "a/new")
        await box.fs.delete_file("a/moved")
        with pytest.raises(DaytonaBadRequestError):
            await box.fs.delete_file("a")
        await box.fs.delete_file("a", recursive=True)
        with pytest.raises(DaytonaNotFoundError):
            await box.fs.delete_file("a")
        with pytest.raises(DaytonaBadRequestError):
            await box.fs.create_folder("a", "rwx")
        with pytest.raises(DaytonaBadRequestError):
            await box.fs.set_file_permissions(".", mode="755", owner="nobody-at-all", group="none")

    run_in_sandbox(emulator, use)


def test_what_is_no_transfer_is_refused(emulator: Emulator) -> None:
    tools = f"/toolbox/{create(emulator)['id']}"
    assert ask(emulator, "POST", f"{tools}/files/bulk-upload", {}).body == {"errors": ["invalid multipart form"]}
    for body in ({}, {"paths": []}, {"paths": [1]}, []):
        assert ask(emulator, "POST", f"{tools}/files/bulk-download", body).status == 400
    assert ask(emulator, "GET", f"{tools}/files/download?path=.").status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "?path=none", 404),
        ("GET", "/info", 400),
        ("GET", "/info?path=a%00b", 400),
        ("GET", "/info?path=none", 404),
        ("GET", "/download?path=none", 404),
        ("GET", "/search?path=.", 400),
        ("GET", "/find?path=.", 400),
        ("POST", "/folder?path=a&mode=rwx", 400),
        ("POST", "/move?source=none&destination=a", 404),
        ("POST", "/move?source=.zshrc&destination=.daytona", 409),
        ("POST", "/permissions?path=none&mode=755", 404),
        ("DELETE", "?path=none", 404),
        ("DELETE", "?path=.daytona", 400),
    ],
)
def test_an_error_is_a_status_without_a_body(emulator: Emulator, method: str, path: str, status: int) -> None:
    answer = ask(emulator, method, f"/toolbox/{create(emulator)['id']}/files{path}")
    assert (answer.status, answer.data) == (status, b"")


def test_the_parts_of_a_download(emulator: Emulator) -> None:
    tools = f"/toolbox/{create(emulator)['id']}"
    home = Path(emulator.sandboxes()[0]["home"])
    for name in ("a.txt", "ä日"):
        (home / name).write_bytes(b"x")
    answer = ask(emulator, "POST", f"{tools}/files/bulk-download", {"paths": ["a.txt", "ä日", "none"]})
    heads = [
        part.partition(b"\r\n\r\n")[0].split(b"\r\n") for part in answer.data.split(b"--DAYTONA-FILE-BOUNDARY\r\n")
    ]
    begin = b"Content-Disposition: form-data; name="
    assert heads[1:] == [
        [
            begin + b'"file"; filename="a.txt"; filename*=UTF-8\'\'a.txt',
            b"Content-Length: 1",
            b"Content-Type: text/plain; charset=utf-8",
        ],
        [
            begin + b'"file"; filename="\xe4_"; filename*=UTF-8\'\'%C3%A4%E6%97%A5',
            b"Content-Length: 1",
            b"Content-Type: application/octet-stream",
        ],
        [begin + b'"error"; filename="none"; filename*=UTF-8\'\'none', b"Content-Type: application/json"],
    ]
