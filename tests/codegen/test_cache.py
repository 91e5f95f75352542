"""The compile cache: what it returns, and above all what it never returns."""

import errno
import os
import stat
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

import graphrt
from graphrt.codegen import cache, jit
from graphrt.codegen.target import target

NAME = cache.key("object", "some text")
CONTENT = bytes(range(256)) * 20


def entry(folder: Path, name: str = NAME) -> Path:
    return folder / name


@pytest.fixture
def stored(cache_folder: Path) -> Path:
    """The file of an entry that is good."""
    assert cache.write(NAME, CONTENT) and cache.read(NAME) == CONTENT
    return entry(cache_folder)


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    monkeypatch.setattr(cache, "_warned", set())
    monkeypatch.setattr(cache, "_unpruned", float("inf"))


def test_directory_and_entries_are_closed_to_others(stored):
    assert stat.S_IMODE(stored.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert os.listdir(stored.parent) == [NAME]


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", CONTENT])
def test_any_bytes_come_back(content):
    assert cache.write(NAME, content) and cache.read(NAME) == content


def test_unknown_names_and_missing_directories_give_nothing(cache_folder):
    assert cache.read(NAME) is None and not cache_folder.exists()
    cache.write(NAME, CONTENT)
    assert cache.read(cache.key("object", "another")) is None


def test_keys_depend_on_every_part_and_where_it_ends():
    keys = [
        cache.key(*parts)
        for parts in (("a",), ("a", ""), ("a", "bc"), ("a", "b", "c"), ("b", "bc"), ("a", b"c"))
    ]
    assert len(set(keys)) == len(keys)
    assert cache.key("a", "bc") == cache.key("a", b"bc")


@pytest.mark.parametrize("size", [0, 1, 10, 60, 100, 1000, -1])
def test_a_truncated_entry_is_ignored_and_replaced(stored, size):
    stored.write_bytes(stored.read_bytes()[:size])
    assert cache.read(NAME) is None
    assert cache.write(NAME, CONTENT) and cache.read(NAME) == CONTENT


def test_every_flipped_bit_is_noticed(stored):
    good = stored.read_bytes()
    header = good.index(b"\n", len(cache.MAGIC)) + 1
    for position in [*range(header), header, header + 1000, len(good) - 1]:
        for bit in (0, 3, 7):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            stored.write_bytes(bytes(bad))
            assert cache.read(NAME) is None, (position, bit)
    stored.write_bytes(good + b"\0")
    assert cache.read(NAME) is None
    stored.write_bytes(good)
    assert cache.read(NAME) == CONTENT


def test_the_entry_of_another_name_is_not_taken(stored):
    other = cache.key("object", "for another processor")
    stored.rename(stored.parent / other)
    assert cache.read(other) is None


@pytest.mark.parametrize("mode", [0o777, 0o640, 0o606, 0o622])
def test_an_entry_open_to_others_is_ignored_and_replaced(stored, mode):
    stored.chmod(mode)
    assert cache.read(NAME) is None
    assert cache.write(NAME, CONTENT) and cache.read(NAME) == CONTENT
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600


def test_an_entry_of_another_user_is_ignored(stored, monkeypatch):
    real = os.fstat

    def foreign(descriptor):
        facts = list(real(descriptor))
        if stat.S_ISREG(facts[stat.ST_MODE]):
            facts[stat.ST_UID] += 1
        return os.stat_result(facts)

    monkeypatch.setattr(os, "fstat", foreign)
    assert cache.read(NAME) is None
    monkeypatch.undo()


def test_links_pipes_and_directories_are_not_entries(stored, tmp_path):
    good = tmp_path / "good"
    stored.rename(good)
    stored.symlink_to(good)
    assert cache.read(NAME) is None
    assert cache.write(NAME, CONTENT) and not stored.is_symlink() and cache.read(NAME) == CONTENT
    stored.unlink()
    os.mkfifo(stored, 0o600)
    assert cache.read(NAME) is None  # and does not wait for a writer
    assert cache.write(NAME, CONTENT) and cache.read(NAME) == CONTENT
    stored.unlink()
    stored.mkdir()
    assert cache.read(NAME) is None and not cache.write(NAME, CONTENT)
    assert os.listdir(stored.parent) == [NAME]  # no temporary file is left behind


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701])
def test_a_directory_open_to_others_is_not_used_and_said_once(stored, mode):
    stored.parent.chmod(mode)
    with pytest.warns(RuntimeWarning, match="other users may enter it.*chmod 700") as said:
        assert cache.read(NAME) is None and not cache.write(NAME, b"x") and cache.read(NAME) is None
    assert len(said) == 1
    stored.parent.chmod(0o700)
    assert cache.read(NAME) == CONTENT


def test_a_directory_of_another_user_is_not_used(stored, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: stored.stat().st_uid + 1)
    with pytest.warns(RuntimeWarning, match="belongs to another user"):
        assert cache.read(NAME) is None and not cache.write(NAME, b"x")


def test_a_linked_directory_is_not_used(stored, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(stored.parent)
    monkeypatch.setenv("GRAPHRT_CACHE_DIR", str(link))
    with pytest.warns(RuntimeWarning, match="a symbolic link"):
        assert cache.read(NAME) is None and not cache.write(NAME, b"x")


def test_a_file_in_place_of_the_directory(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("GRAPHRT_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="not a directory"):
        assert cache.read(NAME) is None and not cache.write(NAME, b"x")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("failing", ["open", "replace", "fchmod", "scandir"])
def test_an_error_of_the_disk_leaves_the_old_entry(stored, monkeypatch, failing):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_unpruned", float("inf"))
    monkeypatch.setattr(os, failing, full)
    written = cache.write(NAME, b"new")
    monkeypatch.undo()
    monkeypatch.setenv("GRAPHRT_CACHE_DIR", str(stored.parent))
    assert not written and os.listdir(stored.parent) == [NAME]
    assert cache.read(NAME) == (b"new" if failing == "scandir" else CONTENT)


def test_the_cache_can_be_turned_off(stored, monkeypatch):
    with graphrt.set_context(cache=False):
        assert cache.directory() is None and cache.read(NAME) is None and not cache.write(NAME, b"x")
    monkeypatch.setenv("GRAPHRT_CACHE", "0")
    assert cache.directory() is None and cache.read(NAME) is None and not cache.write(NAME, b"x")


def test_where_the_cache_is(monkeypatch, tmp_path):
    assert cache.directory() == tmp_path / "cache"
    monkeypatch.delenv("GRAPHRT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.directory() == tmp_path / "xdg" / "graphrt"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = "Library/Caches" if sys.platform == "darwin" else ".cache"
    assert cache.directory() == tmp_path / "home" / folder / "graphrt"


def test_what_was_not_used_for_longest_goes_first(cache_folder, monkeypatch):
    monkeypatch.setenv("GRAPHRT_CACHE_MB", "1")
    names = [cache.key("object", str(k)) for k in range(4)]
    hour = 3600
    for age, name in enumerate(names):
        cache.write(name, bytes(200 * 1024))
        os.utime(entry(cache_folder, name), (time.time() - (9 - age) * hour,) * 2)
    assert cache.read(names[0]) is not None  # now the one used last
    foreign = cache_folder / "notes.txt"
    foreign.write_bytes(bytes(10))
    old, fresh = (cache_folder / f".graphrt-1-{k:016x}" for k in range(2))
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * hour,) * 2)
    cache.write(cache.key("object", "new"), bytes(500 * 1024))
    kept = set(os.listdir(cache_folder))
    assert kept == {names[0], names[3], cache.key("object", "new"), "notes.txt", fresh.name}


def test_the_limit_holds_for_one_entry_too(monkeypatch):
    monkeypatch.setenv("GRAPHRT_CACHE_MB", "0.5")
    assert not cache.write(NAME, bytes(600 * 1024)) and cache.write(NAME, bytes(100))
    monkeypatch.setenv("GRAPHRT_CACHE_MB", "nonsense")
    assert cache.write(NAME, bytes(600 * 1024))


PROCESS = """
import os, sys
from graphrt.codegen import cache
names = [cache.key("object", str(k)) for k in range(3)]
for turn in range(60):
    for k, name in enumerate(names):
        content = bytes([k]) * (1000 * (1 + (turn + os.getpid()) % 5))
        assert cache.write(name, content)
        found = cache.read(name)
        assert found and set(found) == {k}, (len(found or b""), set(found or b""))
"""


def test_processes_and_threads_may_share_a_directory(cache_folder):
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    threads = [threading.Thread(target=exec, args=(PROCESS, {})) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert len(os.listdir(cache_folder)) == 3


ANSWER = "define i64 @answer() {\n  ret i64 42\n}\n"


def test_object_code_is_generated_once(cache_folder, monkeypatch):
    first = jit.compile_text(ANSWER, target("host"))
    assert [name.split("-")[0] for name in os.listdir(cache_folder)] == ["object"]
    monkeypatch.setattr(jit, "_optimised", None)  # compiling would fail
    assert jit.compile_text(ANSWER, target("host")) == first


def test_damaged_object_code_is_compiled_again(cache_folder):
    good = jit.compile_text(ANSWER, target("host")).object_code
    path = entry(cache_folder, jit.object_key(ANSWER, target("host")))
    whole = path.read_bytes()
    for bad in (whole[:-1], whole[:-2] + b"\xff\xff", b"", whole.replace(b"answer", b"Answer")):
        path.write_bytes(bad)
        assert jit.compile_text(ANSWER, target("host")).object_code == good
        assert path.read_bytes() == whole


def test_object_code_of_another_processor_or_version_has_another_name(monkeypatch):
    names = {jit.object_key(ANSWER, target(name)) for name in ("znver4", "znver5", "haswell", "neoverse-n1")}
    names.add(jit.object_key(ANSWER + "\n", target("znver4")))
    monkeypatch.setattr(graphrt, "__version__", "9.9")
    names.add(jit.object_key(ANSWER, target("znver4")))
    monkeypatch.setattr(jit, "_SPEED_LEVEL", 3)
    names.add(jit.object_key(ANSWER, target("znver4")))
    assert len(names) == 7


def test_compiling_does_not_need_the_cache(cache_folder):
    cache_folder.mkdir(mode=0o755)
    with pytest.warns(RuntimeWarning, match="compiles without its cache"):
        loaded = jit.load([jit.compile_text(ANSWER, target("host")).object_code], ["answer"])
    assert loaded.address("answer") and not os.listdir(cache_folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jit.compile_text(ANSWER, target("host"))
