"""A contract for tests, the columns that it is about, and requests that it judges."""

from typing import Any

import msgspec

from protocol.configuration import ColumnRule, ContractDoc
from protocol.manifest import Column, ColumnType, Manifest, Tensor
from serving.call import Call
from serving.contract import Contract, Tally
from serving.signature import Signature
from serving.tensors import Array


def column(name: str, type: ColumnType, **more: Any) -> Column:
    return Column(name=name, type=type, **{"input": name, **more})


COLUMNS = (
    column("age", "float"),
    column("city", "string", null=""),
    column("visits", "integer"),
    column("member", "boolean"),
)


def contract(
    *rules: ColumnRule,
    inputs: tuple[Tensor, ...],
    columns: tuple[Column, ...] = (),
    mode: str = "enforce",
) -> tuple[Contract, Tally]:
    manifest = Manifest(model="m", inputs=inputs, outputs=(), columns=columns)
    tally = Tally()
    document = msgspec.convert({"mode": mode, "rules": rules}, ContractDoc, from_attributes=True)
    return Contract(document, Signature(manifest, 1), tally), tally


def call(*feeds: Array | None) -> Call:
    return Call(list(feeds), 1, None, None)  # type: ignore[arg-type]  # it is not answered here
