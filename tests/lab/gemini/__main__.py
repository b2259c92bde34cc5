"""``python -m lab.gemini``: the simulator as a process of its own, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
from pathlib import Path

from lab.gemini.certificates import NAMES, write_certificate
from lab.gemini.config import Behaviour
from lab.gemini.server import simulator


async def _run(args: argparse.Namespace, behaviour: Behaviour) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with simulator(
        behaviour, host=args.host, port=args.port, admin_port=args.admin_port, certificate=args.cert, key=args.key
    ) as running:
        print(f"simulator ready: {running.url} admin {running.admin_url} cert {running.certificate}", flush=True)
        await stop.wait()


def _behaviour(settings: list[str]) -> Behaviour:
    values = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            values[name] = json.loads(value)
        except ValueError:
            raise ValueError(f"--set {setting}: use NAME=NUMBER, true or false") from None
    behaviour = Behaviour()
    behaviour.update(values)
    return behaviour


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m lab.gemini", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=8443, help="port of the Live API, TLS (default 8443)")
    parser.add_argument("--admin-port", type=int, default=8444, help="port of the admin API, plain (default 8444)")
    parser.add_argument("--cert", type=Path, help="PEM certificate; without it a self-signed one is made")
    parser.add_argument("--key", type=Path, help="PEM private key of the certificate")
    parser.add_argument(
        "--write-cert",
        type=Path,
        metavar="FOLDER",
        help=f"write a self-signed tls.crt and tls.key for {', '.join(NAMES)} and 127.0.0.1 to FOLDER, and use them",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="behaviour of every session, such as connection_limit_s=60; repeatable; README.md lists the names",
    )
    args = parser.parse_args()
    try:
        behaviour = _behaviour(args.set)
    except ValueError as error:
        parser.error(str(error))
    if (args.cert is None) != (args.key is None):
        parser.error("--cert and --key belong together: give both, or --write-cert, or none")
    if args.write_cert:
        if args.cert:
            parser.error("--write-cert makes a certificate: do not give --cert and --key too")
        args.write_cert.mkdir(parents=True, exist_ok=True)
        args.cert, args.key = write_certificate(args.write_cert)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # It tells of every connection at INFO.
    logging.getLogger("websockets").setLevel(logging.WARNING)
    asyncio.run(_run(args, behaviour))


if __name__ == "__main__":
    main()
