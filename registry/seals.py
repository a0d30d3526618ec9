"""Control's seals of versions, and versions of databases from before there were any."""

import msgspec

from protocol.manifest import canonical_json, sha256_digest
from protocol.seals import Grounds, Seal, seal_statement
from registry.clock import Clock
from registry.store import audit
from registry.store import models as model_store
from registry.store import versions as store
from registry.store.database import Database, Transaction
from registry.store.sealing import changed_past_this_server
from registry.store.versions import VersionRecord
from runtime.logs import logger
from runtime.signatures import PublicKeys, SigningKey, new_signing_key


class Sealer:
    """Seals with one key; believes its own seals and those of earlier keys."""

    def __init__(self, key: SigningKey, believed: PublicKeys) -> None:
        self._key = key
        self._believed = believed

    @classmethod
    def for_itself(cls) -> "Sealer":
        """One whose key nobody else ever has: for a registry that no gateway follows."""
        key = SigningKey(new_signing_key().encode(), "a key made just now")
        return cls(key, PublicKeys([key.public_pem]))

    @property
    def public_pem(self) -> str:
        """The key that seals are verified with."""
        return self._key.public_pem

    def seal(
        self, model: str, number: int, digest: str, state: str, grounds: Grounds, encoded: str
    ) -> Seal:
        """A seal of these."""
        statement = seal_statement(model, number, digest, state, grounds, encoded)
        return Seal(
            grounds=grounds,
            encoded=encoded,
            signer=self._key.id,
            signature=self._key.sign(statement),
        )

    def check(self, model: str, number: int, digest: str, state: str, seal: Seal | None) -> None:
        """Raise ``CONFLICT`` unless ``seal`` is a genuine one of these."""
        doubt = "has no seal" if seal is None else self.doubt(model, number, digest, state, seal)
        if doubt is not None:
            raise changed_past_this_server(model, number, doubt)

    def doubt(self, model: str, number: int, digest: str, state: str, seal: Seal) -> str | None:
        """Why the seal is not to be believed; None when it is genuine."""
        statement = seal_statement(model, number, digest, state, seal.grounds, seal.encoded)
        return self._believed.doubt(seal.signer, seal.signature, statement)

    def sign(self, statement: bytes) -> tuple[str, str]:
        """The id of the key, and its signature of any other statement."""
        return self._key.id, self._key.sign(statement)

    def believes(self, signer: str, signature: str, statement: bytes) -> bool:
        """Whether a signature of :meth:`sign` is genuine."""
        return self._believed.doubt(signer, signature, statement) is None

    def is_own(self, seal: Seal) -> bool:
        """Whether it was made with the present key."""
        return seal.signer == self._key.id


class Resealed(msgspec.Struct, frozen=True):
    """What :func:`seal_all` did."""

    sealed: int
    doubted: int
    """Versions whose record is not what this server wrote; no gateway routes to them."""


def seal_all(database: Database, sealer: Sealer, clock: Clock, *, first: bool) -> Resealed:
    """Seal versions from before there were seals, and those sealed with an earlier key.

    ``first``: this server never had a key to seal with. Only then, and only while no version of
    the database has a seal, may one be without: it is believed where the audit log's newest entry
    about it says the same; one that the log has no entry of is older than the log. All these are
    sealed in one transaction. Later nothing gets a first seal here, or whoever writes a row, and an
    entry of the log beside it, would be given one.
    """
    sealed = doubted = 0
    if first:
        with database.read() as connection:
            every = [(record.model, record.number) for record in store.all_of(connection)]
        with database.write() as connection:
            for model in sorted({model for model, _ in every}):
                model_store.lock(connection, model)
            if not store.has_seals(connection):
                with audit.gathered(connection):
                    return _seal(connection, every, sealer, clock(), without_seal=True)
    with database.read() as connection:
        wanting = [
            (record.model, record.number)
            for record in store.all_of(connection)
            if record.seal is None or not sealer.is_own(record.seal)
        ]
    for one in wanting:
        with database.write() as connection:
            model_store.lock(connection, one[0])
            done = _seal(connection, [one], sealer, clock(), without_seal=False)
        sealed, doubted = sealed + done.sealed, doubted + done.doubted
    return Resealed(sealed, doubted)


def _seal(
    connection: Transaction,
    wanting: list[tuple[str, int]],
    sealer: Sealer,
    now: int,
    *,
    without_seal: bool,
) -> Resealed:
    """Seal those of these that are to be believed; ``without_seal``: also one that has none. The
    caller holds their models' locks."""
    sealed = doubted = 0
    found = [store.get(connection, model, number, lock=True) for model, number in sorted(wanting)]
    for record in found:
        if record is None or (record.seal is not None and sealer.is_own(record.seal)):
            continue  # another process was faster
        doubt = _doubt(connection, record, sealer, without_seal=without_seal)
        if doubt is not None:
            doubted += 1
            log = logger("registry")
            log.error(
                "a version is not sealed", model=record.model, version=record.number, problem=doubt
            )
            continue
        grounds = Grounds() if record.seal is None else record.seal.grounds
        changed = store.set_seal(connection, record, grounds)
        audit.record(
            connection,
            "version.sealed",
            "version",
            f"{record.model}/{record.number}",
            at_ms=now,
            after=store.standing(changed),
        )
        sealed += 1
    return Resealed(sealed, doubted)


def _doubt(
    connection: Transaction, record: VersionRecord, sealer: Sealer, *, without_seal: bool
) -> str | None:
    """Why the record is not to be sealed; None when it is what this server wrote."""
    if sha256_digest(canonical_json(record.manifest)) != record.digest:
        return "has a manifest of another digest"
    model, number, digest = record.model, record.number, record.digest
    if record.seal is None:
        if not without_seal:
            return "has no seal, and this server seals whatever it writes"
    elif (doubt := sealer.doubt(model, number, digest, record.state, record.seal)) is not None:
        return doubt
    return store.contradiction(connection, record)
