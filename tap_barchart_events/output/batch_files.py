"""Where BATCH files are stored: a folder, or an object store that fsspec has a package for."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from fsspec import get_filesystem_class
from fsspec.core import url_to_fs
from fsspec.utils import get_protocol

from tap_barchart_events.exceptions import FileError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from singer_sdk.helpers._batch import BatchConfig, StorageTarget


def check_storage(storage: StorageTarget) -> None:
    """Check that there is a package for the protocol of ``storage.root``; nothing is requested.

    Raises:
        SettingError: There is none.
    """
    if get_protocol(storage.root) == "memory":
        raise SettingError(
            "setting batch_config: storage.root: memory:// ends with this process, so no target "
            "could read the files; use a folder or an object store"
        )
    try:
        get_filesystem_class(get_protocol(storage.root))
    except (ImportError, ValueError) as error:
        raise SettingError(
            f"setting batch_config: storage.root: {error}; for s3:// install "
            "tap-barchart-events[s3], for another protocol the package of fsspec"
        ) from None


def store_all(
    paths: Iterable[Path], batch_config: BatchConfig, *, stem: str, what: str
) -> Iterator[str]:
    """Move finished files into their storage; yield the URL of each.

    Args:
        paths: The files; each is removed once it is stored.
        batch_config: Where to, and which suffix the files get.
        stem: What the names of all files begin with.
        what: Customer, product and window, for errors.

    Raises:
        FileError: A file could not be written or stored.
    """
    storage, encoding = batch_config.storage, batch_config.encoding
    suffix = {"jsonl": "json", "parquet": "parquet"}[encoding.format]
    if encoding.format == "jsonl" and encoding.compression == "gzip":
        suffix += ".gz"
    try:
        for path in paths:
            url = store(path, storage, f"{storage.prefix or ''}{stem}-{uuid.uuid4()}.{suffix}")
            path.unlink()
            yield url
    except OSError as error:
        raise FileError(
            f"{what}: could not write a batch file: {error.strerror or error}; check space, "
            "permissions and credentials where batch_config stores files, and space in TMPDIR"
        ) from None


def store(path: Path, storage: StorageTarget, name: str) -> str:
    """Copy a finished file into its storage, and return its URL there.

    Raises:
        OSError: It could not be stored; errors of a store's library are converted.
    """
    try:
        filesystem, root = url_to_fs(storage.root, **storage.params)
        filesystem.makedirs(root, exist_ok=True)
        target = f"{root.rstrip('/')}/{name}"
        try:
            filesystem.put_file(str(path), target)
        except BaseException:
            with suppress(Exception):
                filesystem.rm_file(target)
            raise
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - each store's library has its own errors
        raise OSError(f"{type(error).__name__}: {error}") from None
    return storage.get_url(name)
