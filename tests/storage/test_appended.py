"""A record goes only into the file that was created for it, and leaves no descriptor behind."""

import os
from pathlib import Path

import pytest

from rectifier.storage.appended import AppendedFile


def open_descriptors():
    return set(os.listdir("/dev/fd"))


def test_no_descriptor_is_open_between_two_records(tmp_path, monkeypatch):
    before = open_descriptors()
    file = AppendedFile(tmp_path / "records")
    monkeypatch.chdir("/")
    for record in (b"first\n", b"second\n"):
        file.append(record)
        assert open_descriptors() == before
    assert (tmp_path / "records").read_bytes() == b"first\nsecond\n"
    file.check()


def test_a_relative_path_means_the_directory_of_its_creation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = AppendedFile(Path("records"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    file.append(b"record\n")
    assert (tmp_path / "records").read_bytes() == b"record\n"


def test_a_write_that_is_cut_short_goes_on(tmp_path, monkeypatch):
    file = AppendedFile(tmp_path / "records")
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, bytes(data)[:3]))
    file.append(b"a longer record\n")
    file.append(b"and another\n")
    monkeypatch.undo()
    assert (tmp_path / "records").read_bytes() == b"a longer record\nand another\n"


def test_nothing_is_ever_overwritten(tmp_path):
    (tmp_path / "records").write_text("theirs")
    with pytest.raises(FileExistsError):
        AppendedFile(tmp_path / "records")
    assert (tmp_path / "records").read_text() == "theirs"


def removed(path):
    path.unlink()


def replaced(path):
    # The inode may well be the same.
    path.unlink()
    path.write_text("theirs")


def moved_over(path):
    path.with_name("other").write_text("theirs")
    path.with_name("other").replace(path)


def shortened(path):
    os.truncate(path, 3)


def a_link(path):
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [removed, replaced, moved_over, shortened, a_link, a_folder])
def test_another_file_of_that_name_gets_nothing(change, tmp_path):
    path = tmp_path / "records"
    file = AppendedFile(path)
    file.append(b"record\n")
    change(path)
    before = {entry: entry.read_bytes() for entry in tmp_path.iterdir() if entry.is_file()}
    descriptors = open_descriptors()
    for _ in range(2):
        with pytest.raises(OSError, match=r"."):
            file.append(b"record\n")
        with pytest.raises(OSError, match=r"."):
            file.check()
    assert {entry: entry.read_bytes() for entry in tmp_path.iterdir() if entry.is_file()} == before
    assert open_descriptors() == descriptors
