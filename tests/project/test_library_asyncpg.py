"""asyncpg on poolio.EventLoop, unchanged, against real peers: every byte is checked."""

import asyncio
import contextlib
import glob
import io
import os
import pwd
import shutil
import signal
import ssl
import subprocess
import tempfile

import pytest
import trustme
from kit.libraries import LARGE, assert_poolio, library, pieces_of, reserved_port, run, serving

asyncpg = library("asyncpg")
every_wire = pytest.mark.parametrize("wire", ["unix", "tcp", "tls"])


def postgres_program(name):
    """Where it is: in PATH, or in the newest of Debian's folders."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[4]))
    program = shutil.which(name) or shutil.which(name, path=os.pathsep.join(reversed(folders)))
    if program is None:
        pytest.skip(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql)")
    return program


def other_user():
    """How to start PostgreSQL, which refuses to be root: as whom."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL refuses to be root, and there is no user postgres or nobody")


@pytest.fixture(scope="module")
def cluster():
    """A folder with a new database cluster in "data", and a certificate; both are those of the user who serves it."""
    initdb, user = postgres_program("initdb"), other_user()
    with tempfile.TemporaryDirectory(prefix="poolio-") as folder:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{folder}/authority.pem")
        certificate = f"{folder}/certificate.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        os.chmod(certificate, 0o600)
        if user:
            for path in (folder, certificate):
                os.chown(path, user["user"], user["group"])
        command = (initdb, "--pgdata", f"{folder}/data", "--username", "postgres", "--auth", "trust", "--no-locale",
                   "--encoding", "UTF8", "--no-sync")
        subprocess.run(command, cwd=folder, timeout=100, check=True, stdout=subprocess.DEVNULL, **user)
        yield folder


@contextlib.asynccontextmanager
async def postgres(asyncpg, cluster, wire):
    """Start PostgreSQL; yields a pool of connections to it."""
    async def check(connection):
        assert_poolio(connection._transport)

    with reserved_port() as port:
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={cluster}", "fsync=off"]
        if wire == "tls":
            settings += ["ssl=on", *(f"ssl_{part}_file={cluster}/certificate.pem" for part in ("cert", "key"))]
            # without this the client asks for TLS on "tcp", too, is refused, and goes on with the same transport
            options = {"ssl": ssl.create_default_context(cafile=f"{cluster}/authority.pem")}
        else:
            options = {}
        command = [postgres_program("postgres"), "-D", f"{cluster}/data", "-p", str(port)]
        for setting in settings:
            command += ["-c", setting]
        host = cluster if wire == "unix" else "127.0.0.1"
        async with (
            serving(command, "ready to accept connections", signal.SIGINT, cwd=cluster, **other_user()),
            asyncpg.create_pool(host=host, port=port, user="postgres", database="postgres", init=check, min_size=1,
                                max_size=8, **options) as pool,
        ):
            yield pool


@every_wire
def test_asyncpg_prepared_statement_takes_and_returns_what_it_was_given(asyncpg, cluster, wire):
    async def main():
        async with postgres(asyncpg, cluster, wire) as pool, pool.acquire() as connection:
            tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert await connection.fetchval(tls) is (wire == "tls")
            statement = await connection.prepare("SELECT $1::int8, $2::text, $3::bytea, $4::float8[]")
            for number in range(100):
                row = (number << 40, "ünïcode" * number, LARGE[:number], [number / 7] * number)
                assert tuple(await statement.fetchrow(*row)) == row

    run(main)


@every_wire
def test_asyncpg_transaction_commits_or_leaves_nothing(asyncpg, cluster, wire):
    async def main():
        async with postgres(asyncpg, cluster, wire) as pool, pool.acquire() as connection:
            await connection.execute("CREATE TEMPORARY TABLE t (n int)")
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with connection.transaction():
                    await connection.execute("INSERT INTO t VALUES (1)")
                    await connection.execute("SELECT 1 / 0")
            async with connection.transaction():
                await connection.executemany("INSERT INTO t VALUES ($1)", [(number,) for number in range(2, 1000)])
                numbers = [row["n"] async for row in connection.cursor("SELECT n FROM t ORDER BY n", prefetch=7)]
            assert numbers == list(range(2, 1000))

    run(main)


@every_wire
def test_asyncpg_copies_and_large_values_come_back(asyncpg, cluster, wire):
    async def main():
        async with postgres(asyncpg, cluster, wire) as pool, pool.acquire() as connection:
            assert await connection.fetchval("SELECT $1::bytea", LARGE) == LARGE
            await connection.execute("CREATE TEMPORARY TABLE t (n int, piece bytea)")
            rows = list(enumerate(pieces_of(LARGE)))
            await connection.copy_records_to_table("t", records=rows)
            assert [tuple(row) for row in await connection.fetch("SELECT n, piece FROM t ORDER BY n")] == rows
            out, again = io.BytesIO(), io.BytesIO()
            await connection.copy_from_table("t", output=out, format="binary")
            await connection.execute("TRUNCATE t")
            out.seek(0)
            await connection.copy_to_table("t", source=out, format="binary")
            await connection.copy_from_table("t", output=again, format="binary")
            assert again.getvalue() == out.getvalue()
            assert len(again.getvalue()) > len(LARGE)

    run(main)


@every_wire
def test_asyncpg_pool_serves_many_tasks_at_once(asyncpg, cluster, wire):
    async def main():
        async with postgres(asyncpg, cluster, wire) as pool:
            async def ask(size):
                assert await pool.fetchval("SELECT $1::bytea", LARGE[:size]) == LARGE[:size]

            await asyncio.gather(*(ask(size) for size in range(0, 200_000, 1001)))

    run(main)


@every_wire
def test_asyncpg_connection_goes_on_after_a_query_that_timed_out(asyncpg, cluster, wire):
    async def main():
        async with postgres(asyncpg, cluster, wire) as pool, pool.acquire() as connection:
            with pytest.raises(TimeoutError):
                await connection.execute("SELECT pg_sleep(100)", timeout=0.1)
            assert await connection.fetchval("SELECT 1") == 1

    run(main)


@every_wire
def test_asyncpg_listener_hears_what_another_connection_says(asyncpg, cluster, wire):
    async def main():
        heard = asyncio.Queue()

        def hear(connection, speaker, channel, text):
            heard.put_nowait(text)

        texts = [str(number) for number in range(100)]
        async with postgres(asyncpg, cluster, wire) as pool, pool.acquire() as listener:
            await listener.add_listener("news", hear)
            for text in texts:
                await pool.execute("SELECT pg_notify('news', $1)", text)
            assert [await heard.get() for _ in texts] == texts
            await listener.remove_listener("news", hear)

    run(main)
