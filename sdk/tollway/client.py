"""The client: everything a publisher or consumer does with a Tollway server, from Python."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, Unpack

import httpx
import numpy as np
import numpy.typing as npt

from tollway import credentials
from tollway.access import Access
from tollway.accounts import Grants, Tokens, Users
from tollway.audit import AuditLog
from tollway.billing import Billing
from tollway.catalogue import Catalogue
from tollway.configuration import ConfigurationClient
from tollway.deployment import Deployer, Deployment
from tollway.disagreement import DisagreementReport, disagreement
from tollway.endings import Ended
from tollway.evaluated import Evaluated
from tollway.evaluation.evaluator import Evaluator
from tollway.explanation import Explainers, Explanation, Method, Wish
from tollway.gates import Gated, Gates
from tollway.issuers import Issuer, IssuerOptions, Issuers
from tollway.managed import Managed
from tollway.operations import Operations
from tollway.plans import Plans
from tollway.prediction import Predictor
from tollway.progress import Choice
from tollway.receipts import Predictions, Replayed
from tollway.registry import STABLE, Registry, Waiter, check_name, listing
from tollway.remote import RemoteModel, RemoteOptions
from tollway.resources import (
    Alert,
    AliasMove,
    Model,
    Transition,
    UsageRow,
    Version,
)
from tollway.rollouts import Rollouts
from tollway.routed import Routed
from tollway.sessions import Sessions
from tollway.signatures import Signatures
from tollway.transport import RetryPolicy, Transport
from tollway.webhook_endpoints import WebhookEndpoints

if TYPE_CHECKING:
    from tollway.conversion import ColumnSpec, Label


class Client(Managed, Evaluated, Ended, Routed, Replayed, Gated):
    """A connection to one server. Thread-safe; a context manager, or call :meth:`close`.

    ``url`` and ``token`` come from the arguments, else from TOLLWAY_URL and TOLLWAY_TOKEN, else
    from what ``tollway login`` stored. ``timeout_s`` bounds one request. Requests that cannot do
    harm twice are repeated with back-off as ``retry`` says. Every method raises subclasses of
    :class:`tollway.TollwayError`.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_s: float = 30.0,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        chosen = credentials.resolve(url, token)
        self.url = chosen.url
        self._transport = Transport(
            chosen.url,
            chosen.token,
            timeout_s=timeout_s,
            retry=retry or RetryPolicy(),
            transport=transport,
            sleep=sleep,
        )
        waiter = Waiter(clock, sleep)
        self._registry = Registry(self._transport, waiter)
        self._rollouts = Rollouts(self._transport)
        self._access = Access(self._transport, waiter)
        self.billing = Billing(self._transport)
        self.catalogue = Catalogue(self._transport)
        self.operations = Operations(self._transport)
        self.audit = AuditLog(self._transport, waiter)
        self.users = Users(self._transport)
        self.sessions = Sessions(self._transport)
        self.tokens = Tokens(self._transport)
        self.grants = Grants(self._transport)
        self.webhooks = WebhookEndpoints(self._transport)
        self._issuers = Issuers(self._transport)
        self._plans = Plans(self._transport)
        self.configuration = ConfigurationClient(self._transport)
        self._gates = Gates(self._transport)
        self._deployer = Deployer(self._transport, self._registry, self._gates, waiter)
        self._signatures = Signatures(self._transport, clock)
        self._predictions = Predictions(self._transport, self._registry, waiter)
        self._predictor = Predictor(self._transport, self._signatures)
        self._explainers = Explainers(self._transport, self._signatures)
        self._evaluator = Evaluator(self._transport, self._registry, self._signatures)

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def check(self) -> None:
        """Ask the server whether it takes the token. Raises the typed error when it does not."""
        self._registry.check()

    def deploy(
        self,
        model: object,
        name: str,
        X: object = None,
        y: object = None,
        *,
        stage: bool = False,
        force: bool = False,
        reason: str = "",
        title: str | None = None,
        description: str = "",
        metrics: Mapping[str, float] | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        background: int = 100,
        example: object = None,
        progress: Choice = None,
        timeout_s: float = 300.0,
    ) -> Version:
        """Deploy a model: it answers by REST when this returns.

        ``model`` is a fitted scikit-learn estimator or pipeline, a LightGBM or XGBoost model, a
        path to an ``.onnx`` file, or an ``onnx.ModelProto``. ``X`` (and ``y``) are the rows on
        which the converted graph must answer as the model does: labels equal, numbers within
        ``rtol`` and ``atol``. With ``stage`` the version is loaded and can be called by its
        number, but gets no traffic until :meth:`promote`; ``force``, with a ``reason``, gives it
        the traffic although it breaks callers of the version before. ``metrics`` are figures of
        yours that stay with the version. ``progress`` None shows a bar on a terminal; a function
        gets one line per step. ``timeout_s`` bounds each wait for the server to take it up.
        ``background`` rows of ``X`` are stored with the version, for :meth:`explain` to compare
        with: at most 1,000; with 0 none are, and the version explains nothing. ``example`` is the
        row that callers are shown in the catalogue, forms, samples and OpenAPI document, a mapping
        by column or values in their order; without it one is made of the columns' ranges. Whoever
        sees the model sees it.

        Raises :class:`ConversionError`, :class:`ParityError` (with the counterexample row), and
        :class:`DeploymentError` when no engine can run it: the traffic stays where it was.
        """
        wish = Deployment(
            model=model,
            name=name,
            X=X,
            y=y,
            stage=stage,
            force=force,
            reason=reason,
            title=title,
            description=description,
            metrics=metrics,
            rtol=rtol,
            atol=atol,
            background=background,
            example=example,
            progress=progress,
            timeout_s=timeout_s,
        )
        self._signatures.forget(name)
        return self._deployer.deploy(wish)

    def register_remote(
        self,
        name: str,
        url: str,
        *,
        model: str | None = None,
        version: str = "",
        stage: bool = False,
        force: bool = False,
        reason: str = "",
        title: str | None = None,
        progress: Choice = None,
        timeout_s: float = 60.0,
        **options: Unpack[RemoteOptions],
    ) -> Version:
        """Register a model of another Open Inference Protocol server (Triton, KServe, MLServer) as
        the next version of ``name``: it answers by REST when this returns.

        ``url`` is where the server's ``/v2`` is; ``model`` (None: ``name``) and ``version`` (empty:
        the server's choice) are those there. ``credential`` names a credential that operators have
        put beside the servers. ``inputs`` and ``outputs`` are for servers that do not describe
        their models. ``stage``, ``force`` and ``reason`` as in :meth:`deploy`. Raises
        :class:`DeploymentError` when no gateway reaches the model.
        """
        remote = RemoteModel(url=url, model=model or name, version=version, **options)
        self._signatures.forget(name)
        return self._deployer.register_remote(
            name,
            remote,
            stage=stage,
            force=force,
            reason=reason,
            title=title,
            progress=progress,
            timeout_s=timeout_s,
        )

    def predict(
        self, name: str, X: object, *, version: int | None = None
    ) -> npt.NDArray[np.generic]:
        """What the estimator's own ``predict`` returns for the rows ``X``.

        ``X`` is a numpy array, a DataFrame, a list of rows, or a list of dicts by column name.
        """
        return self._predictor.predict(check_name(name, "model"), X, version)

    def predict_proba(
        self, name: str, X: object, *, version: int | None = None
    ) -> npt.NDArray[np.generic]:
        """What the estimator's own ``predict_proba`` returns: one column per class."""
        return self._predictor.predict_proba(check_name(name, "model"), X, version)

    def explain(
        self,
        name: str,
        X: object,
        *,
        version: int | None = None,
        classes: "Literal['all', 'predicted'] | Sequence[Label]" = "all",
        output: str | None = None,
        method: Method = "auto",
        permutations: int | None = None,
        seed: int | None = None,
    ) -> Explanation:
        """What each column of the rows ``X`` contributes to the model's answers for them.

        ``X`` is what :meth:`predict` takes. ``classes``: all, of each row the predicted one, or
        those named. ``method`` "permutation" explains an output as it is, where linear classifiers
        are explained exactly in log-odds otherwise. More ``permutations`` estimate better, where
        the explanation is not exact; another ``seed`` takes others. Raises
        :class:`InvalidRequestError` when the version was deployed without X.
        """
        wish = Wish(
            classes=classes, output=output, method=method, permutations=permutations, seed=seed
        )
        return self._explainers.explain(check_name(name, "model"), X, version, wish)

    def columns(self, name: str, *, version: int | None = None) -> "list[ColumnSpec]":
        """The columns that the model's rows have: name, type, observed range, categories."""
        return list(self._signatures.get(check_name(name, "model"), version).columns)

    def models(self) -> list[Model]:
        """Every model, by name."""
        return self._registry.models()

    def model(self, name: str) -> Model:
        """One model with its aliases."""
        return self._registry.model(name)

    def versions(self, name: str) -> list[Version]:
        """Every version of a model, by number."""
        return self._registry.versions(name)

    def version(self, name: str, number: int) -> Version:
        """One version: its state, its engines, its manifest."""
        return self._registry.version(name, number)

    def transitions(self, name: str, number: int) -> list[Transition]:
        """Who moved the version to which state, when and why."""
        return self._registry.transitions(name, number)

    def alias_history(self, name: str, alias: str = STABLE) -> list[AliasMove]:
        """Every move of an alias, oldest first."""
        return self._registry.alias_history(name, alias)

    def load(self, name: str, number: int, *, timeout_s: float = 300.0) -> Version:
        """Have workers hold the version, and wait until it answers."""
        self._registry.set_loaded(name, number, True)
        self._registry.wait_ready(name, number, timeout_s)
        self._registry.wait_live(name, number, None, timeout_s)
        return self._registry.version(name, number)

    def unload(self, name: str, number: int) -> Version:
        """Have workers let the version go; its memory returns to the system."""
        return self._registry.set_loaded(name, number, False)

    def unload_when_idle(
        self, name: str, idle_unload_s: int, *, cold_start_wait_s: int | None = None
    ) -> Model:
        """Let workers drop the model's versions when nobody has called them for so many seconds (0:
        never), until somebody does.

        A call then waits for up to ``cold_start_wait_s`` seconds while the version is loaded; with
        0, it is refused with 503 and ``Retry-After``. None leaves that as it is.
        """
        fields = {"idle_unload_s": idle_unload_s}
        if cold_start_wait_s is not None:
            fields["cold_start_wait_s"] = cold_start_wait_s
        self._registry.model(name)  # one that does not exist is not made by this
        return self._registry.put_model(name, **fields)

    def usage(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        by: Sequence[str] = ("application", "model", "version", "status"),
        step: str | None = None,
        application: str | None = None,
        model: str | None = None,
        key: str | None = None,
        status: int | None = None,
    ) -> list[UsageRow]:
        """Requests, rows, errors and times: by ``application``, ``key``, ``model``, ``version``,
        ``variant``, ``status``; in steps of ``minute``, ``hour`` or ``day``, or in total. The
        others narrow it. CSV, quotas and statements are in :attr:`billing`."""
        only = {"application": application, "model": model, "key": key, "status": status}
        return self.billing.usage(start=start, end=end, by=by, step=step, only=only)

    def disagreement(
        self,
        model: str,
        version: int,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        by: Sequence[str] = (),
        examples: int = 20,
    ) -> DisagreementReport:
        """What ``version``, a shadow, would have answered otherwise: in the last 24 hours, or from
        ``start`` to ``end``; by ``segment``, ``application``, or both."""
        return disagreement(
            self._transport, model, version, start=start, end=end, by=by, examples=examples
        )

    def alerts(self) -> list[Alert]:
        """What workers found of the versions that they serve, as far as the token reaches."""
        return list(listing(self._transport, "/api/v1/alerts", Alert))

    def issuers(self) -> list[Issuer]:
        """Whose JSON Web Tokens are taken beside API keys."""
        return self._issuers.all()

    def put_issuer(
        self,
        name: str,
        *,
        issuer: str,
        jwks_uri: str,
        audiences: Sequence[str],
        algorithms: Sequence[str],
        **options: Unpack[IssuerOptions],
    ) -> Issuer:
        """Make an issuer, or replace it whole: what is left out takes its default."""
        facts = {
            "issuer": issuer,
            "jwks_uri": jwks_uri,
            "audiences": audiences,
            "algorithms": algorithms,
        }
        return self._issuers.put(name, {**facts, **options})

    def delete_issuer(self, name: str) -> None:
        """Take no more of an issuer's tokens, at every gateway within a second."""
        self._issuers.delete(name)
