"""gunicorn's workers on poolio.EventLoop, unchanged: uvicorn's, aiohttp's, and its own for ASGI.

Of uvicorn's worker the loop is a setting. The two others ask asyncio for a new loop, so a policy gives them poolio's:
there are none any more in CPython 3.16, and 3.14 warns of them.
"""

import asyncio
import contextlib
import http.client
import os
import signal
import sys

import pytest
from kit.libraries import LARGE, library, run, serving

gunicorn = library("gunicorn")
APPS = """
import asyncio
import os

def who():
    loop = asyncio.get_running_loop()
    return f"{type(loop).__module__}.{type(loop).__name__} {os.getpid()}"

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        for word in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{word}.complete"})
        return
    body = []
    while not body or message["more_body"]:
        message = await receive()
        body.append(message.get("body", b""))
        message.setdefault("more_body", False)
    body = b"".join(body)
    headers = {"content-length": len(body), "who": who()}
    headers = [(name.encode(), str(value).encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

async def make_web():
    from aiohttp import web

    async def echo(request):
        return web.Response(body=await request.read(), headers={"who": who()})

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/", echo)
    return app
"""
WORKERS = """
import asyncio
import poolio

def set_policy():
    class Policy(asyncio.DefaultEventLoopPolicy):
        _loop_factory = poolio.EventLoop

    asyncio.set_event_loop_policy(Policy())

def uvicorn():
    import uvicorn_worker

    class Worker(uvicorn_worker.UvicornWorker):
        CONFIG_KWARGS = {"loop": "poolio:new_event_loop", "http": "httptools"}

    return Worker

def aiohttp():
    import aiohttp.worker
    set_policy()
    return aiohttp.worker.GunicornWebWorker

def asgi():
    import gunicorn.workers.gasgi
    set_policy()
    return gunicorn.workers.gasgi.ASGIWorker

import os
Worker = globals()[os.environ["POOLIO_TEST_WORKER"]]()
"""
NEEDS = {"uvicorn": ("uvicorn_worker", "httptools"), "aiohttp": ("aiohttp",), "asgi": ("gunicorn.workers.gasgi",)}
every_worker = pytest.mark.parametrize("worker", [
    "uvicorn", *(pytest.param(name, marks=pytest.mark.skipif(
        sys.version_info >= (3, 14), reason=f"gunicorn's worker for {name} asks a policy for its loop"))
        for name in ("aiohttp", "asgi"))])


@contextlib.asynccontextmanager
async def gunicorn_port(folder, worker, processes=1, stop=signal.SIGTERM):
    for module in NEEDS[worker]:
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'poolio[libraries]'")
    (folder / "apps.py").write_text(APPS)
    (folder / "workers.py").write_text(WORKERS)
    command = (
        sys.executable, "-m", "gunicorn", "--chdir", folder, "-b", "127.0.0.1:0", "-w", str(processes),
        "-k", "workers.Worker", "--no-control-socket", "--asgi-loop", "asyncio", "--graceful-timeout", "5",
        "apps:make_web" if worker == "aiohttp" else "apps:asgi")
    environment = os.environ | {"PYTHONPATH": str(folder), "POOLIO_TEST_WORKER": worker}
    async with serving(command, r"Listening at: http://127\.0\.0\.1:(\d+)", stop, env=environment) as match:
        yield int(match[1])


def ask(connection, body):
    """The pid of the worker that has answered."""
    connection.request("POST", "/", body)
    response = connection.getresponse()
    loop, pid = response.headers["who"].split()
    assert (response.status, loop) == (200, "poolio.EventLoop")
    assert response.read() == body
    return pid


def ask_all(port, *bodies):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        return {ask(connection, body) for body in bodies}


@every_worker
def test_gunicorn_worker_answers_on_poolios_loop(gunicorn, tmp_path, worker):
    async def main():
        async with gunicorn_port(tmp_path, worker) as port:
            assert len(await asyncio.to_thread(ask_all, port, b"hello", LARGE, b"", b"end")) == 1

    run(main)


@every_worker
def test_gunicorn_has_many_workers_and_ends_them(gunicorn, tmp_path, worker):
    async def main():
        seen = set()
        async with gunicorn_port(tmp_path, worker, processes=2, stop=signal.SIGINT) as port:
            async with asyncio.timeout(60):
                while len(seen) < 2:
                    seen |= await asyncio.to_thread(ask_all, port, b"hello")

    run(main)
