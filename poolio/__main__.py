"""`python -m poolio`: its commands are the modules of that name in poolio.commands."""

import argparse
import sys

from poolio.commands import bench, echo, info


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m poolio", description="Tools that come with poolio.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("bench", add_help=False, help="benchmarks beside asyncio, uvloop and C: tables, HTML, JSON")
    commands.add_parser("echo", add_help=False, help="an echo server on poolio's transports: --tls, --port, ...")
    commands.add_parser("info", help="build, interpreter, TLS, limits and the default pool's statistics")
    if len(sys.argv) == 1:
        parser.print_help()
        return 0
    arguments, rest = parser.parse_known_args()
    if arguments.command == "bench":
        return bench.main(rest)
    if arguments.command == "echo":
        return echo.main(rest)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return info.main()


if __name__ == "__main__":
    sys.exit(main())
