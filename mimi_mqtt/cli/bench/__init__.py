"""Measures speed and memory; each bench prints one JSON object with --json.

The load comes from a process of its own, to this machine's loopback only, bounded in count and time. A bench
is a module with `configure(parser)` and `measure(args) -> dict`.
"""

import argparse
import json
from importlib import import_module

_BENCHES = {
    "api": "OTA requests a second, and answers of the REST API, with a large fleet and a year of turns",
    "gate": "MQTT connects a second, memory per idle device, hellos at once",
    "messages": "CPU of a message between general clients, by both versions, and with many subscriptions",
    "udp": "CPU per datagram, and many devices talking at once",
    "websocket": "WebSockets: connects a second, memory, hellos, CPU per frame up and down",
    "turn": "what the server itself adds to a turn, and the downlink's pace",
    "voice": "how well recognisers hear, how well voices are understood, and how long people wait",
    "turns": "how soon, and how often too soon, speech is taken for over; barge-in and echo",
    "start": "time from `serve` to ready",
    "greetings": "how soon and how evenly many devices are greeted that are woken at once",
    "attacks": "how soon devices are answered while others try to stop the server",
    "soak": "whether anything grows while devices talk, interrupt, vanish and come back",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the benches and their common arguments."""
    benches = parser.add_subparsers(dest="bench", required=True, metavar="BENCH")
    for bench, summary in _BENCHES.items():
        bench_parser = benches.add_parser(bench, help=summary, description=summary)
        bench_parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        import_module(f"mimi_mqtt.cli.bench.{bench}").configure(bench_parser)


def run(args: argparse.Namespace) -> int:
    """Runs one bench and prints its figures."""
    figures: dict[str, object] = import_module(f"mimi_mqtt.cli.bench.{args.bench}").measure(args)
    if args.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:40} {value}")
    return 0
