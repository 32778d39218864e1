"""The base class of all sections of broker.yaml."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of broker.yaml: read-only, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
