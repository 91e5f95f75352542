"""`download`: fetch the files of well-known datasets, checked against pinned SHA-256 hashes.

In: the name of a dataset, perhaps a folder. Out: the folder with its files, ready for MnistDataset, FashionMnistDataset
or Cifar10Dataset. pooch (the optional extra `download`) does the transfer; files that are there already are not fetched.

The hashes are those of the files the authors published (yann.lecun.com/exdb/mnist, zalandoresearch/fashion-mnist,
cs.toronto.edu/~kriz/cifar.html); they agree with what torchvision and MLDatasets.jl pin.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import ArgumentError, DataError
from ..frontend.location import user_source


@dataclass(frozen=True)
class _Archive:
    """Where a dataset comes from: `files` maps name -> SHA-256; every base URL of `bases` has all of them."""

    bases: tuple[str, ...]
    files: dict[str, str]
    unpacked: str | None = None  # the folder inside a tar file


_ARCHIVES = {
    "mnist": _Archive(
        ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"),
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion_mnist": _Archive(
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
        ),
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
    "cifar10": _Archive(
        ("https://www.cs.toronto.edu/~kriz/",),
        {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
        unpacked="cifar-10-batches-bin",
    ),
}  # fmt: skip
_MOST_UNPACKED = 1 << 28  # bytes per file of a tar archive, several times the real ones


def download(name: str, folder: str | os.PathLike[str] | None = None) -> str:
    """Fetch "mnist", "fashion_mnist" or "cifar10" and return the folder for the dataset class.

    `folder`: where to put the files, default `~/.cache/graphrt/datasets/<name>` (below $XDG_CACHE_HOME if that is set).
    Files there with the right hash are kept; every fetched file is checked before it gets its name.

    Raises ArgumentError for an unknown name, DataError where a file cannot be fetched or has another hash; the message
    gives the address and where to put the file by hand.
    """
    if name not in _ARCHIVES:
        raise ArgumentError(
            "download: unknown dataset", at=user_source(), expected=", ".join(_ARCHIVES), given=repr(name)
        )
    archive = _ARCHIVES[name]
    target = Path(folder) if folder is not None else _default_folder() / name
    target.mkdir(parents=True, exist_ok=True)
    for file, sha256 in archive.files.items():
        path = target / file
        if not _has_hash(path, sha256):
            _fetch(archive, file, sha256, target)
        if archive.unpacked is not None:
            _unpack(path, target, archive.unpacked)
    return str(target / archive.unpacked if archive.unpacked is not None else target)


def _default_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "graphrt" / "datasets"


def _has_hash(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == sha256


def _fetch(archive: _Archive, file: str, sha256: str, target: Path) -> None:
    by_hand = f"fetch {archive.bases[0]}{file} by hand and put it into {target}"
    try:
        import pooch
    except ImportError:
        raise DataError(
            f"download: {file} is not there, and pooch, which would fetch it, is not installed", at=user_source(),
            expected=str(target / file), given="no such file", fix=f"pip install pooch, or {by_hand}",
        ) from None  # fmt: skip
    problems = []
    for base in archive.bases:
        try:
            pooch.retrieve(base + file, f"sha256:{sha256}", file, target, progressbar=False)
            return
        except (
            Exception
        ) as error:  # no network, an HTTP error, another hash: pooch passes on what its backend raises
            problems.append(f"{base}{file}: {_first_line(error)}")
    raise DataError(
        f"download: {file} could not be fetched", at=user_source(), expected=f"a file with SHA-256 {sha256}",
        given="; ".join(problems), fix=f"check the network connection, or {by_hand}",
    )  # fmt: skip


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _unpack(path: Path, target: Path, inner: str) -> None:
    """The plain files of folder `inner` of a tar file, except those that are there with the right size."""
    with tarfile.open(path) as tar:
        for member in tar.getmembers():
            place = Path(member.name)
            if not member.isfile() or place.parent != Path(inner) or member.size > _MOST_UNPACKED:
                continue
            destination = target / inner / place.name
            if destination.is_file() and destination.stat().st_size == member.size:
                continue
            source = tar.extractfile(member)
            assert source is not None
            destination.parent.mkdir(exist_ok=True)
            partial = destination.with_name(destination.name + ".part")
            partial.write_bytes(source.read())
            os.replace(partial, destination)
