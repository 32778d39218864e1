"""What every section of broker.yaml is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of broker.yaml: read-only, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
