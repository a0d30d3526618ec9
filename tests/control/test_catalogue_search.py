"""Search, filters, order and pages of the catalogue, and what changes between versions."""

from hypothesis import given
from hypothesis import strategies as st

from control.catalogue import Latency
from control.catalogue_detail import changes
from control.catalogue_search import Facts, Listing, Sort, Wish, select
from protocol.manifest import Column, Manifest, Task, Tensor


def listing(
    name: str, *, task: Task = "regression", owner: str | None = None, updated_at: int = 0
) -> Listing:
    facts = Facts(task=task, predicts=("y",), columns=1, explains=False, words="y\nage")
    return Listing(
        name=name,
        title="",
        description="",
        owner=owner,
        updated_at=updated_at,
        version=1,
        versions=1,
        state="published",
        sunset=None,
        evaluated=False,
        facts=facts,
    )


def latency(p99: float, requests: int = 1) -> Latency:
    return Latency(requests=requests, errors=0, p50_ms=p99 / 2, p99_ms=p99)


MODELS = [
    listing("a", task="classification", owner="Data", updated_at=3),
    listing("b", owner="Data", updated_at=1),
    listing("c", owner="Shop", updated_at=2),
]
LATENCIES = {"b": latency(5, 10), "c": latency(50, 99)}


def names(wish: Wish) -> list[str]:
    found = select(MODELS, wish, LATENCIES, lambda name, _: "ready" if name == "a" else "none")
    return [one.name for one in found.listings]


def test_each_filter_leaves_what_fits() -> None:
    assert names(Wish(search="AGE data")) == ["a", "b"]
    assert names(Wish(task="classification")) == ["a"]
    assert names(Wish(owner="Shop")) == ["c"]
    assert names(Wish(serving="ready")) == ["a"]
    assert names(Wish(p99_ms=20)) == ["b"]
    assert names(Wish(evaluated=True)) == []


def test_the_best_come_first_and_what_is_not_known_last() -> None:
    assert names(Wish(sort="newest")) == ["a", "c", "b"]
    assert names(Wish(sort="calls")) == ["c", "b", "a"]
    assert names(Wish(sort="latency")) == ["b", "c", "a"]


def test_a_choice_is_counted_among_what_the_other_filters_leave() -> None:
    found = select(MODELS, Wish(task="classification", owner="Data"), {}, lambda *_: "none")
    assert {one.value: one.models for one in found.choices.task} == {
        "classification": 1,
        "regression": 1,
    }
    assert {one.value: one.models for one in found.choices.owner} == {"Data": 1}


@given(
    st.sets(st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True), max_size=30),
    st.sampled_from(["name", "newest", "calls", "latency"]),
    st.integers(1, 7),
)
def test_pages_hold_every_model_once(found: set[str], sort: Sort, limit: int) -> None:
    models = [listing(name, updated_at=len(name)) for name in sorted(found)]
    known = {name: latency(len(name)) for name in found if len(name) % 2}
    selected = select(models, Wish(sort=sort), known, lambda *_: "none")
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page, after = selected.page(after, limit, sort)
        seen += [one.name for one in page]
    assert seen == [one.name for one in selected.listings]
    assert set(seen) == found


@given(st.text(max_size=30), st.sampled_from(["name", "newest"]))
def test_any_text_for_the_page_is_a_place_in_the_list(after: str, sort: Sort) -> None:
    found = select(MODELS, Wish(sort=sort), {}, lambda *_: "none")
    page, _ = found.page(after, 2, sort)
    assert len(page) <= 2


def manifest(*columns: Column, labels: tuple[str, ...] = ()) -> Manifest:
    tensor = Tensor(name="x", datatype="FP32", shape=(-1, 1))
    return Manifest(model="m", inputs=(tensor,), outputs=(tensor,), columns=columns, labels=labels)


def test_changes_are_those_that_callers_notice() -> None:
    age = Column(name="age", type="float", input="x")
    before = manifest(age, labels=("no", "yes"))
    after = manifest(
        Column(name="age", type="integer", input="x"),
        Column(name="city", type="string", input="x"),
        Column(name="street", type="string", input="x"),
        labels=("no", "perhaps"),
    )
    assert changes(before, before) == []
    assert changes(before, after) == [
        "takes new columns 'city', 'street'",
        "column 'age' is an integer, and was a float",
        "knows new class 'perhaps'",
        "no longer gives class 'yes'",
    ]
