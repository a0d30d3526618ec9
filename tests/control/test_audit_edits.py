"""Any single edit of any log is found: logs and edits are drawn at random."""

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from registry.chain import FIELDS
from registry.checkpoint import PublicKeys, Signer
from registry.verification import Report, StoredCheckpoint, StoredEntry, Verifier, merged
from runtime.signatures import new_signing_key
from tests.control.running import START_MS

texts = st.text(st.characters(codec="utf-8"), max_size=8)
entries = st.lists(st.tuples(texts, texts, st.none() | texts), min_size=1, max_size=12)


def chain(wishes: list[tuple[str, str, str | None]]) -> list[StoredEntry]:
    from registry.chain import GENESIS, Entry, entry_hash

    made = []
    previous = GENESIS
    for seq, (actor, reason, after) in enumerate(wishes, 1):
        entry = Entry(
            seq=seq,
            at_ms=START_MS + seq,
            actor=actor,
            role="admin",
            address="",
            request_id="",
            reason=reason,
            action="a.b",
            kind="a",
            key="k",
            before=None,
            after=after,
            previous=previous,
        )
        previous = entry_hash(entry)
        fields = {name: getattr(entry, name) for name in FIELDS}
        made.append(StoredEntry(fields, previous))
    return made


SIGNER = Signer(new_signing_key().encode())
KEYS = PublicKeys([SIGNER.public_pem])


def judged(items: list[StoredEntry], signed: StoredCheckpoint) -> Report:
    verifier = Verifier(KEYS)
    for item in merged(items, [signed]):
        verifier.take(item)
    return verifier.report()


@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(entries, st.data())
def test_any_single_edit_of_any_log_is_found(
    wishes: list[tuple[str, str, str | None]], data: st.DataObject
) -> None:
    from msgspec.structs import asdict

    items = chain(wishes)
    last = items[-1]
    checkpoint = SIGNER.sign(len(items), str(last.hash), START_MS, None)
    signed = StoredCheckpoint(asdict(checkpoint), "database")
    assert judged(items, signed).ok

    place = data.draw(st.integers(0, len(items) - 1))
    how = data.draw(st.sampled_from(["edit", "remove", "double", "swap", "cut"]))
    edited = list(items)
    if how == "edit":
        name = data.draw(st.sampled_from([*FIELDS, "hash"]))
        present = items[place].hash if name == "hash" else items[place].fields[name]
        value = data.draw((st.none() | st.integers() | texts).filter(lambda v: v != present))
        fields = dict(items[place].fields)
        if name != "hash":
            fields[name] = value
        edited[place] = StoredEntry(fields, value if name == "hash" else items[place].hash)
    elif how == "remove":
        del edited[place]
    elif how == "double":
        edited.insert(place, items[place])
    elif how == "swap":
        other = (
            data.draw(st.integers(0, len(items) - 1).filter(lambda n: n != place))
            if (len(items) > 1)
            else None
        )
        if other is None:
            return
        edited[place], edited[other] = (
            StoredEntry({**items[other].fields, "seq": place + 1}, items[other].hash),
            StoredEntry({**items[place].fields, "seq": other + 1}, items[place].hash),
        )
    else:
        edited = edited[:place]

    assert not judged(edited, signed).ok
