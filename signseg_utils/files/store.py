"""Resumable results: one finished shard is one zarr (v3) zip file that proves its own content.

A shard is written to a temporary file, read back, compared and only then renamed, so a file
called ``<key>.zarr.zip`` is whole or damaged from outside, never half written. It carries

* its provenance (attribute ``provenance``), compared on reading with what the caller expects;
* a checksum of its content (attribute ``content_sha256``), which survives repacking;
* a checksum of the file (the comment of the zip), which catches any flipped bit.

The same dataset and provenance give the same bytes. Nothing is pickled.
"""

import hashlib
import io
import json
import os
import time
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import xarray as xr
from safetensors.torch import load as safetensors_load
from safetensors.torch import save as safetensors_save
from torch import Tensor
from zarr.codecs import BloscCodec
from zarr.storage import MemoryStore, ZipStore

from signseg_utils.basics.refusals import BadValue, Refusal
from signseg_utils.files.paths import Unwritable, reason

SHARD = ".zarr.zip"
PARTIAL = ".partial.safetensors"
_SEAL = b"sha256:"
_SEAL_LENGTH = len(_SEAL) + 64
_TEMPORARY_SECONDS = 3600  # an older temporary file was left by a killed process


class ShardError(Refusal):
    """A shard cannot be used; the message names it."""


class MissingShard(ShardError, FileNotFoundError):
    """There is no such shard."""


class DamagedShard(ShardError, ValueError):
    """The file is truncated, altered, or no shard at all."""


class ForeignShard(ShardError, ValueError):
    """The shard is whole but comes from other settings, weights or code."""


class UnwritableStore(ShardError, Unwritable):
    """The folder is full or cannot be written; what was stored before is untouched."""


@dataclass(frozen=True)
class Store:
    """A folder of shards.

    Parameters
    ----------
    folder : Path
        Made on the first write.
    """

    folder: Path

    def path(self, key: str) -> Path:
        """File of the finished shard ``key``."""
        return Path(self.folder) / f"{_checked(key)}{SHARD}"

    def partial_path(self, key: str) -> Path:
        """File of the checkpoint of the running shard ``key``."""
        return Path(self.folder) / f"{_checked(key)}{PARTIAL}"

    def keys(self) -> tuple[str, ...]:
        """Keys of all files that claim to be finished shards, sorted."""
        files = Path(self.folder).glob(f"*{SHARD}")
        return tuple(sorted(file.name.removesuffix(SHARD) for file in files))

    def write(self, key: str, dataset: xr.Dataset, provenance: Mapping[str, Any]) -> Path:
        """Write a finished shard: temporary file, verified, renamed; then drop its checkpoint.

        Raises
        ------
        UnwritableStore
            If the disk is full or the folder cannot be written. An earlier file of this key and
            the checkpoint of the running shard stay as they were.
        """
        target = self.path(key)
        stamped = dataset.copy()
        stamped.attrs = {**dataset.attrs, "provenance": _json(provenance)}
        stamped.attrs["content_sha256"] = content_sha256(stamped)
        _write(target, _sealed_zip(stamped), verify=lambda file: _open(file, key))
        self.partial_path(key).unlink(missing_ok=True)
        return target

    def read(self, key: str, expect: Mapping[str, Any] | None = None) -> xr.Dataset:
        """Read and verify a shard.

        Parameters
        ----------
        expect
            Fields that its provenance must have; fields not named here are not compared.

        Raises
        ------
        MissingShard, DamagedShard, ForeignShard
            The message names the shard and, for a foreign one, the fields that differ.
        """
        dataset = _open(self.path(key), key)
        _compare(key, self.path(key), provenance(dataset), expect or {})
        return dataset

    def provenance_of(self, key: str) -> dict[str, Any]:
        """Provenance of a shard alone; its arrays are neither read nor verified.

        Raises
        ------
        MissingShard, DamagedShard
            The message names the shard.
        """
        path = self.path(key)
        if not path.exists():
            return provenance(self.read(key))  # says that it is missing
        try:
            with zipfile.ZipFile(path) as archive:
                attributes = json.loads(archive.read("zarr.json"))["attributes"]
            return json.loads(attributes["provenance"])
        except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
            raise _damaged(key, path, f"it cannot be decoded ({error})") from error

    def has(self, key: str, expect: Mapping[str, Any] | None = None) -> bool:
        """Whether :meth:`read` would succeed. Why it would not is told by ``read`` itself."""
        try:
            self.read(key, expect)
        except ShardError:
            return False
        return True

    def damaged(self, keys: Iterable[str]) -> list[str]:
        """Names of those files of these shards that are truncated or altered."""
        found = []
        for key in keys:
            try:
                self.read(key)
            except MissingShard:
                pass
            except DamagedShard:
                found.append(self.path(key).name)
        return found

    def write_partial(
        self, key: str, state: Mapping[str, Tensor | int | float | str], provenance: Mapping
    ) -> Path:
        """Write the checkpoint of a running shard (safetensors; numbers as JSON in its header)."""
        tensors = {
            name: value.detach().cpu().contiguous()
            for name, value in state.items()
            if isinstance(value, Tensor)
        }
        plain = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
        header = {"plain": _json(plain), "provenance": _json(provenance)}
        header["content_sha256"] = _partial_sha256(tensors, header)
        target = self.partial_path(key)
        content = safetensors_save(tensors, metadata=header)
        _write(target, content, verify=lambda file: _open_partial(file, key))
        return target

    def read_partial(self, key: str, expect: Mapping[str, Any] | None = None) -> dict | None:
        """State of a running shard, or ``None`` where there is none.

        Raises
        ------
        DamagedShard, ForeignShard
            As :meth:`read`; the caller starts the shard anew.
        """
        path = self.partial_path(key)
        if not path.exists():
            return None
        state, found = _open_partial(path, key)
        _compare(key, path, found, expect or {})
        return state


def provenance(dataset: xr.Dataset) -> dict[str, Any]:
    """Provenance of a dataset that came from :meth:`Store.read`."""
    return json.loads(dataset.attrs["provenance"])


def content_sha256(dataset: xr.Dataset) -> str:
    """SHA-256 over names, dimensions, types, values and attributes, whatever the container."""
    digest = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        values = np.ascontiguousarray(variable.values)
        head = [name, list(map(str, variable.dims)), values.dtype.str, list(values.shape)]
        digest.update(_json(head).encode())
        digest.update(values.tobytes())
    attributes = {k: v for k, v in dataset.attrs.items() if k != "content_sha256"}
    digest.update(_json(attributes).encode())
    return digest.hexdigest()


def _checked(key: str) -> str:
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+=")
    if not key or key.startswith(".") or not set(key) <= allowed:
        raise BadValue(
            "expected a key of letters, digits and -_.+= that does not begin with a dot, because "
            f"it becomes a file name; got {key!r}; replace the other characters"
        )
    return key


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return value.name
    raise TypeError(
        f"expected provenance of strings, numbers, lists and dicts; got {type(value).__name__}"
    )


def _sealed_zip(dataset: xr.Dataset) -> bytes:
    """Bytes of a zip that zarr opens: sorted names, fixed dates, SHA-256 of the rest as comment."""
    members: dict = {}
    encoding = {
        name: {
            "compressors": [BloscCodec(cname="zstd", clevel=7, shuffle="bitshuffle")],
            "chunks": tuple(max(1, n) for n in variable.shape),
        }
        for name, variable in dataset.variables.items()
        if variable.ndim
    }
    clean = dataset.copy()
    for variable in clean.variables.values():
        variable.encoding = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Zarr V3 specification.*")
        clean.to_zarr(
            MemoryStore(members), mode="w", consolidated=False, zarr_format=3, encoding=encoding
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            if name.endswith("zarr.json"):  # text; arrays are compressed already
                entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, members[name].to_bytes())
        archive.comment = b"0" * _SEAL_LENGTH
    body = buffer.getvalue()[:-_SEAL_LENGTH]
    return body + _SEAL + hashlib.sha256(body).hexdigest().encode()


def _open(path: Path, key: str) -> xr.Dataset:
    if not path.exists():
        raise MissingShard(f"expected shard {key!r} at {path}; there is no such file; compute it")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _damaged(key, path, f"it cannot be read ({error.strerror})") from error
    body, seal = content[:-_SEAL_LENGTH], content[-_SEAL_LENGTH:]
    if not seal.startswith(_SEAL):
        raise _damaged(key, path, "it does not end with a seal: truncated, or not a shard")
    if hashlib.sha256(body).hexdigest().encode() != seal[len(_SEAL) :]:
        raise _damaged(key, path, "its bytes do not match its seal: altered or truncated")
    try:
        store = ZipStore(path, mode="r")
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*Zarr V3 specification.*")
                dataset = xr.open_zarr(store, consolidated=False, chunks=None).load()
        finally:
            if store._is_open:  # closing fails otherwise, and hides why it did not open
                store.close()
        expected = dataset.attrs["content_sha256"]
        json.loads(dataset.attrs["provenance"])
    except Exception as error:  # zarr, its codecs and zipfile raise of many kinds
        raise _damaged(key, path, f"it cannot be decoded ({error})") from error
    if content_sha256(dataset) != expected:
        raise _damaged(key, path, "its values do not match the checksum inside")
    return dataset


def _open_partial(path: Path, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        content = path.read_bytes()
        tensors = safetensors_load(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])["__metadata__"]
        whole = header.pop("content_sha256") == _partial_sha256(tensors, header)
        plain, found = json.loads(header["plain"]), json.loads(header["provenance"])
    except Exception as error:  # safetensors raises its own type from Rust
        raise _damaged(key, path, f"its checkpoint cannot be decoded ({error})") from error
    if not whole:
        raise _damaged(key, path, "its checkpoint does not match the checksum inside")
    return {**tensors, **plain}, found


def _partial_sha256(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    digest = hashlib.sha256(_json(dict(header)).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(_json([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(safetensors_save({"": tensor}))
    return digest.hexdigest()


def _damaged(key: str, path: Path, why: str) -> DamagedShard:
    return DamagedShard(
        f"shard {key!r} is damaged: {why}; expected {path} as it was written; it is not used: "
        "recompute it (it is then replaced), or restore the file"
    )


def _compare(key: str, path: Path, found: Mapping, expect: Mapping[str, Any]) -> None:
    wanted = json.loads(_json(dict(expect)))
    absent = object()
    differing = [
        f"{field}: expected {_short(value)}, got {_short(found.get(field, 'nothing'))}"
        for field, value in wanted.items()
        if found.get(field, absent) != value
    ]
    if differing:
        raise ForeignShard(
            f"shard {key!r} is foreign, because its provenance differs in {'; '.join(differing)}; "
            f"it is not used: recompute it (it is then replaced), or move {path} away"
        )


def _short(value: Any) -> str:
    text = _json(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _write(target: Path, content: bytes, verify: Any) -> None:
    """Temporary file beside the target -> flushed to disk -> verified -> renamed."""
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:12]}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _forget_old_temporaries(target)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        verify(temporary)
        os.replace(temporary, target)
    except OSError as error:
        if isinstance(error, ShardError):
            raise
        raise UnwritableStore(
            error.errno,
            f"expected to write {len(content):,} bytes to {target}; {reason(error)}; nothing "
            "stored before is lost: make room or choose another folder and give the same command",
        ) from error
    finally:
        try:
            temporary.unlink(missing_ok=True)
        except OSError:
            pass


def _forget_old_temporaries(target: Path) -> None:
    for file in target.parent.glob(f".{target.name}.*.tmp"):
        if time.time() - file.stat().st_mtime > _TEMPORARY_SECONDS:
            file.unlink(missing_ok=True)
