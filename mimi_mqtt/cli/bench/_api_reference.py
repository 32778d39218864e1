"""The reference of `bench api`: a bare Starlette application with one route that answers with fixed JSON."""

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def answer(_: Request) -> JSONResponse:
    """About as much as a device is told by OTA."""
    return JSONResponse({"server_time": {"timestamp": 1, "timezone_offset": 0}, "text": "x" * 400})


async def answer_post(request: Request) -> JSONResponse:
    """The same, when the body was read."""
    await request.body()
    return await answer(request)


def main() -> None:
    """Serves on a free port of 127.0.0.1, which is the first line of the output, until it is ended."""
    app = Starlette(routes=[Route("/", answer), Route("/", answer_post, methods=["POST"])])
    sock = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY on these alone
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    print(sock.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run([sock])


if __name__ == "__main__":
    main()
