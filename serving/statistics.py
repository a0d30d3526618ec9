"""What an engine tells of itself: its statistics, and where the time of a traced request went."""

import msgspec

from protocol.frames import ContractStats, EngineStats, EngineTrace, ExplainStats
from serving.account import Account
from serving.batcher import Batcher
from serving.call import Call, Results
from serving.sentinel import Sentinel


def statistics(
    account: Account,
    batcher: Batcher,
    sentinel: Sentinel | None,
    *,
    turned_away: int,
    last_inference_ms: int,
    threads: tuple[int, str],
    contract: ContractStats | None,
    explanations: ExplainStats,
) -> bytes:
    """Counts since the start, as JSON of :class:`EngineStats`. ``threads``: of one run, and why."""
    batching, reason = batcher.batching
    return msgspec.json.encode(
        EngineStats(
            inference_count=batcher.rows,
            execution_count=batcher.runs,
            success_count=account.succeeded,
            success_ns=account.success_ns,
            fail_count=account.failed,
            fail_ns=account.fail_ns,
            failures={reason.name: count for reason, count in account.failures.items()},
            turned_away_count=turned_away,
            queue_ns=account.queue_ns,
            compute_input_ns=account.input_ns,
            compute_infer_ns=account.infer_ns,
            compute_output_ns=account.output_ns,
            run_ns=batcher.run_ns,
            batching=batching,
            batching_reason=reason,
            batching_cause=batcher.cause,
            batching_switches=batcher.cost.switches,
            run_fixed_ns=int(batcher.cost.fixed_s * 1e9),
            run_row_ns=int(batcher.cost.row_s * 1e9),
            sentinel_rows=0 if sentinel is None else sentinel.rows,
            sentinel_differences=0 if sentinel is None else sentinel.differences,
            sentinel_ns=0 if sentinel is None else sentinel.spent_ns,
            threads=threads[0],
            threads_reason=threads[1],
            queued=len(batcher),
            contract=contract,
            last_inference_ms=last_inference_ms,
            batches=batcher.batches.sizes,
            explanations=explanations,
        )
    )


def told(call: Call, results: Results, encoding_ns: int, now_ns: int) -> EngineTrace:
    """Where a call's time went, until its body was encoded."""
    return EngineTrace(
        decode_us=call.decode_ns // 1000,
        queue_us=(call.taken_ns - call.arrived_ns - call.decode_ns) // 1000,
        run_us=results.run_ns // 1000,
        encode_us=(now_ns - encoding_ns) // 1000,
        total_us=(now_ns - call.arrived_ns) // 1000,
        batch_rows=results.rows,
        batch_requests=results.requests,
    )
