"""JSON Web Tokens of configured issuers (RFC 7519, 7515, 7517, 7518; practices of RFC 8725).

    compact    a token's text, taken apart strictly, before anything is believed or computed
    claims     what a token says: for whom, until when, which application
    keys       an issuer's public keys, out of its JWK set
    signature  one key, one algorithm, one signature; python-jose does the work
    jwks       the key sets of all issuers, fetched, kept, and fetched again at a bounded rate
    fetch      a key set over HTTP
    kept       a key set on disk
    verifier   all of that together
    policy     the gateway's use of it

To verify tokens elsewhere, make a :class:`~policies.jwt.jwks.JwksCache` and a
:class:`~policies.jwt.verifier.TokenVerifier` over it, give it the issuers
(:meth:`~policies.jwt.verifier.TokenVerifier.put`, or ``replace`` with all of them), and ::

    token = await verifier.verified(credential)              # on the event loop
    token = anyio.from_thread.run(verifier.verified, credential)     # in one of its threads

Both raise :class:`~policies.jwt.refusals.TokenError`, a ``TollwayError`` with the code
``UNAUTHENTICATED``.
"""
