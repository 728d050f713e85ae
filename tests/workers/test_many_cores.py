"""docs/many-cores.md and examples/workers.py as they stand: its programs serve, its balancers balance and go round."""

import contextlib
import pathlib
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys

import pytest
import trustme
from kit.serving import SECONDS, Serving, eventually, greeting_of, needs_workers

pytestmark = needs_workers

ROOT = pathlib.Path(__file__).parent.parent.parent
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / "many-cores.md").read_text(), re.M | re.S)
PROGRAMS = [text for language, text in BLOCKS if language == "python"]


def block(language):
    (text,) = [text for name, text in BLOCKS if name == language]
    return text


@contextlib.contextmanager
def program(number, certificate=""):
    """A program of the page, on free ports of 127.0.0.1."""
    text, places = re.subn(r"0\.0\.0\.0:\d+", "127.0.0.1:0", PROGRAMS[number])
    assert places
    text = text.replace("server.pem", str(certificate))
    ready = "import functools\npoolio.serve = functools.partial(poolio.serve, on_ready=ready)\n"
    with Serving(ready + text) as server:
        yield server, server.ready()
        if server.process.returncode is None:
            server.end(signal.SIGTERM)
        assert (server.process.returncode, "Traceback" in server.log) == (0, False), server.log


def ask(port, request, answer, wrap=lambda sock: sock):
    with wrap(socket.create_connection(("127.0.0.1", port), timeout=SECONDS)) as client:
        client.sendall(request)
        with client.makefile("rb") as file:
            assert file.read(len(answer)) == answer


def test_first_program_serves():
    with program(0) as (_, (port,)):
        ask(port, b"hello", b"hello")


def test_program_with_an_end_of_its_own_closes_idle_connections():
    with program(1) as (server, (port,)), socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
        client.sendall(b"one\n")
        assert client.recv(8, socket.MSG_WAITALL) == b"got one\n"
        server.signal(signal.SIGTERM)
        assert client.recv(1) == b""
        server.end()
    assert "cut" not in server.log


def test_program_with_tls_and_datagrams_serves_both(tmp_path):
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    with program(2, tmp_path / "server.pem") as (_, (tcp, udp)):
        ask(tcp, b"hello", b"hello", lambda sock: trusting.wrap_socket(sock, server_hostname="localhost"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.settimeout(SECONDS)
            flow.sendto(b"datagram", ("127.0.0.1", udp))
            assert flow.recv(100) == b"datagram"


def test_program_with_aiohttp_serves():
    pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install 'poolio[libraries]'")
    with program(3) as (_, (port,)):
        ask(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 OK\r\n")


def test_example_serves_until_it_is_interrupted():
    example = subprocess.Popen([sys.executable, ROOT / "examples" / "workers.py", "0"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with example:
        try:
            port = int(re.search(r":(\d+),", example.stdout.readline())[1])
            with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
                client.sendall(b"hello")
                with client.makefile("rb") as file:
                    assert re.fullmatch(rb"\d+: hello", file.read(len(f"{example.pid}: hello")))
            example.send_signal(signal.SIGINT)
            output, errors = example.communicate(timeout=SECONDS)
        finally:
            example.kill()
    assert (example.returncode, output, errors) == (0, "", "")


@contextlib.contextmanager
def balancing(command, config):
    """A balancer that runs with this config, as the last of its arguments."""
    file = config.parent / "stderr"
    with file.open("w") as errors:
        process = subprocess.Popen([*command, config], stdout=errors, stderr=errors)
    try:
        yield lambda: process.poll() is None or pytest.fail(file.read_text())
    finally:
        process.terminate()
        process.wait(SECONDS)


# The block's language, the command, where it listens on the page, and how it does on a unix socket. nginx removes its
# pid file at the end, HAProxy has no highlighter.
BALANCERS = {
    "nginx": ("nginx", "nginx -e stderr -g 'daemon off; pid {}/pid;' -c", "listen 8888;", "listen unix:{};"),
    "haproxy": ("none", "haproxy -db -f", "bind :8888", "bind unix@{}"),
}


@pytest.mark.parametrize("name", BALANCERS)
def test_balancer_spreads_over_machines_and_goes_round_one_that_ends(name, tmp_path):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: on Debian, apt-get install {name}")
    if name == "nginx" and not has_stream_module():
        pytest.skip("nginx has no stream module: on Debian, apt-get install libnginx-mod-stream")
    language, command, listen, listen_here = BALANCERS[name]
    machine = 'poolio.serve(app, "127.0.0.1:0", workers=2, on_ready=ready)\n'
    path = tmp_path / "socket"

    @contextlib.contextmanager
    def connect():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SECONDS)
            client.connect(str(path))
            yield client

    def serves():
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError), connect():
            return True

    def worker():
        with connect() as client:
            return greeting_of(client)

    with Serving(machine) as one, Serving(machine) as two:
        config = block(language)
        for there, here in ((listen, listen_here.format(path)), ("10.0.0.11:8888", f"127.0.0.1:{one.port()}"),
                            ("10.0.0.12:8888", f"127.0.0.1:{two.port()}")):
            assert config.count(there) == 1
            config = config.replace(there, here)
        file = tmp_path / "config"
        file.write_text(config)
        with balancing(shlex.split(command.format(tmp_path)), file) as runs:
            eventually(lambda: runs() and serves())
            workers = set()
            eventually(lambda: workers.add(worker()) or len(workers) == 4)
            with connect() as busy:
                pid = greeting_of(busy)
                ending, other = (one, two) if owner_of(pid) == one.process.pid else (two, one)
                ending.signal(signal.SIGTERM)
                ending.until_logged("no new connections")
                assert {owner_of(worker()) for _ in range(10)} == {other.process.pid}
                busy.sendall(b"still served")
                assert busy.recv(12, socket.MSG_WAITALL) == b"still served"
            assert ending.end()[0] == 0
            assert {owner_of(worker()) for _ in range(20)} == {other.process.pid}


def has_stream_module():
    return "--with-stream " in subprocess.run(["nginx", "-V"], capture_output=True, text=True).stderr + " " \
        or any(pathlib.Path("/etc/nginx/modules-enabled").glob("*stream*"))


def owner_of(pid):
    """The parent of a worker."""
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
