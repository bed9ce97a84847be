"""Where BATCH files are stored: a folder, or an object store that fsspec has a package for."""

import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from fsspec import get_filesystem_class
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import get_protocol
from singer_sdk.helpers._batch import BatchConfig, StorageTarget

from tap_barchart_events.exceptions import BarchartEventsError, FileError, SettingError


def check_storage(storage: StorageTarget) -> None:
    """Check that there is a package for the protocol of ``storage.root``; make no request.

    Raises:
        SettingError: There is none.
    """
    try:
        get_filesystem_class(get_protocol(storage.root))
    except (ImportError, ValueError) as error:
        # The text of a ValueError contains part of the value.
        why = error if isinstance(error, ImportError) else "its protocol is not known"
        raise SettingError(
            f"setting batch_config.storage.root: {why}; for s3://, install "
            "tap-barchart-events[s3]; for any other protocol, install the package that fsspec needs"
        ) from None


def store_all(
    paths: Iterable[Path], batch_config: BatchConfig, *, stem: str, what: str
) -> Iterator[str]:
    """Move finished files into their storage; yield the URL of each.

    Args:
        paths: The files; each is removed once it is stored.
        batch_config: Where the files go, and which suffix they get.
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
            name = f"{storage.prefix or ''}{stem}-{uuid.uuid4()}.{suffix}"
            yield _stored(path, storage, name)
    except BarchartEventsError:
        raise
    except Exception as error:  # noqa: BLE001 - each store's library has its own errors
        # Their texts can hold values of batch_config, which may be secrets.
        number = error.errno if isinstance(error, OSError) else None
        why = os.strerror(number) if number else type(error).__name__
        raise FileError(
            f"{what}: could not write a batch file: {why}; check free space, permissions and "
            "credentials of the storage in batch_config, and free space in TMPDIR"
        ) from None


def _stored(path: Path, storage: StorageTarget, name: str) -> str:
    """Move a finished file into its storage, and return its URL there."""
    filesystem, root = url_to_fs(storage.root, **storage.params)
    filesystem.makedirs(root, exist_ok=True)
    target = f"{root.rstrip('/')}/{name}"
    filesystem.put_file(str(path), target)
    path.unlink()
    # Targets of the SDK do not decode URLs. For a local file, the SDK's own get_url encodes some
    # names, and leaves ~ unchanged.
    if isinstance(filesystem, LocalFileSystem):
        return f"file://{Path(target).resolve().as_posix()}"
    return f"{storage.root.rstrip('/')}/{name}"
