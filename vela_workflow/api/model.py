"""What all models have in common: reading hostile input, writing it back without loss, the types of small fields.

A model is a view with names and types on an object of the API. It keeps what it does not know, so an object written by
a newer or a different controller goes through unharmed, and ``to_object`` gives back exactly the fields that were
there. ``parse`` is the way in: it collects every problem with its field path instead of stopping at the first. It is
strict, as the API server is: a number is no string, and the Python name of a field is not accepted for its name in
YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import pydantic
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from vela_workflow import errors
from vela_workflow.api import durations, json_tree

NULLABLE: Final[dict[str, Any]] = {"x-nullable": True}
"""``json_schema_extra`` of a field where the API server keeps ``null`` (in others ``null`` means absent)."""

_WRITTEN: Final = {"written": True}
"""Validation context of ``parse``: names of fields are those of YAML."""


class Model(pydantic.BaseModel):
    """Base of all models: camelCase aliases, unknown fields kept, ``null`` in a field that has no null is absent."""

    model_config = pydantic.ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="allow",
        strict=True,
        allow_inf_nan=False,
        serialize_by_alias=True,
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any, info: pydantic.ValidationInfo) -> Any:
        """Drop nulls where the field has no null, as the API server does; refuse Python names in what was written."""
        if info.context is _WRITTEN and isinstance(data, dict):
            for name, field in cls.model_fields.items():
                if "_" in name and name in data:
                    raise ValueError(f"has the unknown field {name}; write {field.alias}")
        if not isinstance(data, dict) or None not in data.values():
            return data
        typed = {field.alias or name for name, field in cls.model_fields.items() if field.default is not None}
        return {key: value for key, value in data.items() if value is not None or key not in typed}

    def to_object(self) -> dict[str, Any]:
        """The object as JSON has it, with the fields that were set and no others, unknown ones included."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Resource(Model):
    """Base of the models of whole objects."""

    def to_object(self) -> dict[str, Any]:
        """As ``Model.to_object``, always with ``apiVersion`` and ``kind``, which come first."""
        head = self.model_dump(mode="json", by_alias=True, include={"api_version", "kind"})
        return head | super().to_object()


def _read_time(value: Any) -> Any:
    """Take RFC 3339 text only: pydantic would take numbers too."""
    if isinstance(value, str | datetime):
        return value
    raise ValueError('must be a time such as "2026-11-22T02:28:02Z"')


def _write_time(value: datetime) -> str:
    """RFC 3339 in UTC; a fraction of a second only where there is one, as the API server writes it."""
    text = value.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if value.microsecond else text) + "Z"


Timestamp = Annotated[
    pydantic.AwareDatetime,
    pydantic.Strict(False),
    pydantic.BeforeValidator(_read_time),
    pydantic.PlainSerializer(_write_time, when_used="json"),
]
"""A point in time; text in RFC 3339 with a time zone."""


class ObjectMeta(Model):
    """Standard metadata of an object."""

    name: str = pydantic.Field(default="", description="Name, unique in the namespace for this kind.")
    generate_name: str = pydantic.Field(default="", description="Start of a name that the API server completes.")
    namespace: str = pydantic.Field(default="", description="Namespace of the object.")
    labels: dict[str, str] = pydantic.Field(default_factory=dict, description="Words to select objects by.")
    annotations: dict[str, str] = pydantic.Field(default_factory=dict, description="Other notes on the object.")
    uid: str = pydantic.Field(default="", description="Identity of the object; another one of the same name differs.")
    resource_version: str = pydantic.Field(default="", description="Changes with every write of the object.")
    generation: int = pydantic.Field(default=0, description="Counts the changes of what is wanted.")
    creation_timestamp: Timestamp | None = pydantic.Field(default=None, description="When the object was created.")
    deletion_timestamp: Timestamp | None = pydantic.Field(default=None, description="When deletion was asked for.")


def _check_duration(value: Any) -> Any:
    """Refuse what is no duration, in the words of ``durations``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} is a bare number, which has no unit; write {value}s, {value}m or {value}h")  # noqa: TRY004 - pydantic only understands ValueError
    if isinstance(value, str) and value:
        try:
            durations.parse(value)
        except errors.Invalid as error:
            raise ValueError(str(error)) from error
    return value


Duration = Annotated[str, pydantic.BeforeValidator(_check_duration)]
"""Text that ``durations.parse`` can read, or empty, which is the same as absent."""

FreeForm = dict[str, Any]
"""An object whose fields somebody else decides, such as a template."""

M = TypeVar("M", bound=Model)


def parse(model: type[M], obj: object) -> M:
    """Read an object that somebody wrote.

    ``obj`` is a JSON object as ``json`` or YAML give it. Raises ``errors.Invalid`` with all problems (of very many, the
    first), each with its field path, in the order of the document where they are not JSON, then in the
    order of the model.
    """
    plain = dict(obj) if isinstance(obj, Mapping) else obj
    problems = json_tree.check(plain)
    told = {problem.path for problem in problems}
    parsed = None
    try:
        parsed = model.model_validate(plain, by_alias=True, by_name=False, context=_WRITTEN)
    except pydantic.ValidationError as error:
        # Keys that are not strings have been told by ``check``, in better words.
        details = [
            detail
            for detail in error.errors(include_url=False)
            if detail["type"] != "invalid_key" and detail["loc"][-1:] != ("[key]",)
        ]
        problems += [found for found in map(_problem, details) if found.path not in told]
    if parsed is None or problems:
        raise errors.Invalid(_limited(problems), summary=f"not a valid {model.__name__}")
    return parsed


def _limited(problems: list[errors.Problem]) -> list[errors.Problem]:
    rest = len(problems) - json_tree.PROBLEM_LIMIT
    if rest <= 0:
        return problems
    return [*problems[: json_tree.PROBLEM_LIMIT], errors.Problem(f"and {rest} more problems")]


_EXPECTED: Final[dict[str, str]] = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "timezone_aware": 'has no time zone; write it as in "2026-11-22T02:28:02Z"',
}
"""What to say for an error type of pydantic; where a wrong type was found, what was found is added."""

_JSON_TYPES: Final[tuple[tuple[type, str], ...]] = (
    (bool, "a boolean"),
    (int, "a number"),
    (float, "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "an object"),
    (type(None), "null"),
)


def _problem(detail: ErrorDetails) -> errors.Problem:
    """Put an error of pydantic into our words."""
    path = ""
    for key in detail["loc"]:
        path = json_tree.field_path(path, key)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return errors.Problem(str(context["error"]), path)
    if kind == "literal_error":
        return errors.Problem(f"must be {context['expected']}", path)
    if kind == "greater_than_equal":
        return errors.Problem(f"must be at least {context['ge']:g}", path)
    if kind == "less_than_equal":
        return errors.Problem(f"must be at most {context['le']:g}", path)
    message = _EXPECTED.get(kind)
    if message is None:
        return errors.Problem(detail["msg"][:1].lower() + detail["msg"][1:], path)
    if kind.endswith("_type"):
        found = next((words for type_, words in _JSON_TYPES if isinstance(detail["input"], type_)), "")
        message += f", not {found}" if found else ""
    return errors.Problem(message, path)
