"""The key that seals versions, and the copy of its public half that gateways verify seals with."""

from pathlib import Path
from typing import Final

from registry.clock import Clock
from registry.seals import Sealer, seal_all
from registry.store.database import Database
from runtime.files import secret_file, write_atomically
from runtime.signatures import PublicKeys, SigningKey, new_signing_key

PUBLIC: Final = "public.pem"


class SealKeys:
    """The key in a file, made (mode 0600) when there is none, and the public keys of earlier times
    in ``folder``'s ``public.pem``: what they sealed is sealed anew."""

    def __init__(self, key_path: Path, folder: Path) -> None:
        """Raises ``INVALID`` for a file that holds no such key."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = SigningKey(secret_file(key_path, new_signing_key), "the key that seals versions")
        self._public = folder / PUBLIC
        known = self._public.read_text() if self._public.exists() else ""
        self._first = not known
        self._known = known if key.public_pem in known else known + key.public_pem
        self.sealer = Sealer(key, PublicKeys([self._known]))

    def start(self, database: Database, clock: Clock) -> None:
        """Seal what is to be sealed at a start. The public key is written after that: until then a
        start is the first one, see ``registry.seals.seal_all``."""
        seal_all(database, self.sealer, clock, first=self._first)
        write_atomically(self._public, self._known.encode())
