"""What of a data contract holds for none of a model's versions, in words: mostly typing errors.

These are warnings, not errors: requirements may come before the first version, and a rule before
the version that brings its column.
"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Final

import msgspec

from protocol.configuration import ColumnRule, ContractDoc
from protocol.manifest import Manifest

MAX_WARNINGS: Final = 20
"""Those beyond are counted."""
_SHOWN: Final = 80
_REMOTE: Final = (
    "contract: it is not checked: remote servers answer for every version of this model, and "
    "contracts are held at engines. Check requests at the remote server"
)


def contract_warnings(contract: ContractDoc | None, versions: Sequence[Manifest]) -> list[str]:
    """Why rules, or all of them, are not checked on any of ``versions``: those that the model has
    and that have not ended. Of a model without any nothing is known."""
    if contract is None or not versions:
        return []
    local = [one for one in versions if one.remote is msgspec.UNSET]
    if not local:
        return [_REMOTE]
    found = list(_of_rules(contract, local))
    if len(local) < len(versions):
        found.insert(
            0,
            "contract: it is not checked for versions that a remote server answers for, of which "
            f"this model has {len(versions) - len(local)}",
        )
    more = len(found) - MAX_WARNINGS
    return found if more <= 0 else [*found[:MAX_WARNINGS], f"contract: and {more} more like these"]


def _of_rules(contract: ContractDoc, versions: Sequence[Manifest]) -> Iterator[str]:
    text: dict[str, bool] = {}
    for manifest in versions:
        for name, is_text in _places(manifest):
            text[name] = text.get(name, True) and is_text
    for rule in contract.rules:
        if rule.column not in text:
            close = get_close_matches(rule.column[:_SHOWN], text, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            yield (
                f"contract: no version has a column or an input {rule.column[:_SHOWN]!r}, so that "
                f"its rule is not checked{meant}"
            )
        elif text[rule.column] and _is_bounded(rule):
            yield (
                f"contract: column {rule.column[:_SHOWN]!r} is text, which has no minimum or "
                "maximum, so that its rule is not checked"
            )


def _places(manifest: Manifest) -> Iterator[tuple[str, bool]]:
    """What rules can name, and whether it is text; a column before the input of its name."""
    datatypes = {tensor.name: tensor.datatype for tensor in manifest.inputs}
    named = {one.name: datatypes.get(one.input) for one in manifest.columns}
    for name, datatype in (datatypes | named).items():
        yield name, datatype == "BYTES"


def _is_bounded(rule: ColumnRule) -> bool:
    return rule.minimum is not None or rule.maximum is not None
