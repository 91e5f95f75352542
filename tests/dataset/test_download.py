"""download: files are checked, kept, unpacked; without a network the message says what to do."""

import hashlib
import io
import re
import sys
import tarfile
from types import SimpleNamespace

import pytest

from graphrt import dataset as ds
from graphrt.errors import ArgumentError, DataError

# the package's name `download` is the function
download = sys.modules["graphrt.dataset.download"]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def web(monkeypatch):
    """A pooch that reads from a dict URL -> bytes; `web.asked` lists the URLs."""
    state = SimpleNamespace(pages={}, asked=[])

    def retrieve(url, known_hash, fname, path, progressbar):
        state.asked.append(url)
        if url not in state.pages:
            raise OSError("Name or service not known\nmore lines")
        data = state.pages[url]
        if known_hash != f"sha256:{sha256(data)}":
            raise ValueError(f"SHA256 hash of downloaded file ({fname}) does not match")
        (path / fname).write_bytes(data)

    monkeypatch.setitem(sys.modules, "pooch", SimpleNamespace(retrieve=retrieve))
    return state


@pytest.fixture
def two_mirrors(monkeypatch):
    archive = download._Archive(("http://one/", "http://two/"), {"a.gz": sha256(b"A"), "b.gz": sha256(b"B")})
    monkeypatch.setitem(download._ARCHIVES, "mnist", archive)


def test_files_are_fetched_once_and_from_the_mirror_that_has_them(web, two_mirrors, tmp_path):
    web.pages = {"http://one/a.gz": b"A", "http://two/b.gz": b"B"}
    assert ds.download("mnist", tmp_path / "new") == str(tmp_path / "new")
    assert (tmp_path / "new" / "b.gz").read_bytes() == b"B"
    assert web.asked == ["http://one/a.gz", "http://one/b.gz", "http://two/b.gz"]
    ds.download("mnist", tmp_path / "new")
    assert len(web.asked) == 3
    (tmp_path / "new" / "a.gz").write_bytes(b"damaged")
    ds.download("mnist", tmp_path / "new")
    assert web.asked[3:] == ["http://one/a.gz"] and (tmp_path / "new" / "a.gz").read_bytes() == b"A"


def test_the_default_folder(web, two_mirrors, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    web.pages = {"http://one/a.gz": b"A", "http://one/b.gz": b"B"}
    assert ds.download("mnist") == str(tmp_path / "graphrt" / "datasets" / "mnist")


def test_without_a_network_exact_message(web, two_mirrors, tmp_path):
    web.pages = {"http://two/a.gz": b"something else"}
    with pytest.raises(DataError) as caught:
        ds.download("mnist", tmp_path)
    assert "test_download.py:" in caught.value.at
    assert str(caught.value) == (
        "download: a.gz could not be fetched\n"
        f"  at:       {caught.value.at}\n"
        f"  expected: a file with SHA-256 {sha256(b'A')}\n"
        "  given:    http://one/a.gz: Name or service not known; "
        "http://two/a.gz: SHA256 hash of downloaded file (a.gz) does not match\n"
        f"  fix:      check the network connection, or fetch http://one/a.gz by hand and put it into {tmp_path}"
    )


def test_without_pooch(two_mirrors, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match=r"pip install pooch, or fetch http://one/a.gz by hand"):
        ds.download("mnist", tmp_path)
    (tmp_path / "a.gz").write_bytes(b"A")
    (tmp_path / "b.gz").write_bytes(b"B")
    assert ds.download("mnist", tmp_path) == str(tmp_path)  # put there by hand


def test_archives_are_unpacked_and_nothing_leaves_the_folder(web, tmp_path, monkeypatch):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("inner/test_batch.bin", "inner/deeper/x", "../outside", "/absolute", "inner/../up"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("inner/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data = buffer.getvalue()
    archive = download._Archive(("http://one/",), {"c.tar.gz": sha256(data)}, unpacked="inner")
    monkeypatch.setitem(download._ARCHIVES, "cifar10", archive)
    web.pages = {"http://one/c.tar.gz": data}
    folder = tmp_path / "data"
    assert ds.download("cifar10", folder) == str(folder / "inner")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == [
        "data/c.tar.gz", "data/inner/test_batch.bin",
    ]  # fmt: skip
    ds.download("cifar10", folder)
    assert web.asked == ["http://one/c.tar.gz"]


def test_the_real_hashes_are_complete():
    assert set(download._ARCHIVES) == {"mnist", "fashion_mnist", "cifar10"}
    hashes = [h for archive in download._ARCHIVES.values() for h in archive.files.values()]
    assert len(set(hashes)) == len(hashes) == 9 and all(re.fullmatch("[0-9a-f]{64}", h) for h in hashes)
    with pytest.raises(ArgumentError, match="mnist, fashion_mnist, cifar10"):
        ds.download("imagenet")


def test_with_the_real_pooch(tmp_path, monkeypatch):
    pytest.importorskip("pooch")
    source = tmp_path / "web"
    source.mkdir()
    (source / "a.gz").write_bytes(b"A")
    archive = download._Archive((source.as_uri() + "/",), {"a.gz": sha256(b"A")})
    monkeypatch.setitem(download._ARCHIVES, "mnist", archive)
    with pytest.raises(DataError, match=r"could not be fetched(.|\n)*file://"):
        ds.download("mnist", tmp_path / "data")  # pooch has no downloader for this protocol
