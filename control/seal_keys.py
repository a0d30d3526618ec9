"""The key that seals versions, and the copy of its public half that gateways verify seals with."""

from pathlib import Path
from typing import Final

from registry.seals import Sealer
from runtime.files import secret_file, write_atomically
from runtime.signatures import PublicKeys, SigningKey, new_signing_key

PUBLIC: Final = "public.pem"


def open_sealer(key_path: Path, folder: Path) -> Sealer:
    """The sealer whose key is in ``key_path``, made (mode 0600) when there is none. ``folder``'s
    ``public.pem`` keeps the public keys of earlier times: what they sealed is sealed anew.

    Raises ``INVALID`` for a file that holds no such key.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = SigningKey(secret_file(key_path, new_signing_key), "the key that seals versions")
    public = folder / PUBLIC
    known = public.read_text() if public.exists() else ""
    if key.public_pem not in known:
        known += key.public_pem
        write_atomically(public, known.encode())
    return Sealer(key, PublicKeys([known]))
