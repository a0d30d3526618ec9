"""How many rows a request may have: the plan's limit, which the engine keeps.

The gateway parses no tensors. The limit travels with the request, and the engine, which counts the
rows anyway, refuses before the request enters a batch.
"""

from policies.base import Call
from protocol.frames import MAX_U32


def row_limit(call: Call) -> int:
    """Rows that the call's plan allows in one request, as an INFER carries it; 0: no limit."""
    plan = call.plan
    if plan is None or plan.max_rows is None:
        return 0
    if 0 < plan.max_rows <= MAX_U32:
        return plan.max_rows
    return max(1, min(plan.max_rows, MAX_U32))  # a plan of no rows must not become one of any
