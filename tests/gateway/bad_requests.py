"""Requests that two servers could read in two ways, or that are no HTTP/1.1 at all."""

KEY = b"KEY"
"""Stands where a request needs a good key."""
TARGET = b"TARGET"
"""Stands where a request has its path."""

_POST = b"POST TARGET HTTP/1.1\r\nHost: a\r\n"
_KEYED = _POST + b"X-API-Key: KEY\r\n"
_CHUNKED = _KEYED + b"Transfer-Encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


def _head(fields: bytes, body: bytes = b"") -> bytes:
    return _POST + fields + b"\r\n\r\n" + body


HEADS = {
    "length, then coding": _head(b"Content-Length: 5\r\nTransfer-Encoding: chunked", _END),
    "coding, then length": _head(b"Transfer-Encoding: chunked\r\nContent-Length: 5", _END),
    "length and a coding unknown": _head(b"Content-Length: 2\r\nTransfer-Encoding: x", b"{}"),
    "two lengths": _head(b"Content-Length: 2\r\nContent-Length: 3", b"{} "),
    # RFC 9110, 8.6 leaves it to the recipient; who sends it is not to be trusted with framing.
    "the same length twice": _head(b"Content-Length: 2\r\nContent-Length: 2", b"{}"),
    "a list of lengths": _head(b"Content-Length: 2, 2", b"{}"),
    "length with a sign": _head(b"Content-Length: +2", b"{}"),
    "negative length": _head(b"Content-Length: -2", b"{}"),
    "hexadecimal length": _head(b"Content-Length: 0x2", b"{}"),
    "length with a space": _head(b"Content-Length: 1 2", b"{}"),
    "empty length": _head(b"Content-Length:"),
    "length overflow": _head(b"Content-Length: 18446744073709551618", b"{}"),
    "coding gzip": _head(b"Transfer-Encoding: gzip", _END),
    "coding gzip, chunked": _head(b"Transfer-Encoding: gzip, chunked", _END),
    "coding chunked, gzip": _head(b"Transfer-Encoding: chunked, gzip", _END),
    "coding chunked, chunked": _head(b"Transfer-Encoding: chunked, chunked", _END),
    "chunked twice": _head(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", _END),
    "identity, then chunked": _head(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
    "coding identity": _head(b"Transfer-Encoding: identity", _END),
    "coding xchunked": _head(b"Transfer-Encoding: xchunked", _END),
    "coding quoted": _head(b'Transfer-Encoding: "chunked"', _END),
    "coding with a parameter": _head(b"Transfer-Encoding: chunked;q=1", _END),
    "coding after vertical tab": _head(b"Transfer-Encoding: \x0bchunked", _END),
    "empty coding": _head(b"Transfer-Encoding:", _END),
    "coding in HTTP/1.0": _head(b"Transfer-Encoding: chunked", _END).replace(b"/1.1", b"/1.0"),
    "space before the coding's colon": _head(b"Transfer-Encoding : chunked", _END),
    "folded coding": _head(b"Transfer-Encoding:\r\n chunked", _END),
    "two hosts": _head(b"Host: b"),
    "the same host twice": _head(b"Host: a"),
    "no host": b"POST TARGET HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "host with a path": b"POST TARGET HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host with a user": b"POST TARGET HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "host with a space": b"POST TARGET HTTP/1.1\r\nHost: a b\r\n\r\n",
    "two hosts in one": b"POST TARGET HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "host not ASCII": b"POST TARGET HTTP/1.1\r\nHost: \xe4\r\n\r\n",
    "folded": _head(b"X: a\r\n b"),
    "folded by a tab": _head(b"X: a\r\n\tb"),
    "folded first": b"POST TARGET HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare LF after a field": _POST + b"X: a\n\r\n",
    "bare LF after the request line": b"POST TARGET HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF at the end": _POST + b"\nX: a\r\n\r\n",
    "bare LF everywhere": b"POST TARGET HTTP/1.1\nHost: a\n\n",
    "bare LF before": b"\n" + _head(b"X: a"),
    "bare CR before": b"\r" + _head(b"X: a"),
    "LF and CR before": b"\n\r" + _head(b"X: a"),
    "CR twice before": b"\r\r\n" + _head(b"X: a"),
    "two empty lines before": b"\r\n\r\n" + _head(b"X: a"),
    "an empty line and a bare LF before": b"\r\n\n" + _head(b"X: a"),
    "bare CR in a value": _head(b"X: a\rb"),
    "bare CR after the request line": b"POST TARGET HTTP/1.1\rHost: a\r\n\r\n",
    "bare CR at the end": _POST + b"\rX: b\r\n\r\n",
    "space before the colon": _head(b"X : a"),
    "tab before the colon": _head(b"X\t: a"),
    "no colon": _head(b"Xabc"),
    "no name": _head(b": a"),
    "NUL in a name": _head(b"X\0: a"),
    "brackets in a name": _head(b"X[]: a"),
    "a name not ASCII": _head(b"X\xe4: a"),
    "NUL in a value": _head(b"X: a\0b"),
    "control character in a value": _head(b"X: a\x01b"),
    "DEL in a value": _head(b"X: a\x7fb"),
    "escape in a value": _head(b"X: \x1b[31m"),
    "method in small letters": b"post TARGET HTTP/1.1\r\nHost: a\r\n\r\n",
    "method unknown": b"FETCH TARGET HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in the method": b"PO\0ST TARGET HTTP/1.1\r\nHost: a\r\n\r\n",
    "space before the method": b" POST TARGET HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "target with a space": b"POST TARGET x HTTP/1.1\r\nHost: a\r\n\r\n",
    "target with NUL": b"POST TARGET\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "target with a tab": b"POST TARGET\t HTTP/1.1\r\nHost: a\r\n\r\n",
    "target not ASCII": b"POST TARGET\xe4 HTTP/1.1\r\nHost: a\r\n\r\n",
    "target with a fragment": b"POST TARGET#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "target without a slash": b"POST xTARGET HTTP/1.1\r\nHost: a\r\n\r\n",
    "no target": b"POST HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"POST TARGET\r\nHost: a\r\n\r\n",
    "version 0.9": b"POST TARGET HTTP/0.9\r\nHost: a\r\n\r\n",
    "version 1.2": b"POST TARGET HTTP/1.2\r\nHost: a\r\n\r\n",
    "version 1.10": b"POST TARGET HTTP/1.10\r\nHost: a\r\n\r\n",
    "version 2.0": b"POST TARGET HTTP/2.0\r\nHost: a\r\n\r\n",
    "version in small letters": b"POST TARGET http/1.1\r\nHost: a\r\n\r\n",
    "another protocol": b"POST TARGET HTTPS/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01",
}  # fmt: skip
"""Bad before the head is over: no part of the software ever sees them."""

BODIES = {
    "negative chunk": _CHUNKED + b"-2\r\n{}\r\n" + _END,
    "chunk with a sign": _CHUNKED + b"+2\r\n{}\r\n" + _END,
    "chunk with 0x": _CHUNKED + b"0x2\r\n{}\r\n" + _END,
    "chunk overflow": _CHUNKED + b"10000000000000002\r\n{}\r\n" + _END,
    "chunk with no digit": _CHUNKED + b"\r\n{}\r\n" + _END,
    "chunk of letters": _CHUNKED + b"g\r\n{}\r\n" + _END,
    "space before the size": _CHUNKED + b" 2\r\n{}\r\n" + _END,
    "space after the size": _CHUNKED + b"2 \r\n{}\r\n" + _END,
    "tab after the size": _CHUNKED + b"2\t\r\n{}\r\n" + _END,
    "bare LF after the size": _CHUNKED + b"2\n{}\r\n" + _END,
    "bare CR after the size": _CHUNKED + b"2\r{}\r\n" + _END,
    "no CRLF after the data": _CHUNKED + b"2\r\n{}" + _END,
    "bare LF after the data": _CHUNKED + b"2\r\n{}\n" + _END,
    "bare CR after the data": _CHUNKED + b"2\r\n{}\rx" + _END,
    "more data than said": _CHUNKED + b"2\r\n{}}\r\n" + _END,
    "bare LF in an extension": _CHUNKED + b"2;a=b\n{}\r\n" + _END,
    "bare LF in a quoted extension": _CHUNKED + b'2;a="\n"\r\n{}\r\n' + _END,
    "bare CR in an extension": _CHUNKED + b"2;a\rb\r\n{}\r\n" + _END,
    "NUL in an extension": _CHUNKED + b"2;a\0\r\n{}\r\n" + _END,
    "empty extension": _CHUNKED + b"2;\r\n{}\r\n" + _END,
    "bare LF after the last chunk": _CHUNKED + b"2\r\n{}\r\n0\n\r\n",
    "bare LF at the end of the body": _CHUNKED + b"2\r\n{}\r\n0\r\n\n",
    "trailer field": _CHUNKED + b"2\r\n{}\r\n0\r\nX: y\r\n\r\n",
    "length among the trailers": _CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n",
    "coding among the trailers": _CHUNKED + b"2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "key among the trailers": _CHUNKED + b"2\r\n{}\r\n0\r\nX-API-Key: KEY\r\n\r\n",
}
"""Bad after their heads, which are good: what they ask for is not done."""

TOO_LARGE = {
    "too many fields": _head(b"\r\n".join(b"X-%d: y" % n for n in range(120))),
    "a large field": _head(b"X: " + b"y" * 80_000),
    "a large name": _head(b"X" * 80_000 + b": y"),
    "much white space": _head(b"X:" + b" " * 80_000 + b"y"),
    "a long target": b"POST TARGET?" + b"y" * 80_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "many fields": _head(b"\r\n".join(b"X-%d: %b" % (n, b"y" * 900) for n in range(90))),
    "a large extension": _CHUNKED + b"2;a=" + b"b" * 80_000 + b"\r\n{}\r\n" + _END,
    "a large extension of the last chunk": _CHUNKED + b"0;a=" + b"b" * 80_000 + b"\r\n\r\n",
    "many extensions": _CHUNKED + b"2;abcdefgh=abcdefghabcdefgh\r\n{}\r\n" * 3000 + _END,
    "endless zeros": _CHUNKED + b"0" * 80_000 + b"2\r\n{}\r\n" + _END,
}
"""Answered 431."""


def spelled(request: bytes, path: bytes, key: str) -> bytes:
    """A request of the above for a path, with a key."""
    return request.replace(TARGET, path).replace(KEY, key.encode())
