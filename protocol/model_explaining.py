"""What an explanation is asked for and answers, as schemas of a version's OpenAPI document."""

from protocol.model_schema import Json


def explain_schemas() -> Json:
    """What ``serving.explain_request`` takes and gives."""
    number: Json = {"type": "number"}
    by_class: Json = {"type": "object", "additionalProperties": number}
    value: Json = {"anyOf": [number, by_class]}
    label: Json = {"type": ["string", "number", "boolean"]}
    row: Json = {
        "type": "object",
        "properties": {
            "prediction": value,
            "base_value": value,
            "contributions": {
                "description": "By column; of several classes, by class and column.",
                "type": "object",
                "additionalProperties": value,
            },
            "additivity_error": number,
        },
        "required": ["prediction", "base_value", "contributions", "additivity_error"],
    }
    parameters: Json = {
        "type": "object",
        "properties": {
            "classes": {
                "anyOf": [
                    {"enum": ["all", "predicted"]},
                    {"type": "array", "items": label, "minItems": 1},
                ]
            },
            "output": {"type": "string"},
            "method": {"enum": ["auto", "permutation"]},
            "permutations": {"type": "integer", "minimum": 1, "maximum": 1000},
            "seed": {"type": "integer", "minimum": 0},
        },
        "additionalProperties": False,
    }
    return {
        "ExplainRequest": {
            "allOf": [
                {"$ref": "#/components/schemas/PredictRequest"},
                {"type": "object", "properties": {"parameters": parameters}},
            ]
        },
        "ExplainResponse": {
            "type": "object",
            "properties": {
                "explanations": {"type": "array", "items": row},
                "output": {"type": "string"},
                "space": {"enum": ["output", "probability", "log_odds", "log_ratio"]},
                "method": {"enum": ["additive", "enumeration", "permutation"]},
                "background_rows": {"type": "integer"},
                "evaluations": {"type": "integer"},
                "permutations": {"type": "integer"},
                "seed": {"type": "integer"},
                "classes": {"type": "array", "items": label},
            },
            "required": ["explanations", "output", "space", "method", "evaluations"],
        },
    }
