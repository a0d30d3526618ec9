"""Model metadata in the forms of the prediction protocols. Pure functions of the catalog."""

import msgspec

from gateway.catalog import ModelEntry
from gateway.counts import contracts
from protocol.configuration import VersionDoc
from protocol.frames import BatchStats, EngineStats
from protocol.manifest import Manifest, Tensor

Json = dict[str, object]

SERVER_NAME = "tollway"
EXTENSIONS = ("binary_tensor_data", "model_repository", "statistics", "model_configuration")


def server(version: str) -> Json:
    """``GET /v2``."""
    return {"name": SERVER_NAME, "version": version, "extensions": list(EXTENSIONS)}


def v2_model(entry: ModelEntry, version: VersionDoc) -> Json:
    """``GET /v2/models/M``."""
    manifest = version.manifest
    properties = {"task": manifest.task, "state": version.state, "digest": version.digest}
    numbers = [v.number for v in entry.published()] or [version.number]
    return {
        "name": entry.name,
        "versions": [str(number) for number in numbers],
        "platform": manifest.platform,
        "inputs": [_tensor(t) for t in manifest.inputs],
        "outputs": [_tensor(t) for t in manifest.outputs],
        "properties": properties,
    }


def v2_config(version: VersionDoc) -> Json:
    """``GET /v2/models/M/config``, in the fields that Triton's clients read."""
    manifest = version.manifest
    artifact = manifest.artifact
    return {
        "name": version.model,
        "platform": manifest.platform,
        "backend": "remote" if artifact is None else "onnxruntime",
        "version_policy": {"specific": {"versions": [version.number]}},
        "max_batch_size": 0,
        "input": [_config_tensor(t) for t in manifest.inputs],
        "output": [_config_tensor(t) for t in manifest.outputs],
        "default_model_filename": "" if artifact is None else artifact.path or "model.onnx",
    }


def v1_status(entry: ModelEntry, version: VersionDoc, ready: bool) -> Json:
    """``GET /v1/models/M``: KServe's fields and TensorFlow Serving's."""
    return {
        "name": entry.name,
        "ready": ready,
        "model_version_status": [
            {
                "version": str(version.number),
                "state": "AVAILABLE" if ready else "LOADING",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ],
    }


def v1_metadata(entry: ModelEntry, version: VersionDoc) -> Json:
    """``GET /v1/models/M/metadata``: TensorFlow Serving's form, and the columns of the rows."""
    manifest = version.manifest
    signature = {
        "inputs": {t.name: _signature_tensor(t) for t in manifest.inputs},
        "outputs": {t.name: _signature_tensor(t) for t in manifest.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    columns: list[Json] = [
        {
            "name": column.name,
            "type": column.type,
            "input": column.input,
            "index": column.index,
            "null": column.null,
            "minimum": column.minimum,
            "maximum": column.maximum,
            "categories": column.categories,
        }
        for column in manifest.columns
    ]
    return {
        "model_spec": {
            "name": entry.name,
            "signature_name": "",
            "version": str(version.number),
        },
        "metadata": {
            "signature_def": {"signature_def": {"serving_default": signature}},
            "columns": columns,
            "labels": _labels(manifest),
        },
    }


def index_item(entry: ModelEntry, version: VersionDoc, ready: bool) -> Json:
    """One line of ``POST /v2/repository/index``."""
    return {
        "name": entry.name,
        "version": str(version.number),
        "state": "READY" if ready else "UNAVAILABLE",
        "reason": "" if ready else "it cannot answer now",
    }


def v2_stats(version: VersionDoc, present: list[EngineStats], gone: list[EngineStats]) -> Json:
    """One item of ``model_stats``, in Triton's terms: counts are totals over the engines, those
    that are gone too. Durations of a request are whole ones, also of a run that it shared; those of
    a batch size count a run once."""
    engines = present + gone

    def total(field: str) -> int:
        return sum(getattr(engine, field) for engine in engines)

    success = total("success_count")
    sizes = sorted({rows for engine in engines for rows in engine.batches})
    return {
        "name": version.model,
        "version": str(version.number),
        "last_inference": max((e.last_inference_ms for e in engines), default=0),
        "inference_count": total("inference_count"),
        "execution_count": total("execution_count"),
        "inference_stats": {
            "success": _duration(success, total("success_ns")),
            "fail": _duration(total("fail_count"), total("fail_ns")),
            "queue": _duration(success, total("queue_ns")),
            "compute_input": _duration(success, total("compute_input_ns")),
            "compute_infer": _duration(success, total("compute_infer_ns")),
            "compute_output": _duration(success, total("compute_output_ns")),
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "batch_stats": [
            _batch(rows, [e.batches[rows] for e in engines if rows in e.batches]) for rows in sizes
        ],
        "contract": msgspec.to_builtins(contracts(engines)),
        "engines": [
            {
                "batching": e.batching,
                "batching_reason": e.batching_reason,
                "run_cost": {"fixed_us": e.run_fixed_ns / 1000, "row_us": e.run_row_ns / 1000},
                "sentinel": {"rows": e.sentinel_rows, "differences": e.sentinel_differences},
                "turned_away": e.turned_away_count,
                "queued": e.queued,
                "threads": e.threads,
                "threads_reason": e.threads_reason,
            }
            for e in present
        ],
    }


def _duration(count: int, ns: int) -> Json:
    return {"count": count, "ns": ns}


def _batch(rows: int, runs: list[BatchStats]) -> Json:
    count = sum(run.count for run in runs)
    return {
        "batch_size": rows,
        "compute_input": _duration(count, sum(run.input_ns for run in runs)),
        "compute_infer": _duration(count, sum(run.infer_ns for run in runs)),
        "compute_output": _duration(count, sum(run.output_ns for run in runs)),
    }


def _labels(manifest: Manifest) -> list[str | int | float | bool]:
    """A classifier's classes. Canonical JSON writes 1.0 as 1; the manifest notes what they were."""
    if manifest.conversion.get("labels") == "float":
        return [float(label) for label in manifest.labels]
    return list(manifest.labels)


def _tensor(tensor: Tensor) -> Json:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _config_tensor(tensor: Tensor) -> Json:
    datatype = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    return {
        "name": tensor.name,
        "data_type": f"TYPE_{datatype}",
        "dims": list(tensor.shape),
        "optional": tensor.optional,
    }


_V1_TYPES = {
    "BOOL": "DT_BOOL", "BYTES": "DT_STRING", "FP16": "DT_HALF", "BF16": "DT_BFLOAT16",
    "FP32": "DT_FLOAT", "FP64": "DT_DOUBLE",
}  # fmt: skip


def _signature_tensor(tensor: Tensor) -> Json:
    return {
        "name": tensor.name,
        "dtype": _V1_TYPES.get(tensor.datatype, f"DT_{tensor.datatype}"),
        "tensor_shape": {"dim": [{"size": str(d), "name": ""} for d in tensor.shape]},
    }
