"""What the routes of requirements take, with the bounds of every field, and what they give."""

from typing import Annotated, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from protocol.configuration import ColumnRule, ContractDoc
from protocol.requirements import Constraints, Requirements
from registry.clock import rfc3339
from registry.inputs import Finite, Long, Short, no_nul
from registry.store.requirements import RequirementsRecord

Item = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(no_nul)]
Items = Annotated[list[Item], Field(max_length=100)]
Category = Annotated[str, Field(max_length=1000), AfterValidator(no_nul)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ConstraintsInput(_Input):
    """What limits the solution, in words."""

    technical: Items = []
    regulatory: Items = []
    resource: Items = []


class ColumnRuleInput(_Input):
    """What a column of a request may hold."""

    column: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(no_nul)]
    minimum: Finite | None = None
    maximum: Finite | None = None
    categories: Annotated[list[Category], Field(min_length=1, max_length=10_000)] | None = None
    nulls: bool = True


class ContractInput(_Input):
    """The rules for a model's inputs: `enforce` refuses a request that breaks one, `warn` counts
    it."""

    mode: Literal["warn", "enforce"]
    rules: Annotated[list[ColumnRuleInput], Field(max_length=2000)] = []


class RequirementsInput(_Input):
    """The requirements that should hold from now on, whole: what is left out is not required."""

    problem: Long = ""
    owner: Short = ""
    sponsor: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    criteria: Annotated[list[Item], Field(max_length=50)] = []
    constraints: ConstraintsInput = ConstraintsInput()
    contract: ContractInput | None = None
    segments: Annotated[
        dict[Annotated[str, Field(max_length=63)], Annotated[str, Field(max_length=500)]],
        Field(max_length=100),
    ] = {}

    def requirements(self) -> Requirements:
        """The same for the domain."""
        return msgspec.convert(self.model_dump(), Requirements)


class ConstraintsOutput(BaseModel):
    """What limits the solution."""

    technical: list[str]
    regulatory: list[str]
    resource: list[str]

    @classmethod
    def of(cls, constraints: Constraints) -> "ConstraintsOutput":
        """From the domain."""
        return cls.model_validate(msgspec.to_builtins(constraints))


class ColumnRuleOutput(BaseModel):
    """What a column may hold."""

    column: str
    minimum: float | None
    maximum: float | None
    categories: list[str] | None
    nulls: bool

    @classmethod
    def of(cls, rule: ColumnRule) -> "ColumnRuleOutput":
        """From the domain."""
        return cls.model_validate(msgspec.to_builtins(rule))


class ContractOutput(BaseModel):
    """The rules for a model's inputs."""

    mode: Literal["warn", "enforce"]
    rules: list[ColumnRuleOutput]

    @classmethod
    def of(cls, contract: ContractDoc | None) -> "ContractOutput | None":
        """From the domain; None without one."""
        if contract is None:
            return None
        return cls(mode=contract.mode, rules=[ColumnRuleOutput.of(rule) for rule in contract.rules])


class RequirementsOutput(BaseModel):
    """One version of a model's requirements, with every expression in its canonical form."""

    model: str
    number: int
    digest: str
    created_at: str
    created_by: str
    problem: str
    owner: str
    sponsor: str | None
    criteria: list[str]
    constraints: ConstraintsOutput
    contract: ContractOutput | None
    segments: dict[str, str]
    warnings: list[str] = []
    """What of the contract holds for no version that the model has now, such as a rule for a column
    that none has. Only of requirements that hold now."""

    @classmethod
    def of(cls, record: RequirementsRecord, warnings: list[str]) -> "RequirementsOutput":
        """From the store's record."""
        given = record.requirements
        return cls(
            model=record.model,
            number=record.number,
            digest=record.digest,
            created_at=rfc3339(record.created_at),
            created_by=record.created_by,
            problem=given.problem,
            owner=given.owner,
            sponsor=given.sponsor,
            criteria=list(given.criteria),
            constraints=ConstraintsOutput.of(given.constraints),
            contract=ContractOutput.of(given.contract),
            segments=given.segments,
            warnings=warnings,
        )
