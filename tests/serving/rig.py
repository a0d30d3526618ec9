"""An engine's decoders, runs and encoders in this process, without its sockets."""

import json
import time
from pathlib import Path
from typing import Any

from onnx import ModelProto

from protocol.configuration import VersionDoc
from protocol.errors import STATUS, TollwayError
from protocol.frames import NO_HEADER, Frame, Hello, Kind, Operation
from protocol.manifest import Manifest, canonical_json, sha256_digest
from serving.batcher import Batcher
from serving.cost import Cost
from serving.engine import Engine
from serving.session import Session
from serving.signature import Signature
from serving.tensors import exact_floats
from serving.v1 import V1
from serving.v2_binary import V2Binary
from serving.v2_json import V2Json
from serving.v2_reply import V2Replies
from serving.warmup import warm
from tests.serving.models import manifest_of


class Rig:
    """One model, ready to be asked."""

    def __init__(self, graph: ModelProto, folder: Path, **manifest: Any) -> None:
        self.manifest: Manifest = manifest_of(graph, **manifest)
        path = folder / "model.onnx"
        path.write_bytes(graph.SerializeToString())
        self.signature = Signature(self.manifest, 1)
        self.session = Session(path, self.signature)
        self.cost = Cost()
        self.merging, self.why_not = warm(self.session, self.signature, self.cost, None)
        replies = V2Replies(self.signature)
        self.json = V2Json(self.signature, replies)
        self.binary = V2Binary(self.signature, replies)
        self.v1 = V1(self.signature)
        self.defects: list[BaseException] = []

    def batcher(self, **bounds: Any) -> Batcher:
        """A batcher over the session."""
        return Batcher(
            self.session,
            time.monotonic_ns,
            merging=self.merging,
            why_not=self.why_not,
            **bounds,
        )

    def engine(self, **bounds: Any) -> Engine:
        """A whole engine, not listening anywhere yet."""
        return Engine(
            self.signature,
            self.batcher(**bounds),
            Hello("m", 1, "sha256:0"),
            report_defect=self.defects.append,
        )

    def ask(
        self, body: bytes, operation: Operation = Operation.V2_INFER, header: int = NO_HEADER
    ) -> tuple[int, bytes, int]:
        """Status, body and header length of the answer to one request run alone."""
        try:
            with exact_floats():
                if operation == Operation.V1_PREDICT:
                    call = self.v1.decode(body)
                elif header != NO_HEADER:
                    call = self.binary.decode(body, header)
                else:
                    call = self.json.decode(body)
            self.batcher().run([call])
            if call.error is not None:
                raise call.error
            assert call.results is not None
            answer, length = call.encoder.encode(call.results, call.start, call.stop)
        except TollwayError as error:
            return STATUS[error.code], error.public.encode(), NO_HEADER
        return 200, answer, length

    def infer(self, request: object) -> Any:
        """The parsed answer to a V2 request; the request must be accepted."""
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        status, answer, length = self.ask(body)
        assert status == 200, answer
        assert length == NO_HEADER
        return json.loads(answer)

    def refused(self, request: object) -> str:
        """Why a V2 request is refused with 400."""
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        status, answer, _ = self.ask(body)
        assert status == 400, answer
        return answer.decode()

    def predict(self, request: object) -> Any:
        """The parsed answer to a V1 request; the request must be accepted."""
        body = json.dumps(request).encode()
        status, answer, _ = self.ask(body, Operation.V1_PREDICT)
        assert status == 200, answer
        return json.loads(answer)

    def predict_refused(self, request: object) -> str:
        """Why a V1 request is refused with 400."""
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        status, answer, _ = self.ask(body, Operation.V1_PREDICT)
        assert status == 400, answer
        return answer.decode()


def infer_frame(id: int, body: bytes, **fields: int) -> Frame:
    """An INFER as the decoder gives it."""
    values = {"flags": 0, "status": 0, "a": 0, "b": NO_HEADER, "c": 0, "d": 0, **fields}
    return Frame(kind=Kind.INFER, id=id, body=body, **values)


def one_input(data: object, shape: list[int], datatype: str = "FP32", name: str = "x") -> Any:
    """A V2 request with a single input."""
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


def version_of(manifest: Manifest, number: int = 1, **fields: Any) -> VersionDoc:
    """The configuration's document of a loaded version."""
    values: dict[str, Any] = {"state": "registered", "loaded": True, **fields}
    digest = sha256_digest(canonical_json(manifest))
    return VersionDoc(
        model=manifest.model, number=number, digest=digest, manifest=manifest, **values
    )
