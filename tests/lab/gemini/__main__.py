"""``python -m lab.gemini``: the simulator as a process of its own, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from lab.gemini.server import simulator


async def _run(args: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with simulator(
        host=args.host, port=args.port, admin_port=args.admin_port, certificate=args.cert, key=args.key
    ) as running:
        print(f"simulator ready: {running.url} admin {running.admin_url} cert {running.certificate}", flush=True)
        await stop.wait()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m lab.gemini", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=8443, help="port of the Live API, TLS (default 8443)")
    parser.add_argument("--admin-port", type=int, default=8444, help="port of the admin API, plain (default 8444)")
    parser.add_argument("--cert", type=Path, help="PEM certificate; without it a self-signed one is made")
    parser.add_argument("--key", type=Path, help="PEM private key of the certificate")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
