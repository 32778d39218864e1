"""The result of a tool call: text, images and sounds."""

from dataclasses import dataclass

from mimi_mqtt.wire.mcp import Media


@dataclass(frozen=True, slots=True)
class ToolResult:
    """Text for a language model, and images and sounds for those who can show or play them."""

    text: str = ""
    media: tuple[Media, ...] = ()

    def as_text(self) -> str:
        """The text, and a line for each image and sound, for a model that takes only text."""
        lines = [self.text] if self.text else []
        lines += [f"[{item.kind}: {item.mime_type}, {len(item.content)} bytes]" for item in self.media]
        return "\n".join(lines)
