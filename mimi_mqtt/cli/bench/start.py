"""Time from the start of the `serve` process to its word that it is ready, database new and old."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_TIMEOUT_S = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --runs."""
    parser.add_argument(
        "--runs", type=int, default=5, choices=range(1, 21), metavar="N", help="runs (default 5)"
    )


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Medians in seconds. `python_s` is the bare interpreter, for comparison in the same run."""
    with tempfile.TemporaryDirectory() as folder:
        first = _serve_once(Path(folder))
        warm = [_serve_once(Path(folder)) for _ in range(args.runs)]
    bare = [_bare_python() for _ in range(args.runs)]
    return {
        "bench": "start",
        "ready_first_s": round(first, 3),
        "ready_s": round(statistics.median(warm), 3),
        "python_s": round(statistics.median(bare), 3),
        "ratio_to_python": round(statistics.median(warm) / statistics.median(bare), 1),
        "runs": args.runs,
    }


def _bare_python() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.monotonic() - began


def _serve_once(folder: Path) -> float:
    """One start and orderly stop in `folder`; the seconds until it was ready."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MIMI_")}
    environ |= {
        "MIMI_SERVER__DATA_DIR": str(folder / "data"),
        "MIMI_MQTT__BIND": "127.0.0.1:0",
        "MIMI_UDP__BIND": "127.0.0.1:0",
        "MIMI_HTTP__BIND": "127.0.0.1:0",
    }
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "mimi_mqtt", "serve"],
        env=environ, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        for line in process.stdout or ():
            if "is ready" in line:
                return time.monotonic() - began
            if time.monotonic() - began > _TIMEOUT_S:
                break
        raise SystemExit("the server did not become ready: run `mimi-mqtt serve` to see why")
    finally:
        process.terminate()
        process.wait(_TIMEOUT_S)
