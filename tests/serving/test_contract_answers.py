"""What a caller is answered by a version with a contract."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from protocol.configuration import ColumnRule, ContractDoc
from protocol.frames import FAILED, NO_HEADER, WARNED, EngineStats, Frame, Operation
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.contracts import COLUMNS
from tests.serving.rig import Rig, infer_frame, one_input
from tests.serving.test_engine import connected, settle
from tests.serving.test_v2_binary import binary_request

RULES = (
    ColumnRule(column="age", minimum=0, maximum=120, nulls=False),
    ColumnRule(column="city", categories=("Kyiv", "Lyon"), nulls=False),
    ColumnRule(column="visits", minimum=0),
    ColumnRule(column="member", categories=("true",)),
)
ENFORCED = ContractDoc(mode="enforce", rules=RULES)
WARNING = ContractDoc(mode="warn", rules=RULES)
GOOD = {"age": 20.0, "city": "Lyon", "visits": 3, "member": True}
BAD = [
    ({"age": 151.0}, "row 1, column 'age': 151 is above the maximum 120"),
    ({"age": -0.5}, "row 1, column 'age': -0.5 is below the minimum 0"),
    ({"age": None}, "row 1, column 'age': it is missing"),
    ({"city": "Rome"}, "row 1, column 'city': 'Rome' is none of 'Kyiv', 'Lyon'"),
    ({"city": None}, "row 1, column 'city': it is missing"),
    ({"visits": -1}, "row 1, column 'visits': -1 is below the minimum 0"),
    ({"member": False}, "row 1, column 'member': false is none of 'true'"),
]


async def answered(made: Rig, document: ContractDoc, frame: Frame) -> tuple[Frame, EngineStats]:
    """The reply of an engine under a contract, and its counts."""
    engine = made.engine()
    engine.contracts.obey(document)
    connection, _, replies = connected(engine)
    engine.infer(connection, frame)
    await settle()
    [reply] = replies()
    assert not made.defects
    return reply, msgspec.json.decode(engine.stats(), type=EngineStats)


def v1(*rows: dict[str, Any]) -> Frame:
    body = json.dumps({"instances": rows}).encode()
    return infer_frame(1, body, flags=int(Operation.V1_PREDICT))


@pytest.mark.parametrize(("change", "words"), BAD)
async def test_a_row_outside_of_an_enforced_contract_is_422_and_says_what_and_where(
    rig: MakeRig, change: dict[str, Any], words: str
) -> None:
    made = rig(models.columns(), columns=COLUMNS)

    reply, stats = await answered(made, ENFORCED, v1(GOOD, GOOD | change))

    assert (reply.status, reply.flags) == (422, FAILED)
    assert json.loads(reply.body) == {"error": words}
    assert stats.contract is not None
    assert (stats.contract.mode, stats.contract.refused, stats.fail_count) == ("enforce", 1, 1)
    assert stats.execution_count == 0, "nothing of it is run"


async def test_rows_within_a_contract_are_answered_as_ever(rig: MakeRig) -> None:
    made = rig(models.columns(), columns=COLUMNS)

    reply, stats = await answered(made, ENFORCED, v1(GOOD, GOOD))

    assert (reply.status, reply.flags) == (200, 0)
    assert stats.contract is not None
    assert (stats.contract.refused, stats.contract.warned, stats.contract.rules) == (0, 0, 4)


async def test_a_warning_contract_answers_marks_the_answer_and_counts(rig: MakeRig) -> None:
    made = rig(models.columns(), columns=COLUMNS)

    reply, stats = await answered(
        made, WARNING, v1(GOOD | {"age": 130, "visits": -2}, GOOD | {"age": 140})
    )

    assert (reply.status, reply.flags) == (200, WARNED)
    assert len(json.loads(reply.body)["predictions"]) == 2
    assert stats.contract is not None
    assert (stats.contract.refused, stats.contract.warned) == (0, 1)
    assert stats.contract.values == {"age": {"maximum": 2}, "visits": {"minimum": 1}}


async def test_v2_in_json_and_in_binary_are_held_to_the_same_contract(rig: MakeRig) -> None:
    made = rig(models.identity())
    document = ContractDoc(mode="enforce", rules=(ColumnRule(column="x", maximum=9),))
    values = np.array([1, 2, 3, 4, 5, 60], "<f4").tobytes()
    body, header = binary_request(values, [2, 3])
    for frame in (
        infer_frame(1, json.dumps(one_input([1, 2, 3, 4, 5, 60], [2, 3])).encode()),
        infer_frame(1, body, b=header),
    ):
        reply, _ = await answered(made, document, frame)

        assert reply.status == 422
        assert json.loads(reply.body)["error"] == "row 1, input 'x': 60 is above the maximum 9"
        assert reply.d == NO_HEADER


async def test_a_refused_request_leaves_those_beside_it_alone(rig: MakeRig) -> None:
    made = rig(models.identity())
    engine = made.engine()
    engine.contracts.obey(ContractDoc(mode="enforce", rules=(ColumnRule(column="x", maximum=9),)))
    connection, _, replies = connected(engine)
    for id, value in enumerate((1, 99, 2)):
        engine.infer(
            connection, infer_frame(id, json.dumps(one_input([1, 2, value], [1, 3])).encode())
        )
    await settle()

    assert {reply.id: reply.status for reply in replies()} == {0: 200, 1: 422, 2: 200}


async def test_counts_outlive_the_contract_and_none_is_told_where_there_never_was_one(
    rig: MakeRig,
) -> None:
    made = rig(models.identity())
    engine = made.engine()
    assert msgspec.json.decode(engine.stats(), type=EngineStats).contract is None
    engine.contracts.obey(ContractDoc(mode="enforce", rules=(ColumnRule(column="x", maximum=1),)))
    connection, _, replies = connected(engine)
    body = json.dumps(one_input([1, 2, 3], [1, 3])).encode()
    engine.infer(connection, infer_frame(1, body))
    engine.contracts.obey(None)
    engine.infer(connection, infer_frame(2, body))
    await settle()

    assert {reply.id: reply.status for reply in replies()} == {1: 422, 2: 200}
    stats = msgspec.json.decode(engine.stats(), type=EngineStats).contract
    assert stats is not None
    assert (stats.mode, stats.refused, stats.values) == ("none", 1, {"x": {"maximum": 2}})
