"""Bases of the models of requests."""

from pydantic import BaseModel, ConfigDict


class Input(BaseModel):
    """The body of a request: a field that it does not know is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Output(BaseModel):
    """The body of an answer, or a part of it."""

    model_config = ConfigDict(use_attribute_docstrings=True)
