"""Text pipelines answer alike in every script, on machines without locales."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tests.sdk.conversion.data import texts
from tollway.conversion import ConversionError, convert, decode_predictions, encode_inputs
from tollway.conversion.runtime import Session

ENGLISH = ["good film", "bad film", "very good story", "very bad story", "fine", "awful"]
VERDICTS = [1, 0, 1, 0, 1, 0]


def locales(onnx_bytes: bytes) -> set[str]:
    graph = onnx.load_from_string(onnx_bytes).graph
    return {
        onnx.helper.get_attribute_value(attribute).decode()
        for node in graph.node
        if node.op_type == "StringNormalizer"
        for attribute in node.attribute
        if attribute.name == "locale"
    }


def predicted(converted: Any, X: object) -> list[object]:
    outputs = Session(converted.onnx_bytes).run(
        encode_inputs(converted.inputs, converted.columns, X)
    )
    return list(decode_predictions(outputs, converted.task, converted.labels).tolist())


def test_plain_english_needs_only_the_locale_that_every_machine_has() -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(ENGLISH, VERDICTS)
    converted = convert(model, ENGLISH)
    assert locales(converted.onnx_bytes) == {"C"}
    assert converted.conversion["locale"] == "C"
    assert predicted(converted, ENGLISH) == model.predict(ENGLISH).tolist()


def test_words_of_other_scripts_and_capitals_count_as_in_the_original() -> None:
    X, y = texts()
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(X, y)
    converted = convert(model, X)
    shouted = ["ŚWIETNY FILM", "СКУЧНЫЙ ФИЛЬМ", "прекрасный", "東京", ""]
    outputs = Session(converted.onnx_bytes).run(
        encode_inputs(converted.inputs, converted.columns, shouted)
    )
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(shouted), atol=1e-5)


@pytest.mark.parametrize(
    "vectorizer",
    [
        TfidfVectorizer(sublinear_tf=True),
        TfidfVectorizer(norm="l1", use_idf=False),
        TfidfVectorizer(stop_words=["very", "good"]),
        TfidfVectorizer(token_pattern=r"[a-z]+"),
        CountVectorizer(binary=True),
        CountVectorizer(ngram_range=(1, 2)),
        CountVectorizer(lowercase=False),
    ],
    ids=str,
)
def test_options_of_the_vectorizers_keep_their_meaning(vectorizer: Any) -> None:
    X = [*ENGLISH, "very very very good", "good good bad"]
    model = make_pipeline(vectorizer, LogisticRegression()).fit(X, [*VERDICTS, 1, 1])
    assert predicted(convert(model, X), X) == model.predict(X).tolist()


def test_a_document_that_is_one_stop_word_keeps_its_row() -> None:
    X = ["the", "good film", "the bad film", "bad"]
    model = make_pipeline(TfidfVectorizer(stop_words="english"), LogisticRegression())
    converted = convert(model.fit(X, [1, 1, 0, 0]), X)
    assert (
        predicted(converted, ["the", "and", "bad"]) == model.predict(["the", "and", "bad"]).tolist()
    )


def test_a_text_column_sits_beside_numbers() -> None:
    import pandas as pd

    X = pd.DataFrame({"review": ENGLISH, "stars": [5.0, 1.0, 4.0, 2.0, 4.0, 1.0]})
    prep = ColumnTransformer([("text", TfidfVectorizer(), "review")], remainder="passthrough")
    model = make_pipeline(prep, LogisticRegression()).fit(X, VERDICTS)
    converted = convert(model, X)
    assert [spec["name"] for spec in converted.inputs] == ["review", "stars"]
    assert predicted(converted, X) == VERDICTS


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"strip_accents": "unicode"}, "strip_accents='unicode'"),
        ({"analyzer": "char_wb"}, "analyzer='char_wb'"),
        ({"preprocessor": str.lower}, "a custom preprocessor"),
        ({"stop_words": ["very"], "ngram_range": (1, 2)}, "stop words with n-grams"),
    ],
)
def test_what_onnx_cannot_say_about_text_is_refused_by_name(
    options: dict[str, Any], reason: str
) -> None:
    model = make_pipeline(TfidfVectorizer(**options), LogisticRegression()).fit(ENGLISH, VERDICTS)
    with pytest.raises(ConversionError, match="pipeline step 'tfidfvectorizer'") as refused:
        convert(model, ENGLISH)
    assert reason in str(refused.value)
    assert "Ways out:" in str(refused.value)


SCRIPT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pandas", "polars"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tollway.conversion import convert
X = ["good film", "bad film", "\\u015awietny film", "s\\u0142aby film"]
converted = convert(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(X, [1, 0, 1, 0]), X)
print(converted.parity.label_mismatches)
"""


def test_conversion_works_without_any_locale_or_pandas_or_polars() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**environment, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "0"
