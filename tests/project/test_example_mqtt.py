"""The MQTT broker of docs/protocols.md under mosquitto's clients: contents, QoS 0 and 1, fan-out, malformed packets."""

import contextlib
import pathlib
import re
import shutil
import socket
import subprocess
import threading

import pytest
from kit.examples import serving  # noqa: F401 (a fixture)
from kit.pairs import needs_own_transports

PAGE = pathlib.Path(__file__).parent.parent.parent / "docs" / "protocols.md"
SERVE = """
import contextlib
import logging

logging.basicConfig(filename={log!r}, level=logging.INFO)

async def main():
    server = await poolio.create_server(Client, "127.0.0.1", 0)
    print(f"listening on 127.0.0.1:{{server.sockets[0].getsockname()[1]}}", flush=True)
    await server.serve_forever()

with contextlib.suppress(KeyboardInterrupt):
    poolio.run(main())
"""
pytestmark = needs_own_transports
needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None, reason="mosquitto's clients are not installed (Debian: mosquitto-clients)")


@pytest.fixture
def broker(serving, tmp_path):  # noqa: F811
    """The port of the page's broker, and the file of its log."""
    code, = [block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "class Client" in block]
    log = tmp_path / "log"
    (tmp_path / "broker.py").write_text(code + SERVE.format(log=str(log)))
    return serving(tmp_path / "broker.py"), log


@contextlib.contextmanager
def subscribed(port, *options):
    """mosquitto_sub, when the broker has answered its subscription."""
    command = ("stdbuf", "-oL", "mosquitto_sub", "-d", "-h", "127.0.0.1", "-p", str(port), *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
        for line in client.stdout:
            if line.startswith("Subscribed"):
                break
        try:
            yield client
        finally:
            client.kill()


def received(client):
    """What it prints until it has its number of messages, without what it says of itself."""
    said, _ = client.communicate(timeout=30)
    return [line for line in said.splitlines() if not re.match(r"Client |Subscribed", line)]


def publish(port, *options, text=None):
    subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), *options], input=text, check=True, timeout=30,
                   text=True)


@needs_mosquitto
@pytest.mark.parametrize("published", "01")
@pytest.mark.parametrize("subscribed_at", "012")
def test_messages_arrive_whole_and_in_order_at_each_qos(broker, published, subscribed_at):
    port, _ = broker
    with subscribed(port, "-t", "news", "-q", subscribed_at, "-C", "200") as client:
        publish(port, "-t", "news", "-q", published, "-l", text="".join(f"message {number}\n" for number in range(200)))
        assert received(client) == [f"message {number}" for number in range(200)]


@needs_mosquitto
def test_topics_are_named_by_wildcards(broker):
    port, _ = broker
    filters = ("-t", "a/#", "-t", "b/+/c", "-t", "$x.y")
    with subscribed(port, *filters, "-v", "-C", "5") as client:
        for topic in ("b/c", "b/1/c", "a", "b/1/2/c", "a/1/2", "$xzy", "$x.y", "ab", "b//c", "b/1/c/d"):
            publish(port, "-t", topic, "-m", "text")
        assert received(client) == [f"{topic} text" for topic in ("b/1/c", "a", "a/1/2", "$x.y", "b//c")]


@needs_mosquitto
def test_large_binary_message_reaches_each_of_three(broker, tmp_path):
    port, _ = broker
    path = tmp_path / "message"
    path.write_text("x".join(map(str, range(150_000))))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(subscribed(port, "-t", "t", "-C", "1", "-q", qos)) for qos in "011"]
        publish(port, "-t", "t", "-q", "1", "-f", str(path))
        assert all(received(client) == [path.read_text()] for client in clients)


def test_malformed_connections_are_a_line_each_and_no_traceback(broker):
    port, log = broker

    def connect(sent):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            while client.recv(100):
                pass

    wrong = (b"\xf0\0", b"\x30\x01a", b"\x82\x03\0\1\0", b"\x30\xff\xff\xff\xff\1", b"\x30\x05ab", b"\x82\x04\0\1\0\5")
    threads = [threading.Thread(target=lambda: [connect(wrong[number % len(wrong)] * 3) for number in range(100)])
               for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = log.read_text().splitlines()
    assert len(said) == 1000
    assert all(re.match(r"INFO:poolio:closing the connection of \('127.0.0.1', \d+\): ", line) for line in said)


SUBSCRIBE = b"\x82\x06\0\1\0\1t\0"
MESSAGE = b"\x30\x83\x80\x10\0\1t" + bytes(1 << 18)


def test_subscriber_that_does_not_read_is_cut_off_and_the_others_get_all(broker):
    port, _ = broker
    with contextlib.ExitStack() as stack:
        slow, quick, publisher = (stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
                                  for _ in range(3))
        unheard, heard = (stack.enter_context(each.makefile("rb")) for each in (slow, quick))
        for subscriber, answers in (slow, unheard), (quick, heard):
            subscriber.sendall(SUBSCRIBE)
            assert answers.read(5) == b"\x90\x03\0\1\0"
        for _ in range(150):        # 37 MiB, more than a socket holds and the broker keeps
            publisher.sendall(MESSAGE)
            assert heard.read(len(MESSAGE)) == MESSAGE
        assert len(unheard.read()) < 150 * len(MESSAGE)
