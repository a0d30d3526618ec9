"""The worker's metrics: every engine's own counts, asked for by STATS, in Prometheus' text form."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from protocol.configuration import EngineDoc
from protocol.failures import Failure
from protocol.frames import EngineStats, Kind, ProtocolError
from serving.asking import ask
from serving.fleet import Fleet
from serving.slots import Slot

ASK_S: Final = 2.0
NANOSECONDS: Final = 1e9

_METRICS: Final = (
    ("tollway_engine_rows_total", "counter", "Rows inferred.", "inference_count", 1.0),
    ("tollway_engine_runs_total", "counter", "Runs of the graph.", "execution_count", 1.0),
    ("tollway_engine_requests_total", "counter", "Requests answered.", "success_count", 1.0),
    (
        "tollway_engine_turned_away_total",
        "counter",
        "Requests whose deadline could not be kept.",
        "turned_away_count",
        1.0,
    ),
    (
        "tollway_engine_request_seconds_total",
        "counter",
        "Time from requests' arrival until their answers were written.",
        "success_ns",
        NANOSECONDS,
    ),
    (
        "tollway_engine_queue_seconds_total",
        "counter",
        "Time that requests waited.",
        "queue_ns",
        NANOSECONDS,
    ),
    (
        "tollway_engine_compute_input_seconds_total",
        "counter",
        "Time that decoding requests took.",
        "compute_input_ns",
        NANOSECONDS,
    ),
    (
        "tollway_engine_compute_infer_seconds_total",
        "counter",
        "Time of requests' runs; a shared run counts for each of them.",
        "compute_infer_ns",
        NANOSECONDS,
    ),
    (
        "tollway_engine_compute_output_seconds_total",
        "counter",
        "Time from the end of requests' runs until their answers were written.",
        "compute_output_ns",
        NANOSECONDS,
    ),
    (
        "tollway_engine_run_seconds_total",
        "counter",
        "Time that the graph ran.",
        "run_ns",
        NANOSECONDS,
    ),
    ("tollway_engine_queued_requests", "gauge", "Requests that wait now.", "queued", 1.0),
    ("tollway_engine_threads", "gauge", "Threads that a run has.", "threads", 1.0),
    ("tollway_engine_batching", "gauge", "1 while requests share runs.", "batching", 1.0),
    (
        "tollway_engine_batching_switches_total",
        "counter",
        "Times that measured costs turned batching on or off.",
        "batching_switches",
        1.0,
    ),
    (
        "tollway_engine_sentinel_rows_total",
        "counter",
        "Rows of shared runs that were run again alone.",
        "sentinel_rows",
        1.0,
    ),
    (
        "tollway_engine_sentinel_differences_total",
        "counter",
        "Comparisons in which the answers differed.",
        "sentinel_differences",
        1.0,
    ),
    (
        "tollway_engine_sentinel_seconds_total",
        "counter",
        "Time that these comparisons took.",
        "sentinel_ns",
        NANOSECONDS,
    ),
)

_EXPLAINED: Final = (
    ("answered", "tollway_engine_explanations_total", "Requests explained.", 1.0),
    ("failed", "tollway_engine_explanations_failed_total", "Requests not explained.", 1.0),
    ("rows", "tollway_engine_explained_rows_total", "Rows explained.", 1.0),
    (
        "answer_ns",
        "tollway_engine_explanation_seconds_total",
        "Time from requests' arrival until their explanations were written.",
        NANOSECONDS,
    ),
    ("rows_run", "tollway_engine_explanation_run_rows_total", "Rows run to explain others.", 1.0),
    (
        "run_ns",
        "tollway_engine_explanation_run_seconds_total",
        "Time that the graph ran to explain.",
        NANOSECONDS,
    ),
)

BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_SCALED: Final = (
    ("tollway_engines_added_total", "Engines started because requests queued."),
    ("tollway_engines_removed_total", "Engines stopped because fewer were enough."),
    ("tollway_engine_cold_starts_total", "Loads of a version that had been let go of."),
)


async def scrape(fleets: Iterable[Fleet], token: bytes) -> str:
    """The exposition. An engine that does not answer in time has only its state."""
    present = list(fleets)
    kept = [slot for fleet in present for slot in fleet.slots.values()]
    stats = await asyncio.gather(*(ask_slot(slot, token) for slot in kept))
    scaled = {
        (fleet.version.model, fleet.version.number): (fleet.ups, fleet.downs, fleet.wakes)
        for fleet in present
    }
    engines = [(slot.doc, found) for slot, found in zip(kept, stats, strict=True)]
    engines += [(doc, None) for fleet in present if not fleet.slots for doc in fleet.documents]
    return exposition(engines, scaled)


Engines = Sequence[tuple[EngineDoc, EngineStats | None]]
Scaled = Mapping[tuple[str, int], tuple[int, int, int]]
"""Model and version -> engines added and taken away, and cold starts."""


def exposition(engines: Engines, scaled: Scaled = MappingProxyType({})) -> str:
    """The text of what is known of each engine."""
    lines = [
        "# HELP tollway_engine_state Engines by state.",
        "# TYPE tollway_engine_state gauge",
    ]
    lines += [f"tollway_engine_state{_labels(doc, state=doc.state)} 1" for doc, _ in engines]
    for name, kind, text, field, unit in _METRICS:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [
            f"{name}{_labels(doc)} {getattr(found, field) / unit!r}"
            for doc, found in engines
            if found is not None
        ]
    lines += _failures(engines)
    lines += _batches(engines)
    for field, name, text, unit in _EXPLAINED:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
        lines += [
            f"{name}{_labels(doc)} {getattr(found.explanations, field) / unit!r}"
            for doc, found in engines
            if found is not None
        ]
    lines += _contracts(engines)
    name = "tollway_engine_batching_cause"
    lines += [f"# HELP {name} Why requests share runs or not.", f"# TYPE {name} gauge"]
    lines += [
        f"{name}{_labels(doc, cause=found.batching_cause)} 1"
        for doc, found in engines
        if found is not None
    ]
    versions = dict.fromkeys((doc.model, doc.version) for doc, _ in engines)
    for at, (name, text) in enumerate(_SCALED):
        lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
        for model, version in versions:
            count = scaled.get((model, version), (0, 0, 0))[at]
            lines.append(f'{name}{{model="{model}",version="{version}"}} {count}')
    return "\n".join(lines) + "\n"


def _failures(engines: Engines) -> list[str]:
    name = "tollway_engine_failures_total"
    lines = [f"# HELP {name} Requests that were not answered.", f"# TYPE {name} counter"]
    for doc, found in engines:
        if found is not None:
            lines += [
                f"{name}{_labels(doc, reason=reason.name)} {found.failures.get(reason.name, 0)}"
                for reason in Failure
            ]
    return lines


def _batches(engines: Engines) -> list[str]:
    """A histogram of the rows of runs. Sizes that the engine does not tell apart are in the last
    bucket alone."""
    name = "tollway_engine_batch_rows"
    lines = [f"# HELP {name} Rows of the runs.", f"# TYPE {name} histogram"]
    for doc, found in engines:
        if found is None:
            continue
        for bound in BATCH_BUCKETS:
            runs = sum(batch.count for rows, batch in found.batches.items() if rows <= bound)
            lines.append(f"{name}_bucket{_labels(doc, le=str(bound))} {runs}")
        lines.append(f"{name}_bucket{_labels(doc, le='+Inf')} {found.execution_count}")
        lines.append(f"{name}_sum{_labels(doc)} {found.inference_count}")
        lines.append(f"{name}_count{_labels(doc)} {found.execution_count}")
    return lines


def _contracts(engines: Engines) -> list[str]:
    """What was outside of data contracts. The contract bounds the columns, and the engine how many
    pairs of column and rule it tells apart."""
    told = [(doc, found.contract) for doc, found in engines if found is not None and found.contract]
    name = "tollway_engine_contract_requests_total"
    lines = [f"# HELP {name} Requests outside of the data contract.", f"# TYPE {name} counter"]
    for doc, contract in told:
        for outcome, count in (("refused", contract.refused), ("warned", contract.warned)):
            lines.append(f"{name}{_labels(doc, outcome=outcome)} {count}")
    name = "tollway_engine_contract_unmatched_rules"
    lines += [f"# HELP {name} Rules of it that cannot be checked.", f"# TYPE {name} gauge"]
    lines += [f"{name}{_labels(doc)} {len(contract.unmatched)}" for doc, contract in told]
    name = "tollway_engine_contract_values_total"
    lines += [f"# HELP {name} Values that broke a rule of it.", f"# TYPE {name} counter"]
    for doc, contract in told:
        for column, rules in contract.values.items():
            for rule, count in rules.items():
                lines.append(f"{name}{_labels(doc, column=_escaped(column), rule=rule)} {count}")
    return lines


def _escaped(text: str) -> str:
    """A label's value as the exposition format has it."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _labels(doc: EngineDoc, **more: str) -> str:
    # Names match [a-z0-9-]: of them there is nothing to escape.
    labels = {"model": doc.model, "version": str(doc.version), "slot": str(doc.slot), **more}
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


async def ask_slot(slot: Slot, token: bytes) -> EngineStats | None:
    """The counts of a slot's engine; None while it is not ready, or does not answer in time."""
    if slot.doc.state != "ready":
        return None
    try:
        return await asyncio.wait_for(ask_stats(slot.address, token), ASK_S)
    except (OSError, TimeoutError, msgspec.DecodeError, ProtocolError):
        return None


async def ask_stats(address: str, token: bytes) -> EngineStats:
    """One engine's counts, over a connection of their own."""
    _, body = await ask(address, token, Kind.STATS)
    return msgspec.json.decode(body, type=EngineStats)
