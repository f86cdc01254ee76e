"""A blob folder behind any fsspec URL: an object store, or whatever else fsspec has a file system for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlsplit

from penstock.errors import DependencyError, UsageError
from penstock.models.blobs import StoreUnavailableError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_T = TypeVar("_T")

#: How long one request may take. A store that is slower than this is away.
TIMEOUT_S = 10.0
#: A request that fails at once (a reset, a throttle) is made so often, with pauses of 0.1 s, 0.2 s, 0.4 s between.
TRIES = 4
FIRST_PAUSE_S = 0.1


class FsspecBlobs:
    """Blobs below a URL.

    Two things are assumed of the store, and true of the object stores in use (S3, Google Cloud Storage, Azure): a put
    is atomic and durable when it returns, and what was put is listed by whoever lists next. Where the first does not
    hold (an FTP server), a blob that was cut off fails its digest, as a damaged file does.
    """

    def __init__(
        self,
        file_system: AbstractFileSystem,
        root: str,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``root``: the path of ``url`` in ``file_system``, which must not cache listings."""
        self._file_system, self._root, self._url = file_system, root.rstrip("/"), url.rstrip("/")
        self._timeout_s, self._sleep = timeout_s, sleep

    def below(self, folder: str) -> FsspecBlobs:
        """The blobs of ``folder`` as a folder of its own."""
        root, url = f"{self._root}/{folder}", f"{self._url}/{folder}"
        return FsspecBlobs(self._file_system, root, url, timeout_s=self._timeout_s, sleep=self._sleep)

    def write(self, name: str, data: bytes) -> None:
        """See ``BlobFolder.write``: one put of the whole object."""
        self._call(partial(self._file_system.pipe_file, self._path(name), data))

    def read(self, name: str) -> bytes:
        """See ``BlobFolder.read``."""
        return bytes(self._call(partial(self._file_system.cat_file, self._path(name))))

    def names(self, folder: str) -> list[str]:
        """See ``BlobFolder.names``."""
        try:
            paths: list[str] = self._call(partial(self._file_system.ls, self._path(folder), detail=False))
        except FileNotFoundError:
            return []
        return [path.rstrip("/").rpartition("/")[2] for path in paths]

    def delete(self, name: str) -> None:
        """See ``BlobFolder.delete``."""
        try:
            self._call(partial(self._file_system.rm_file, self._path(name)))
        except FileNotFoundError:
            return

    def where(self, name: str) -> str:
        """See ``BlobFolder.where``."""
        return f"{self._url}/{name}"

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _call(self, request: Callable[[], _T]) -> _T:
        pause = FIRST_PAUSE_S
        for _ in range(TRIES - 1):
            try:
                return self._limited(request)
            except StoreUnavailableError as error:
                if isinstance(error.__cause__, TimeoutError):  # it would cost as much time again
                    raise
            self._sleep(pause)
            pause *= 2
        return self._limited(request)

    def _limited(self, request: Callable[[], _T]) -> _T:
        try:
            return _Limited(request).result(self._timeout_s)
        except FileNotFoundError:
            raise
        except TimeoutError as error:
            problem = f"no answer from the store within {self._timeout_s:g} s"
            raise StoreUnavailableError(problem) from error
        except Exception as error:  # each file system raises errors of its own library
            raise StoreUnavailableError(_one_line(error)) from error


class _Limited(Generic[_T]):
    """A call in a thread of its own, because few file systems have time limits that hold. It may go on unheard."""

    def __init__(self, call: Callable[[], _T]) -> None:
        self._call = call
        self._results: list[_T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is waited for
            self._error = error

    def result(self, timeout_s: float) -> _T:
        self._thread.join(timeout_s)
        if self._error is not None:
            raise self._error
        if not self._results:
            raise TimeoutError
        return self._results[0]


def fsspec_blobs(url: str) -> FsspecBlobs:
    """The blobs below ``url``. No request is made yet.

    Raises:
        UsageError: ``url`` is no URL of a store.
        DependencyError: the package for its protocol is not installed, or refuses the URL.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not rest.strip("/") or "::" in url or scheme in ("http", "https"):
        raise UsageError(f"PENSTOCK_STORE_URL: {shown(url)!r} names no store; use `s3://bucket/prefix` or the like")
    from fsspec.core import url_to_fs

    try:
        # A listing that is cached would hide the checkpoints of other machines.
        file_system, root = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise DependencyError(
            f"PENSTOCK_STORE_URL: {shown(url)}: its package is missing: {_one_line(error)}"
        ) from error
    except ValueError as error:
        if "not known" in str(error):
            raise UsageError(f"PENSTOCK_STORE_URL: {shown(url)!r}: fsspec knows no protocol {scheme!r}") from error
        raise DependencyError(f"PENSTOCK_STORE_URL: {shown(url)}: {_one_line(error)}") from error
    except Exception as error:  # a file system may connect when it is made, and fail in any way
        raise DependencyError(f"PENSTOCK_STORE_URL: {shown(url)}: {_one_line(error)}") from error
    return FsspecBlobs(file_system, root, shown(url))


def shown(url: str) -> str:
    """``url`` without a user name and password."""
    parts = urlsplit(url)
    return url if "@" not in parts.netloc else url.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1)


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
