"""Downloads are verified, continued where they broke off, and never needed twice."""

import dataclasses
import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from signseg_utils.cli import fetch as command
from signseg_utils.files import fetch as fetch_module
from signseg_utils.files.fetch import (
    REGISTRY,
    FetchError,
    Offline,
    Remote,
    WrongHash,
    fetch,
    located,
)

NAME = "tiny-imagenet-200.zip"


def archive(text: str = "n01443537\n") -> bytes:
    """A small file of the true format: a zip with the archive's own layout."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(zipfile.ZipInfo("tiny-imagenet-200/wnids.txt"), text)
        file.writestr(zipfile.ZipInfo("tiny-imagenet-200/train/0.JPEG"), bytes(range(256)) * 400)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves ``content`` on loopback; can break off, ignore ranges, or fail."""

    content = archive()
    requests: list[str | None]
    break_after: int | None = None
    ranges = True
    status: int | None = None
    kind = "application/zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        if self.server.status:
            self.send_error(self.server.status)
            return
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and self.server.ranges else 0
        if wanted and start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", self.server.kind)
        self.end_headers()
        self.wfile.write(body[: self.server.break_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIGNSEG_MIRROR", "SIGNSEG_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


def registry(server: Server, algorithm: str | None = "md5") -> dict[str, Remote]:
    known = algorithm and f"{algorithm}:{hashlib.new(algorithm, Server.content).hexdigest()}"
    url = f"http://127.0.0.1:{server.server_port}/{NAME}"
    return {NAME: Remote(url, known, len(Server.content), "made by the test")}


@pytest.mark.parametrize("algorithm", ["md5", "sha256", None])
def test_fetched_once_and_whole(server: Server, tmp_path: Path, algorithm: str | None) -> None:
    known = registry(server, algorithm)
    path = fetch(NAME, tmp_path, registry=known, progress=False)
    assert path == tmp_path / NAME
    assert zipfile.ZipFile(path).read("tiny-imagenet-200/wnids.txt") == b"n01443537\n"
    assert fetch(NAME, tmp_path, registry=known, progress=False) == path
    assert server.requests == [None]
    assert not list(tmp_path.glob("*.part"))


def test_progress_names_source_and_terms(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture, talking: Callable
) -> None:
    fetch(NAME, tmp_path, registry=registry(server))
    shown = capsys.readouterr()
    assert "made by the test" in shown.out
    lines = shown.err.splitlines()
    assert any(line.startswith(f"{NAME}: ") and " MB in " in line for line in lines)


def test_wrong_hash_is_refused_and_nothing_kept(server: Server, tmp_path: Path) -> None:
    server.content = archive("another version\n")
    with pytest.raises(WrongHash, match=r"expected .* md5 .*published; got"):
        fetch(NAME, tmp_path, registry=registry(server), progress=False)
    assert not (tmp_path / NAME).exists()
    assert not list(tmp_path.glob("*.part"))


def test_first_hash_is_recorded_and_then_enforced(server: Server, tmp_path: Path) -> None:
    known = registry(server, None)
    fetch(NAME, tmp_path, registry=known, progress=False).unlink()
    server.content = archive("changed behind our back\n")
    with pytest.raises(WrongHash, match="recorded at the first download"):
        fetch(NAME, tmp_path, registry=known, progress=False)


def test_first_digits_are_enforced_and_the_rest_recorded(server: Server, tmp_path: Path) -> None:
    digits = hashlib.sha256(Server.content).hexdigest()[:8]
    known = {NAME: dataclasses.replace(registry(server)[NAME], hash=f"sha256:{digits}")}
    path = fetch(NAME, tmp_path, registry=known, progress=False)
    record = tmp_path / f"{NAME}.sha256"
    assert record.read_text().strip() == hashlib.sha256(Server.content).hexdigest()
    record.write_text(digits + "0" * 56)
    with pytest.raises(WrongHash, match="recorded at the first download"):
        fetch(NAME, tmp_path, registry=known, progress=False)
    path.unlink()
    server.content = archive("another version\n")
    with pytest.raises(WrongHash, match=f"sha256 {digits} published"):
        fetch(NAME, tmp_path, registry=known, progress=False)


def test_a_web_page_is_no_file(server: Server, tmp_path: Path) -> None:
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match="got a web page.*SIGNSEG_MIRROR"):
        fetch(NAME, tmp_path, registry=registry(server, None), progress=False)
    assert not list(tmp_path.glob("*.sha256"))


def test_what_nobody_publishes_must_be_there(server: Server, tmp_path: Path) -> None:
    known = {NAME: dataclasses.replace(registry(server, None)[NAME], url="")}
    with pytest.raises(FetchError, match="nobody publishes it"):
        fetch(NAME, tmp_path, registry=known)
    (tmp_path / NAME).write_bytes(b"mine")
    assert fetch(NAME, tmp_path, registry=known) == tmp_path / NAME


def test_located_looks_where_fetch_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert located(NAME, tmp_path) == tmp_path / NAME
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    monkeypatch.setenv("SIGNSEG_MIRROR", str(mirror))
    assert located(NAME, tmp_path) == tmp_path / NAME
    (mirror / NAME).write_bytes(b"there")
    assert located(NAME, tmp_path) == mirror / NAME
    (tmp_path / NAME).write_bytes(b"here")
    assert located(NAME, tmp_path) == tmp_path / NAME


def test_damaged_earlier_download_is_refused(server: Server, tmp_path: Path) -> None:
    path = fetch(NAME, tmp_path, registry=registry(server), progress=False)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WrongHash, match="move it away"):
        fetch(NAME, tmp_path, registry=registry(server), progress=False)


def test_broken_connection_keeps_what_came_and_continues(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_module, "_BLOCK", 500)
    server.break_after = 1000
    with pytest.raises(FetchError, match="bytes are kept"):
        fetch(NAME, tmp_path, registry=registry(server), progress=False)
    assert server.requests == [None, "bytes=1000-", "bytes=2000-"]
    assert (tmp_path / f"{NAME}.part").stat().st_size == 3000
    assert not (tmp_path / NAME).exists()
    server.break_after = None
    path = fetch(NAME, tmp_path, registry=registry(server), progress=False)
    assert path.read_bytes() == server.content
    assert server.requests[-1] == "bytes=3000-"


def test_server_without_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / f"{NAME}.part").write_bytes(server.content[:500])
    path = fetch(NAME, tmp_path, registry=registry(server), progress=False)
    assert path.read_bytes() == server.content


@pytest.mark.parametrize("length", [500, len(archive())])
def test_part_of_another_version_is_thrown_away(
    server: Server, tmp_path: Path, length: int
) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * length)
    path = fetch(NAME, tmp_path, registry=registry(server), progress=False)
    assert path.read_bytes() == server.content


def test_missing_on_the_server_says_what_to_do(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(FetchError, match="404.*SIGNSEG_MIRROR"):
        fetch(NAME, tmp_path, registry=registry(server), progress=False)
    assert len(server.requests) == 1


def test_offline_says_which_file_and_where_to_put_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNSEG_OFFLINE", "1")
    with pytest.raises(Offline) as caught:
        fetch(NAME, tmp_path, registry=registry(server), progress=False)
    for needed in (NAME, str(tmp_path), registry(server)[NAME].url, "SIGNSEG_OFFLINE"):
        assert needed in str(caught.value)
    assert server.requests == []
    (tmp_path / NAME).write_bytes(server.content)
    assert fetch(NAME, tmp_path, registry=registry(server)) == tmp_path / NAME


def test_mirror_comes_first_and_is_verified(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / NAME).write_bytes(server.content)
    monkeypatch.setenv("SIGNSEG_MIRROR", str(mirror))
    monkeypatch.setenv("SIGNSEG_OFFLINE", "1")
    assert fetch(NAME, tmp_path / "own", registry=registry(server)) == mirror / NAME
    (mirror / NAME).write_bytes(server.content[:-1])
    with pytest.raises(WrongHash, match="mend the mirror"):
        fetch(NAME, tmp_path / "own", registry=registry(server))
    assert server.requests == []


def test_unknown_file_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=f"did you mean {NAME}"):
        fetch("tiny-imagenet-20.zip", tmp_path)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_entry_says_where_and_under_which_terms(name: str) -> None:
    remote = REGISTRY[name]
    assert remote.licence
    if remote.url:  # else nobody publishes it
        assert remote.url.startswith(("http://", "https://"))
        assert remote.url.endswith((name, "model_best.pth.tar"))
    if remote.hash is not None:
        algorithm, digest = remote.hash.split(":")
        assert re.fullmatch(r"[0-9a-f]+", digest)
        assert len(digest) in (8, hashlib.new(algorithm).digest_size * 2)
        assert len(digest) > 8 or digest in name


def test_command_line(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    assert NAME in capsys.readouterr().out
    (tmp_path / NAME).write_bytes(b"not the archive")
    with pytest.raises(WrongHash):
        command.main([NAME, "--folder", str(tmp_path)])
