"""What a person is told about a wrong value."""

import pytest
from pydantic import BaseModel, Field, ValidationError

from mimi_mqtt.config.problems import wording


class Service(BaseModel):
    url: str = Field("http://a", pattern=r"^https?://[^/]")
    safe_url: str = Field("https://a", pattern=r"^https://[^/]")
    region: str = Field("eu", pattern=r"^[a-z]+$")
    name: str | None = Field(None, max_length=3)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("url", "localhost:1", "must be an address that begins with http:// or https://"),
        ("safe_url", "http://a", "must be an address that begins with https://"),
        ("region", "EU", "must match pattern '^[a-z]+$'"),
        ("region", None, "must not be empty: leave the key out for its default"),
        ("name", "long", "must have at most 3 characters"),
    ],
)
def test_says_what_is_allowed(key: str, value: object, told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Service.model_validate({key: value})
    assert [wording(problem) for problem in caught.value.errors()] == [told]
