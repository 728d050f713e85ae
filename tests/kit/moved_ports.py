"""Owns how a program with fixed ports runs on free ones: `python moved_ports.py program.py` or `... -m module`.

Documentation names ports (8888), tests take what is free. A socket that is bound to a port is bound to a free one of
127.0.0.1 instead, further ones of the program to the same, and a connection to the named one goes there. PORTS tells a
program which ports have moved so far ("8888=41231 ..."); each that it opens itself it writes to the descriptor in
PORTS_FD, a line each, once it is open.
"""

import contextlib
import os
import runpy
import socket
import sys
import types

PORTS, PORTS_FD = "POOLIO_DOCS_PORTS", "POOLIO_DOCS_PORTS_FD"


def move(ports, opened, replace=setattr):
    """Move what is bound from now on. `ports`: named -> real, kept up to date; opened(named) is called for each."""
    bind, connect, listen = socket.socket.bind, socket.socket.connect, socket.socket.listen
    mine, named = {}, {}

    def moved_bind(sock, address):
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or address[1] == 0 or address[1] in named:
            return bind(sock, address)                  # in named: another socket beside one that has moved
        bind(sock, ("127.0.0.1" if sock.family == socket.AF_INET else "::1", mine.get(address[1], 0)))
        real = sock.getsockname()[1]
        ports[address[1]] = mine[address[1]] = real
        named[real] = address[1]
        if sock.type == socket.SOCK_DGRAM:
            opened(address[1])

    def moved_listen(sock, *backlog):
        listen(sock, *backlog)
        if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.getsockname()[1] in named:
            opened(named[sock.getsockname()[1]])

    def moved_connect(sock, address):
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            address = (address[0], ports.get(address[1], address[1]), *address[2:])
        return connect(sock, address)

    replace(socket.socket, "bind", moved_bind)
    replace(socket.socket, "listen", moved_listen)
    replace(socket.socket, "connect", moved_connect)


def main(program):
    ports = {int(port): int(real) for port, real in (pair.split("=") for pair in os.environ.get(PORTS, "").split())}
    descriptor = int(os.environ[PORTS_FD])

    def tell(port):
        with contextlib.suppress(BrokenPipeError):      # the starter reads the first one only
            os.write(descriptor, f"{port}={ports[port]}\n".encode())

    move(ports, tell)
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        sys.path.insert(0, os.path.dirname(os.path.abspath(program[0])))
        module = sys.modules["__main__"] = types.ModuleType("__main__")     # run_path()'s does not live until exit
        module.__file__ = program[0]
        with open(program[0], encoding="utf-8") as source:
            exec(compile(source.read(), program[0], "exec", dont_inherit=True), vars(module))


if __name__ == "__main__":
    main(sys.argv[1:])
