"""Which versions this gateway believes in: those whose seal verifies under control's public key.

States only go forward: a record that lies behind what this gateway has believed of the version is
an earlier one, whose seal is genuine, and which is not what the version is now.

A version that does not verify is as if it were not there: it is not in the catalogue, and calls to
it are answered as those to a version that does not exist. Nothing of it is taken from the change
stream, so that neither the stream nor the database behind it can make a version answer.

Where the key comes from: the file of ``TOLLWAY_SEAL_PUBLIC_KEY_FILE``; else it is asked of control
once, under the cluster token, and kept in the gateway's folder. From then on no other is believed:
who has the database later, or answers in control's place, cannot replace it.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self

import httpx
import rfc8785
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from gateway.reached import FILE, Reached
from protocol.configuration import CALLABLE_STATES, VersionDoc
from protocol.errors import TollwayError
from protocol.gateways import UnverifiedReport
from protocol.manifest import canonical_json, sha256_digest
from protocol.seals import encoded_digest, seal_statement
from runtime.files import write_atomically
from runtime.logs import logger
from runtime.signatures import PublicKeys
from runtime.start import StartError

KEPT: Final = "seal.public.pem"
ASK_TIMEOUT_S: Final = 1.0
ASK_EVERY_S: Final = 1.0
MAX_REPORTED: Final = 100
_MAX_PEM: Final = 4096


class Seals:
    """Judges versions' documents, once each."""

    def __init__(
        self,
        keys: PublicKeys | None,
        kept: Path,
        now: Callable[[], float] = time.time,
        reached: Reached | None = None,
    ) -> None:
        """``kept``: the file for a key that control gives, where there are no ``keys``. ``now``
        gives UNIX seconds. ``reached``: None begins without, and keeps nothing."""
        self._now = now
        self._reached = reached or Reached()
        self._keys = keys
        self._kept = kept
        self._doubted: dict[tuple[str, int], tuple[VersionDoc, UnverifiedReport]] = {}

    @classmethod
    def open(
        cls, configured: Path | None, folder: Path, now: Callable[[], float] = time.time
    ) -> Self:
        """With the key in the file ``configured``, or the one kept in ``folder``. Raises
        :class:`StartError` for a file that holds no key."""
        kept = folder / KEPT
        path = configured or kept
        known = configured is not None or kept.exists()
        return cls(_read(path) if known else None, kept, now, Reached(folder / FILE))

    def believes(self, document: VersionDoc, earlier: VersionDoc | None) -> bool:
        """Whether the version may be in the catalogue. ``earlier``: what was believed of it before,
        whose manifest need not be read again."""
        key = (document.model, document.number)
        doubt = self._doubt(document, earlier)
        if doubt is None:
            self._reached.note(document)
            self._doubted.pop(key, None)
            return True
        told = self._doubted.get(key)
        if told is not None and told[1].problem == doubt:
            self._doubted[key] = (document, told[1])
            return False
        report = UnverifiedReport(
            model=document.model, version=document.number, problem=doubt, since=int(self._now())
        )
        self._doubted[key] = (document, report)
        if self._keys is not None:
            logger("gateway").error(
                "a version is not routed to: its record cannot be verified",
                model=document.model,
                version=document.number,
                problem=doubt,
            )
        return False

    def forget(self, model: str, number: int) -> None:
        """The version is no longer in the stream. What it had reached is not forgotten."""
        self._doubted.pop((model, number), None)

    def clear(self) -> None:
        """Nothing is in the stream. What versions had reached is not forgotten."""
        self._doubted.clear()

    def keep(self) -> None:
        """Write down what versions have reached, for the next process."""
        self._reached.keep()

    def reports(self) -> tuple[UnverifiedReport, ...]:
        """What control should know, at most :data:`MAX_REPORTED`; nothing while there is no key."""
        if self._keys is None:
            return ()
        return tuple(self._doubted[key][1] for key in sorted(self._doubted)[:MAX_REPORTED])

    def collect(self) -> Iterator[Metric]:
        """For the metrics."""
        yield GaugeMetricFamily(
            "tollway_unverified_versions",
            "Versions that are not routed to because their record cannot be verified.",
            len(self._doubted),
        )

    async def obtain(self, control: httpx.AsyncClient) -> bool:
        """Ask control for the key, if there is none. Returns whether there is one now."""
        if self._keys is not None:
            return True
        try:
            answer = await control.get("/internal/v1/seal-key", timeout=ASK_TIMEOUT_S)
            answer.raise_for_status()
            pem = answer.content
            if len(pem) > _MAX_PEM:
                return False
            keys = PublicKeys([pem.decode("ascii")])
        except (httpx.HTTPError, TollwayError, UnicodeDecodeError):
            return False  # the follower says that control is away
        write_atomically(self._kept, pem, 0o600)
        self._keys = keys
        return True

    async def run(
        self, control: httpx.AsyncClient, apply: Callable[[list[VersionDoc]], None]
    ) -> None:
        """Ask until control gives the key; then ``apply`` gets the versions that waited for it."""
        if self._keys is not None:
            return
        while not await self.obtain(control):  # noqa: ASYNC110 -- another process's state
            await asyncio.sleep(ASK_EVERY_S)
        apply([document for document, _ in self._doubted.values()])

    def _doubt(self, document: VersionDoc, earlier: VersionDoc | None) -> str | None:
        if self._keys is None:
            return "control's public key is not known yet"
        seal = document.seal
        if seal is None:
            return "it has no seal"
        unchanged = earlier is not None and (earlier.digest, earlier.manifest) == (
            document.digest,
            document.manifest,
        )
        try:
            genuine = unchanged or (
                encoded_digest(document.manifest) == seal.encoded
                or sha256_digest(canonical_json(document.manifest)) == document.digest
            )
            if not genuine:
                return "its manifest has another digest"
            statement = seal_statement(
                document.model,
                document.number,
                document.digest,
                document.state,
                seal.grounds,
                seal.encoded,
            )
        except (rfc8785.CanonicalizationError, UnicodeEncodeError):
            return "its manifest has no canonical form"
        if (doubt := self._keys.doubt(seal.signer, seal.signature, statement)) is not None:
            return f"it {doubt}"
        grounds = seal.grounds
        if document.state in CALLABLE_STATES and grounds.approver != grounds.sponsor:
            return f"the sponsor {grounds.sponsor!r} has not approved it"
        if (reached := self._reached.before(document)) is not None:
            return f"it is {document.state}, and was {reached} before: no version goes back"
        return None


def _read(path: Path) -> PublicKeys:
    try:
        return PublicKeys([path.read_text()])
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"the public key of seals {path} cannot be read: {error}") from None
    except TollwayError as error:
        raise StartError(f"{path}: {error.public}") from None
