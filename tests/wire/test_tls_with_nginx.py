"""poolio's TLS and nginx's: nginx as the server in front of a plain one, and as the client of a server of poolio's."""

import contextlib
import shutil

import pytest
from kit.others import MEBIBYTE, VERSIONS, echo_body, pem_files, program, said, trusting
from kit.pairs import on
from kit.tlspairs import each_engine
from kit.wires import SERVER_TLS

import poolio

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")

# It listens on `nginx` in its folder and hands on to `behind`. Its own process is the worker, so that it can be killed.
CONFIGURATION = """
daemon off; master_process off; pid pid; error_log stderr notice;
events {{}}
http {{
    access_log off; client_max_body_size 0; client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    ssl_certificate {folder}/pem; ssl_certificate_key {folder}/pem; ssl_protocols TLSv{version};
    proxy_ssl_trusted_certificate {folder}/authority; proxy_ssl_verify on; proxy_ssl_name localhost;
    proxy_ssl_server_name on; proxy_ssl_protocols TLSv{version};
    server {{
        listen unix:{folder}/nginx {listens};
        location / {{ proxy_pass {behind}://unix:{folder}/behind:/; }}
    }}
}}
"""
REQUEST = b"POST / HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(MEBIBYTE) + MEBIBYTE


@contextlib.asynccontextmanager
async def nginx(handler, behind, listens, **options):
    """The folder of an nginx before a server on a unix socket that calls handler(reader, writer)."""
    with pem_files() as folder:
        text = CONFIGURATION.format(folder=folder, version=options.pop("version"), behind=behind, listens=listens)
        (folder / "conf").write_text(text)
        server = await poolio.start_unix_server(handler, folder / "behind", **options)
        try:
            async with program("nginx", "-e", "stderr", "-p", folder, "-c", "conf") as process:
                await said(process, b"event method")
                yield folder
        finally:
            server.close()
            await server.wait_closed()


async def answer_to(reader, writer):
    """The answer's head and body, after which it has closed."""
    writer.write(REQUEST)
    answer = bytes(await reader.read())
    writer.close()
    await writer.wait_closed()
    return answer.split(b"\r\n\r\n", 1)


@each_engine
@pytest.mark.parametrize("version", VERSIONS)
@on("poolio")
async def test_nginx_server_takes_and_gives_a_mebibyte(engine, version, force):
    force(engine)
    async with nginx(echo_body, "http", "ssl", version=version) as folder:
        reader, writer = await poolio.open_unix_connection(
            folder / "nginx", ssl=trusting(), server_hostname="localhost")
        assert writer.get_extra_info("ssl_object").version() == f"TLSv{version}"
        assert writer.get_extra_info("tls_engine") == engine
        head, body = await answer_to(reader, writer)
    assert b" 200 " in head and body == MEBIBYTE


@each_engine
@pytest.mark.parametrize("version", VERSIONS)
@on("poolio")
async def test_nginx_client_takes_and_gives_a_mebibyte_and_resumes_its_session(engine, version, force):
    force(engine)
    resumed = []

    async def handler(reader, writer):
        tls = writer.get_extra_info("ssl_object")
        assert tls.version() == f"TLSv{version}"
        resumed.append(tls.session_reused)
        await echo_body(reader, writer)

    async with nginx(handler, "https", "", version=version, ssl=SERVER_TLS) as folder:
        for _ in range(2):
            head, body = await answer_to(*await poolio.open_unix_connection(folder / "nginx"))
            assert b" 200 " in head and body == MEBIBYTE
    assert resumed == [False, True]
