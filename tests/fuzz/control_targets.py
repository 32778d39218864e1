"""Fuzz targets of control messages: strict JSON, what devices say, MCP, and commands of general clients."""

import json
import re

from mimi_mqtt.commands import request as commands
from mimi_mqtt.errors import MessageError, ToolError
from mimi_mqtt.session import hello
from mimi_mqtt.session.glyphs import choice
from mimi_mqtt.tools import schema
from mimi_mqtt.wire import fitting, glyphs, mcp, messages, strict_json
from tests.fuzz.target import Target, told_briefly


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def check_strict_json(data: bytes) -> bool:
    """JSON: only ValueError, bounded nesting, and a value that encodes and is read again as it was."""
    try:
        value = strict_json.loads(data)
    except ValueError:
        return False
    assert _depth(value) <= strict_json.MAX_DEPTH
    encoded = strict_json.dumps(value)
    assert strict_json.loads(encoded) == value
    assert value == json.loads(data)
    assert b"\0" not in encoded
    assert b"\\u0000" not in encoded.replace(b"\\\\", b"")
    return True


def check_message(data: bytes) -> bool:
    """A device's control message: only MessageError, of bounded length, and fields within their bounds."""
    try:
        message = messages.parse(data)
    except MessageError as error:
        told_briefly(error)
        return False
    assert messages.parse(data) == message
    match message:
        case messages.DeviceHello():
            assert 0 < message.audio.channels <= 255
            assert 0 < message.audio.frame_duration <= 1_000
            assert message.text_font is None or 0 < message.text_font.size <= 64
            assert len(hello.refusal(message, "mqtt", ("udp",))) < 200
        case messages.Listen():
            assert message.state in ("start", "stop", "detect")
            assert message.mode in ("auto", "manual", "realtime")
        case messages.DeviceMcp():
            strict_json.dumps(message.payload)
        case _:
            pass
    return True


_SECRET = re.compile(r"key|nonce|token|password", re.IGNORECASE)


def check_redact(data: bytes) -> bool:
    """The copy for mirrors and logs: never an error, and no value of a secret field at any depth."""
    shown = json.loads(messages.redact(data))
    waiting: list[object] = [shown]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for name, part in value.items():
                assert not _SECRET.fullmatch(name) or part == "***", f"{name} is shown"
                waiting.append(part)
        elif isinstance(value, list):
            waiting += value
    return not (isinstance(shown, dict) and "unreadable_bytes" in shown)


def check_mcp(data: bytes) -> bool:
    """What a device's MCP server says, as a reply, a page of tools and a result: only MessageError."""
    try:
        payload = strict_json.loads(data)
    except ValueError:
        return False
    accepted = 0
    if isinstance(payload, dict):
        try:
            reply = mcp.parse_reply(payload)
            accepted += 1
            if isinstance(reply, mcp.McpResult):
                payload = reply.result
        except MessageError as error:
            told_briefly(error)
    try:
        tools, cursor = mcp.parse_tools_page(payload)
        accepted += 1
        assert isinstance(cursor, str)
        for tool in tools:
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", mcp.function_name(tool.name))
            assert isinstance(tool.user_only, bool)
    except MessageError as error:
        told_briefly(error)
    try:
        result = mcp.parse_call_result(payload)
        accepted += 1
        assert len(result.media) <= mcp.MAX_MEDIA
        assert sum(len(media.content) for media in result.media) <= len(data)
        assert len(result.text) <= len(data)
        assert all(len(media.mime_type) <= 80 for media in result.media)
    except MessageError as error:
        told_briefly(error)
    return accepted > 0


def check_mcp_salvage(data: bytes) -> bool:
    """A reply of broken JSON: never an error, and a bounded text."""
    salvaged = mcp.salvage_reply(data)
    if salvaged is None:
        return False
    assert salvaged.id is not None
    assert 0 <= salvaged.id < 10**15
    assert 0 < len(salvaged.message) <= mcp.MAX_ERROR_CHARS
    strict_json.dumps(salvaged.message)
    return True


def check_command(data: bytes) -> bool:
    """A command of a general client: only BadRequest, and a bounded reply that is JSON."""
    device_id = "aa-bb-cc-00-11-22"
    try:
        request = commands.parse(device_id, data)
    except commands.BadRequest as error:
        reply = commands.refusal_reply(error)
        assert len(reply) < 4_096
        strict_json.loads(reply)
        return False
    assert request.command.device_id == device_id
    assert len(request.id) <= commands.MAX_ID_CHARS
    return True


def check_arguments(data: bytes) -> bool:
    """A tool's schema and a model's arguments for it, a line each: only ToolError, or bounded JSON."""
    described, _, given = data.partition(b"\n")
    try:
        tool, arguments = strict_json.loads(described), json.loads(given)  # models may write NaN
    except (ValueError, RecursionError):
        return False
    if not isinstance(tool, dict) or not isinstance(arguments, dict):
        return False
    accepted = 0
    for nested in (False, True):
        try:
            checked = schema.check_arguments("tool", tool, arguments, nested=nested)
        except ToolError as error:
            told_briefly(error, 400 + 4 * len(data))  # it names what is allowed, for the model
            continue
        accepted += 1
        json.dumps(checked, allow_nan=False)
        if not nested:
            assert all(isinstance(value, bool | int | float | str) for value in checked.values())
            numbers = [value for value in checked.values() if not isinstance(value, str)]
            assert all(abs(value) <= 2**53 for value in numbers), "the device can't keep it exact"
            assert all(len(value) <= 2_000 for value in checked.values() if isinstance(value, str))
    return accepted > 0


def check_fitting(data: bytes) -> bool:
    """A text for a device's small buffer: cut to fit, on a character's border, and its beginning."""
    limit, text = 64 + (data[0] if data else 0), data[1:].decode(errors="surrogateescape")
    payload = fitting.encode_within(messages.Stt(text), "s" * 8, limit)
    assert len(payload) <= limit
    shown = json.loads(payload)["text"]
    original = text.encode(errors="replace").decode()
    assert original.startswith(shown.removesuffix("…").rstrip()) or shown == original
    return True


def check_glyphs(data: bytes) -> bool:
    """A `text_font` and a `glyph_push`: None or a bounded font; MessageError or glyphs that are right."""
    try:
        value = strict_json.loads(data)
    except ValueError:
        return False
    fields = value if isinstance(value, dict) else {}
    font = glyphs.read_text_font(fields.get("text_font", value))
    if font is not None:
        assert 0 < font.size <= glyphs.MAX_FONT_PX
        assert font.bpp in (1, 2, 4, 8)
        assert 0 < len(font.bundle) <= 64
        assert 0 < len(font.charset) <= 64
    own = font or glyphs.TextFont("b", "c", 20, 4)
    try:
        read = glyphs.read_glyph_push(fields.get("glyph_push"), own)
    except MessageError as error:
        told_briefly(error)
        return font is not None
    assert len(read) <= glyphs.MAX_GLYPHS
    assert all(len(each.bitmap) == -(-each.box_w * each.box_h * own.bpp // 8) for each in read)
    written = json.loads(glyphs.GlyphPush(own, read).json)
    assert glyphs.read_glyph_push(written, own) == read
    return True


def check_text(data: bytes) -> bool:
    """A text for a screen: the characters that glyphs are looked for are few, drawable and its own."""
    text = data.decode(errors="surrogateescape")
    for charset in ("basic", "common"):
        wanted = choice.wanted(text, charset)
        assert len(wanted) == len(set(wanted)) <= choice.MAX_WANTED
        assert {chr(codepoint) for codepoint in wanted} <= set(text)
        assert not any(0xD800 <= codepoint < 0xE000 or codepoint < 0xA1 for codepoint in wanted)
    return True


_HELLO = (
    b'{"type":"hello","version":3,"transport":"udp","features":{"mcp":true,"aec":true},"audio_params":'
    b'{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60},"text_font":{"bundle":"b",'
    b'"charset":"c","size":20,"bpp":4}}'
)
_SAYS = (
    _HELLO,
    b'{"session_id":"s","type":"listen","state":"start","mode":"auto"}',
    b'{"session_id":"s","type":"listen","state":"detect","text":"hi"}',
    b'{"session_id":"s","type":"abort","reason":"wake_word_detected"}',
    b'{"session_id":"s","type":"mcp","payload":{"jsonrpc":"2.0","id":1,"result":{}}}',
    b'{"session_id":"s","type":"goodbye"}',
    b'{"type":"new"}',
)
_MCP = (
    b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"self.a.b","description":"d","inputSchema":{"type":'
    b'"object"},"annotations":{"audience":["user"],"readOnlyHint":true}}],"nextCursor":"x"}}',
    b'{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"ok"},{"type":"image","mimeType":'
    b'"image/png","data":"aGk="}],"isError":false}}',
    b'{"id":3,"error":{"code":-32601,"message":"no"}}',
    b'{"method":"notifications/x","params":{}}',
    b'{"type":"image","image":"{\\"data\\":\\"aGk=\\"}"}',
    b'{"type":"image","image":"data:image/jpeg;base64,aGk="}',
)
_JSON = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"true",
    b"1e999",
    b"NaN",
    b"\\u0000",
    b"\\ud800",
    b"-",
)

TARGETS = (
    Target("control-json", check_strict_json, (b'{"a":[1,-2.5e3,"\\u00e9",null,true]}', b'"x"', b"0"), _JSON),
    Target(
        "control-message",
        check_message,
        _SAYS,
        (*_JSON, b'"type":', b'"hello"', b'"audio_params":', b'"sample_rate":', b'"text_font":'),
    ),
    Target(
        "control-redact",
        check_redact,
        (b'{"udp":{"key":"k","Nonce":[1]},"list":[{"token":"t"}]}', b"[1]"),
        (*_JSON, b'"key":', b'"password":', b'"TOKEN":'),
    ),
    Target("control-mcp", check_mcp, _MCP, (*_JSON, b'"image"', b'"content":', b'"isError":', b'"tools":')),
    Target(
        "control-mcp-salvage",
        check_mcp_salvage,
        (
            b'{"type":"mcp","payload":{"jsonrpc":"2.0","id":5,"error":{"message":"a "b" c","code":-1}}}',
            b'{"session_id":"","type":"mcp","payload":{"id":7,"result":{"text":"a"b"}}}',
        ),
        (*_JSON, b'"payload":', b'"error":{', b'"message":"', b'"code":'),
    ),
    Target(
        "control-command",
        check_command,
        (
            b'{"id":"1","command":"say","text":"hello"}',
            b'{"command":"call","tool":"self.a","arguments":{"x":1}}',
            b'{"command":"alert","status":"s","message":"m"}',
        ),
        (*_JSON, b'"command":', b'"device_id":', b'"end"'),
    ),
    Target(
        "control-arguments",
        check_arguments,
        (
            b'{"properties":{"volume":{"type":"integer","minimum":0,"maximum":100}},"required":["volume"]}\n'
            b'{"volume":40.0}',
            b'{"properties":{"a":{"type":"array","items":{"type":"object"}},"b":{"enum":["x"]}}}\n{"a":[{}],"b":"x"}',
            b'{"properties":{"c":{"type":"string","default":"d"}},"additionalProperties":false}\n{}',
        ),
        (*_JSON, b'"type":', b'"minimum":', b'"enum":', b'"items":', b'"required":', b'"number"', b"\n"),
    ),
    Target(
        "control-fitting",
        check_fitting,
        ("\x10One sentence. Another one! 你好。再见。".encode() * 4, b"\xff short"),
        (b". ", "。".encode(), b'"', b"\\", b"\n"),
    ),
    Target(
        "control-glyphs",
        check_glyphs,
        (
            b'{"bundle":"b","charset":"c","size":20,"bpp":4}',
            b'{"text_font":{"bundle":"b","charset":"c","size":14,"bpp":1},"glyph_push":{"v":1,"bundle":"b",'
            b'"size":14,"bpp":1,"glyphs":[{"codepoint":65,"adv_w":100,"box_w":3,"box_h":3,"ofs_x":0,"ofs_y":-1,'
            b'"bitmap":"/4A="}]}}',
        ),
        (*_JSON, b'"text_font":', b'"glyph_push":', b'"codepoint":', b'"box_w":', b'"bitmap":', b"65", b"64"),
    ),
    Target(
        "control-text",
        check_text,
        ("Mấy giờ rồi? 😀\ufe0f 鱻".encode(), b"a\xcc\x81" * 20, b"\xed\xa0\x80\xff"),
        (b"\xef\xb8\x8f", b"\xe2\x80\x8d", b"\xf0\x9f\x9a\x80", b"\xee\x80\x80"),
    ),
)
