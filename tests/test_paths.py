"""Text files are whole or not there."""

from pathlib import Path

import pytest

from signseg_utils.files import paths


def test_text_is_written_into_a_new_folder_and_replaces_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.json"
    paths.write_text(target, "α\n")
    paths.write_text(target, "β\n")
    assert target.read_text(encoding="utf-8") == "β\n"
    assert [path.name for path in target.parent.iterdir()] == ["a.json"]


def test_a_full_disk_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.json"
    paths.write_text(target, "old")
    with monkeypatch.context() as changed:
        changed.setattr(Path, "read_text", lambda self, encoding=None: "cut")
        with pytest.raises(OSError, match="disk full"):
            paths.write_text(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
