"""Another stack is another line of broker.yaml, and nothing else."""

from pathlib import Path

import pytest

from tests.e2e.conftest import MakeServer, Server
from tests.e2e.vendor_process import FIRST, SECOND, VendorProcess

pytestmark = pytest.mark.timeout(300)

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = """\
providers:
  stt: offline
  llm: offline
  tts: offline
  options:
    custom: {{base_url: "{base_url}", api_key: "{api_key}", llm_model: any}}
    openai: {{base_url: "{base_url}", api_key: "{api_key}"}}
"""


async def reply(server: Server) -> str:
    """What is answered by a server that is started with its broker.yaml as it is now."""
    await server.start()
    done = await server.run("device", "--ota", server.ota, "--say", "what time is it", "--json")
    assert done.code == 0, done.out + done.err + server.log
    await server.stop()
    words: str = done.summary["reply"]
    return words


async def test_an_example_is_a_complete_set_up(make_server: MakeServer) -> None:
    vendor = VendorProcess()
    await vendor.start()
    where = {"OPENAI_BASE_URL": vendor.options["base_url"], "OPENAI_API_KEY": vendor.options["api_key"]}
    server = make_server(**where)
    (server.folder / "broker.yaml").write_text((EXAMPLES / "openai.yaml").read_text())
    try:
        assert await reply(server) == f"{FIRST} {SECOND}"
    finally:
        await vendor.kill()


async def test_one_line_changes_who_thinks_and_another_who_speaks(make_server: MakeServer) -> None:
    vendor = VendorProcess()
    await vendor.start()
    server = make_server()
    config = server.folder / "broker.yaml"
    try:
        config.write_text(CONFIG.format(**vendor.options))
        assert "It is" in await reply(server)
        config.write_text(config.read_text().replace("  llm: offline\n", "  llm: custom\n"))
        assert await reply(server) == f"{FIRST} {SECOND}"
        config.write_text(config.read_text().replace("  tts: offline\n", "  tts: openai\n"))
        assert await reply(server) == f"{FIRST} {SECOND}"
    finally:
        await vendor.kill()
