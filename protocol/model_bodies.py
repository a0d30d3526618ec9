"""JSON Schemas of the bodies of a version's requests and answers, by name. Pure."""

from protocol.configuration import ContractDoc
from protocol.manifest import Manifest
from protocol.model_schema import Json, enforced, list_schema, prediction_schema, row_schema


def v1_schemas(manifest: Manifest, contract: ContractDoc | None) -> Json:
    """Of V1's ``:predict``: a row, a prediction, the request and its answer."""
    rules = enforced(contract)
    listed = list_schema(manifest, rules)
    forms: list[Json] = [{"$ref": "#/components/schemas/Row"}]
    found: Json = {"Row": row_schema(manifest, rules), "Prediction": prediction_schema(manifest)}
    if listed is not None:
        found["RowList"] = listed | {"description": "The row as a list, in this order."}
        forms.append({"$ref": "#/components/schemas/RowList"})
    found["PredictRequest"] = {
        "oneOf": [
            {
                "type": "object",
                "title": "by row",
                "properties": {
                    "instances": {"type": "array", "minItems": 1, "items": {"anyOf": forms}}
                },
                "required": ["instances"],
            },
            {
                "type": "object",
                "title": "by column",
                "properties": {
                    "inputs": {"description": "Values by column or input, a list each."}
                },
                "required": ["inputs"],
            },
        ]
    }
    found["PredictResponse"] = {
        "type": "object",
        "properties": {
            "predictions": {
                "type": "array",
                "description": "One for each instance.",
                "items": {"$ref": "#/components/schemas/Prediction"},
            },
            "outputs": {"description": "Of a request by column: whole tensors."},
        },
    }
    return found


def v2_schemas(manifest: Manifest) -> Json:
    """Of V2's ``/infer``."""

    def tensor(names: list[str], datatypes: list[str], *, data: bool) -> Json:
        properties: Json = {
            "name": {"type": "string", "enum": names},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string", "enum": sorted(set(datatypes))},
            "parameters": {"type": "object"},
            "data": {"type": "array", "description": "Row-major, nested or flat."},
        }
        required = ["name", "shape", "datatype", *(["data"] if data else [])]
        return {"type": "object", "properties": properties, "required": required}

    inputs = tensor(
        [t.name for t in manifest.inputs], [t.datatype for t in manifest.inputs], data=False
    )
    outputs = tensor(
        [t.name for t in manifest.outputs], [t.datatype for t in manifest.outputs], data=False
    )
    named: Json = {"type": "object", "properties": {"name": {"type": "string"}}}
    return {
        "InferInput": inputs,
        "InferOutput": outputs,
        "InferRequest": {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "parameters": {"type": "object"},
                "inputs": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"$ref": "#/components/schemas/InferInput"},
                },
                "outputs": {"type": "array", "items": named},
            },
            "required": ["inputs"],
        },
        "InferResponse": {
            "type": "object",
            "properties": {
                "model_name": {"type": "string", "const": manifest.model},
                "model_version": {"type": "string"},
                "id": {"type": "string"},
                "parameters": {"type": "object"},
                "outputs": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/InferOutput"},
                },
            },
            "required": ["model_name", "outputs"],
        },
    }
