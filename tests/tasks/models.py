"""Models and structs of other libraries."""

from __future__ import annotations

from datetime import date, datetime
from typing import Generic, TypeVar
from uuid import UUID

import msgspec
import pydantic

T = TypeVar("T")


class Address(pydantic.BaseModel):
    street: str
    since: date


class Customer(pydantic.BaseModel):
    id: UUID
    addresses: list[Address] = []
    discount: float = pydantic.Field(default=0, ge=0, lt=1)


class Raw(pydantic.BaseModel):
    data: bytes


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    at: datetime


class Aliased(pydantic.BaseModel):
    first_name: str = pydantic.Field(alias="firstName")


class Names(pydantic.RootModel[list[str]]):
    pass


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class BigCustomer(Customer):
    manager: str = ""


@pydantic.dataclasses.dataclass
class Checked:
    count: pydantic.PositiveInt


class Reading(msgspec.Struct):
    sensor: str
    at: datetime
    raw: bytes = b""
    values: list[float] = []


class Positional(msgspec.Struct, array_like=True):
    x: int
    y: int


class Wrapped(msgspec.Struct, Generic[T]):
    content: T
