"""A gateway's end of an engine's connection, and a started engine process."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from onnx import ModelProto

from protocol.frames import (
    NO_HEADER,
    Frame,
    FrameDecoder,
    Hello,
    Kind,
    auth_proof,
    encode_header,
)
from serving.launch import EngineOrder, EngineWord
from tests.serving.models import manifest_of

WITHIN_S = 20.0
ROOT = Path(__file__).parents[2]


class Peer:
    """Sends frames and waits for frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._decoder = FrameDecoder()
        self._frames: list[Frame] = []

    @classmethod
    async def connect(cls, address: str, token: bytes = b"") -> "tuple[Peer, Hello]":
        """Connect, read HELLO, and prove the token if asked to."""
        kind, _, place = address.partition(":")
        if kind == "unix":
            peer = cls(*await asyncio.open_unix_connection(place))
        else:
            host, _, port = place.rpartition(":")
            peer = cls(*await asyncio.open_connection(host, int(port)))
        frame = await peer.read()
        if frame is None:
            peer.writer.close()
            raise ConnectionError("the other end has left")
        assert frame.kind == Kind.HELLO
        hello = msgspec.json.decode(frame.body, type=Hello)
        if hello.nonce:
            peer.send(Kind.AUTH, auth_proof(token, hello.nonce))
        return peer, hello

    def send(self, kind: int, body: bytes = b"", **fields: int) -> None:
        """Write a frame."""
        self.writer.write(encode_header(kind, len(body), **fields) + body)

    def infer(self, id: int, body: bytes, **fields: int) -> None:
        """Write an INFER."""
        self.send(Kind.INFER, body, id=id, **{"b": NO_HEADER, **fields})

    async def read(self) -> Frame | None:
        """The next frame; None at the end of the connection."""
        while not self._frames:
            try:
                data = await asyncio.wait_for(self._reader.read(1 << 16), WITHIN_S)
            except ConnectionError:
                return None
            if not data:
                return None
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    async def reply(self, id: int) -> Frame:
        """The next frame, which must be the answer to ``id``."""
        frame = await self.read()
        assert frame is not None, "the engine closed the connection"
        assert (frame.kind, frame.id) == (Kind.REPLY, id)
        return frame


class Started:
    """An engine process."""

    def __init__(self, graph: ModelProto, folder: Path, **order: Any) -> None:
        (folder / "model.onnx").write_bytes(graph.SerializeToString())
        keep_stdout: bool = order.pop("keep_stdout", False)
        golden: bytes | None = order.pop("golden_bytes", None)
        if golden is not None:
            (folder / "golden.json").write_bytes(golden)
        values: dict[str, Any] = {
            "model": "m",
            "version": 3,
            "slot": 0,
            "digest": "sha256:d",
            "manifest": manifest_of(graph, golden=golden),
            "folder": str(folder),
            "artifact": "model.onnx",
            "golden": None if golden is None else "golden.json",
            "address": f"unix:{folder}/e.sock",
            **order,
        }
        self.order = EngineOrder(**values)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving.start"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(msgspec.json.encode(self.order))
        self.process.stdin.close()
        self.word = msgspec.json.decode(self.process.stdout.readline(), type=EngineWord)
        if not keep_stdout:
            self.process.stdout.close()

    def end(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WITHIN_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
