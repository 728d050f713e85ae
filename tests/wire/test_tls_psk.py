"""TLS with keys that both sides have before (PSK), whose callbacks OpenSSL calls: CPython has them since 3.13."""

import ssl
import sys

import pytest
from kit.pairs import PooledRecorder, collect_errors, listed_in, on
from kit.tlspairs import each_engine
from kit.wires import BLOCK, OURS, eventually, net

pytestmark = [
    pytest.mark.skipif(sys.version_info < (3, 13), reason="SSLContext has no callbacks for PSK before CPython 3.13"),
    pytest.mark.skipif(not getattr(ssl, "HAS_PSK", False), reason="this OpenSSL has no PSK"),
    pytest.mark.usefixtures("default_pool_is_left_as_it_was"),
]
KEY = b"0123456789abcdef"
each_version = pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))


def contexts(version, called, key_of_client=KEY):
    """Of the server and of the client; what their callbacks are asked goes into the list `called`."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    for context in (server, client):
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("PSK")

    def of_client(hint):
        called.append(hint)
        return "somebody", key_of_client

    def of_server(identity):
        called.append(identity)
        return KEY

    client.set_psk_client_callback(of_client)
    server.set_psk_server_callback(of_server, "which")
    return server, client


@each_engine
@each_version
@on(*OURS)
async def test_both_sides_have_the_key_data_goes_both_ways(engine, version, force):
    force(engine)
    called, made = [], []
    for_server, for_client = contexts(version, called)
    server = await net().create_server(listed_in(made, PooledRecorder), "127.0.0.1", 0, ssl=for_server)
    transport, client = await net().create_connection(PooledRecorder, *server.sockets[0].getsockname(), ssl=for_client)
    assert "somebody" in called
    assert transport.get_extra_info("tls_engine") == engine
    transport.write(BLOCK[:300_000])
    await eventually(lambda: made and len(made[0].received) == 300_000)
    assert made[0].received == BLOCK[:300_000]
    made[0].transport.write(BLOCK[:300_000])
    await eventually(lambda: len(client.received) == 300_000)
    assert client.received == BLOCK[:300_000]
    transport.close()
    assert await client.ended is None
    assert await made[0].ended is None
    server.close()
    await server.wait_closed()


@each_engine
@each_version
@on(*OURS)
async def test_another_key_fails_the_handshake(engine, version, force):
    force(engine)
    collect_errors()
    for_server, for_client = contexts(version, [], b"another key")
    server = await net().create_server(PooledRecorder, "127.0.0.1", 0, ssl=for_server)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await net().create_connection(PooledRecorder, *server.sockets[0].getsockname(), ssl=for_client)
    server.close()
    await server.wait_closed()
