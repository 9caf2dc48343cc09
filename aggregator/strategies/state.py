"""What a strategy remembers between rounds, as bytes: without it a server optimiser that resumes starts from zero.

Numbers, texts, lists, dictionaries and NumPy arrays are kept, in msgpack; nothing is pickled, so reading a snapshot
runs no code. `current_arrays`, Flower's name for the model that a round began with, is left out: it is kept as the
model, and `configure_train` sets it again. A strategy of ours may name more that is none, in `not_state`.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import Strategy

VERSION = 1
ARRAY, RECORD = 1, 2
NOT_STATE = frozenset({"current_arrays"})


class UnsavableStrategy(TypeError):
    """A strategy keeps something that has no place in a snapshot, so a run with it could not resume."""


class StateMismatch(ValueError):
    """A snapshot of another strategy, or damaged."""


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The attributes of a strategy, and of those it wraps, by attribute name."""

    version: int
    strategy: str
    attributes: dict[str, Any]
    inner: dict[str, Snapshot]


def snapshot(strategy: Strategy) -> bytes:
    """The strategy's state.

    Raises:
        UnsavableStrategy: naming the attribute.
    """
    return msgspec.msgpack.encode(_snapshot(strategy), enc_hook=_pack)


def restore(strategy: Strategy, state: bytes) -> None:
    """Give a strategy, made with the same options, the state it had.

    Raises:
        StateMismatch: the snapshot is of another strategy, or damaged.
    """
    try:
        _restore(strategy, msgspec.msgpack.decode(state, type=Snapshot, ext_hook=_unpack))
    except (msgspec.DecodeError, ValueError, EOFError) as why:
        raise StateMismatch(f"no usable state of a {type(strategy).__name__}: {why}") from why


def _snapshot(strategy: Strategy) -> Snapshot:
    attributes: dict[str, Any] = {}
    inner: dict[str, Snapshot] = {}
    for name, value in vars(strategy).items():
        if isinstance(value, Strategy):
            inner[name] = _snapshot(value)
        elif name not in NOT_STATE | getattr(strategy, "not_state", frozenset()) and not callable(value):
            _check(f"{type(strategy).__name__}.{name}", value)
            attributes[name] = value
    return Snapshot(VERSION, type(strategy).__name__, attributes, inner)


def _restore(strategy: Strategy, state: Snapshot) -> None:
    name = type(strategy).__name__
    if state.version != VERSION or state.strategy != name:
        raise ValueError(f"it is of a {state.strategy} in version {state.version}, not of a {name} in {VERSION}")
    if unknown := state.attributes.keys() - vars(strategy).keys():
        raise ValueError(f"a {name} has no {', '.join(sorted(unknown))}")
    for attribute, value in state.attributes.items():
        setattr(strategy, attribute, value)
    for attribute, deeper in state.inner.items():
        wrapped = getattr(strategy, attribute, None)
        if not isinstance(wrapped, Strategy):
            raise ValueError(f"{name}.{attribute} is no strategy")
        _restore(wrapped, deeper)


def _check(name: str, value: object) -> None:
    if value is None or isinstance(value, bool | int | float | str | bytes | np.ndarray | np.generic | ArrayRecord):
        return
    if isinstance(value, list | tuple):
        for item in value:
            _check(name, item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(name, key)
            _check(name, item)
    else:
        raise UnsavableStrategy(
            f"{name} is a {type(value).__name__}, which a snapshot cannot hold: a run with it could not resume"
        )


def _pack(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        buffer = BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return msgspec.msgpack.Ext(ARRAY, buffer.getvalue())
    if isinstance(value, ArrayRecord):
        fields = {key: (array.dtype, list(array.shape), array.stype, array.data) for key, array in value.items()}
        return msgspec.msgpack.Ext(RECORD, msgspec.msgpack.encode(fields))
    raise NotImplementedError(type(value).__name__)


def _unpack(code: int, data: memoryview) -> object:
    if code == ARRAY:
        return np.load(BytesIO(data), allow_pickle=False)
    if code == RECORD:
        fields = msgspec.msgpack.decode(data, type=dict[str, tuple[str, list[int], str, bytes]])
        return ArrayRecord(
            {key: Array(dtype, tuple(shape), stype, raw) for key, (dtype, shape, stype, raw) in fields.items()}
        )
    raise ValueError(f"extension {code} is not of this version")
