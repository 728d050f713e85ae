"""poolio.EventLoop: the standard loop's promises while traffic saturates the selector, and its other trades."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading

import pytest
from kit.pairs import Recorder, linked
from kit.saturated import PingPong, Saturated
from kit.wires import eventually

import poolio


def run(main, timeout=60):
    async def bounded():
        return await asyncio.wait_for(main(), timeout)
    return poolio.run(bounded())


# --- saturated --------------------------------------------------------------------------------------------------

def test_saturated_timers_fire_in_order():
    async def main():
        async with Saturated():
            fired = []
            loop = asyncio.get_running_loop()
            done = loop.create_future()
            for delay in (0.03, 0.01, 0.02, 0.0):
                loop.call_later(delay, fired.append, delay)
            loop.call_later(0.05, done.set_result, None)
            before = PingPong.total
            await done
            assert fired == [0.0, 0.01, 0.02, 0.03]
            assert PingPong.total > before + 100, "it was not saturated"
    run(main)


def test_saturated_other_threads_are_heard():
    async def main():
        async with Saturated():
            loop = asyncio.get_running_loop()
            for _ in range(20):
                heard = loop.create_future()
                thread = threading.Thread(target=loop.call_soon_threadsafe, args=(heard.set_result, "heard"))
                thread.start()
                assert await heard == "heard"
                thread.join()
            assert await loop.run_in_executor(None, sum, (1, 2)) == 3
    run(main)


def test_saturated_descriptors_of_the_loops_own_are_served():
    async def main():
        async with Saturated():
            loop = asyncio.get_running_loop()
            reading, writing = os.pipe()
            got = loop.create_future()
            loop.add_reader(reading, lambda: got.done() or got.set_result(os.read(reading, 10)))
            os.write(writing, b"x")
            assert await got == b"x"
            loop.remove_reader(reading)
            os.close(reading)
            os.close(writing)
    run(main)


def test_saturated_stop_inside_a_callback_ends_the_loop():
    loop = poolio.new_event_loop()

    class Stopping(PingPong):
        def data_received(self, data):
            super().data_received(data)
            self.loop.stop()

    async def prepare():
        saturated = await Saturated().__aenter__()
        saturated.transports[0].set_protocol(stopping := Stopping())
        stopping.loop = loop
        stopping.transport = saturated.transports[0]
        return saturated

    saturated = loop.run_until_complete(prepare())
    loop.run_forever()
    loop.run_until_complete(saturated.__aexit__())
    loop.close()


def test_saturated_signal_handlers_run():
    async def main():
        async with Saturated():
            loop = asyncio.get_running_loop()
            got = loop.create_future()
            loop.add_signal_handler(signal.SIGUSR1, got.set_result, "signal")
            os.kill(os.getpid(), signal.SIGUSR1)
            assert await got == "signal"
            loop.remove_signal_handler(signal.SIGUSR1)
    run(main)


INTERRUPTED = """
    import asyncio, socket, sys
    sys.path.insert(0, {tests!r})
    import poolio
    from kit.saturated import Saturated

    async def main():
        async with Saturated():
            print("ready", flush=True)
            {wait}

    try:
        {start}
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize("how", ("run", "plain"))
def test_saturated_ctrl_c_is_seen(how):
    """With asyncio.Runner's handler for SIGINT, and with Python's own."""
    start = {"run": "poolio.run(main())", "plain": "poolio.new_event_loop().run_until_complete(main())"}[how]
    code = textwrap.dedent(INTERRUPTED).format(
        tests=os.path.dirname(os.path.dirname(__file__)), start=start, wait="await asyncio.Event().wait()")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (output, process.returncode) == ("interrupted\n", 0)


def test_cancelled_timer_for_each_message_leaves_nothing():
    async def main():
        loop = asyncio.get_running_loop()
        most = 0

        class Timing(PingPong):
            timer = None

            def data_received(self, data):
                nonlocal most
                if self.timer is not None:
                    self.timer.cancel()
                self.timer = loop.call_later(3600, print)
                most = max(most, len(loop._scheduled))
                super().data_received(data)

        async with Saturated() as saturated:
            for transport in saturated.transports:
                protocol = Timing()
                protocol.transport = transport
                transport.set_protocol(protocol)
            before = PingPong.total
            while Timing.total + PingPong.total < before + 30_000:
                await asyncio.sleep(0.01)
            for transport in saturated.transports:
                if transport.get_protocol().timer:
                    transport.get_protocol().timer.cancel()
        assert most < 10_000, "cancelled timers are purged while it is busy"
    run(main)


# --- as asyncio's ------------------------------------------------------------------------------------------------

def test_loop_factory_of_runner_and_run():
    async def main():
        return type(asyncio.get_running_loop())
    assert poolio.run(main()) is poolio.EventLoop
    with asyncio.Runner(loop_factory=poolio.new_event_loop) as runner:
        assert runner.run(main()) is poolio.EventLoop
    if sys.version_info >= (3, 12):
        assert asyncio.run(main(), loop_factory=poolio.EventLoop) is poolio.EventLoop


def test_run_debug_is_passed_on():
    async def main():
        return asyncio.get_running_loop().get_debug()
    assert poolio.run(main(), debug=True) is True
    assert poolio.run(main(), debug=False) is False


def test_run_within_a_running_loop_is_refused():
    async def main():
        inner = asyncio.sleep(0)
        try:
            with pytest.raises(RuntimeError, match=r"poolio.run\(\) cannot be called from a running event loop"):
                poolio.run(inner)
        finally:
            inner.close()

    poolio.run(main())


def test_pytest_asyncio_runs_on_it(tmp_path):
    (tmp_path / "conftest.py").write_text(textwrap.dedent("""
        import asyncio, poolio, pytest
        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                return poolio.new_event_loop()
        @pytest.fixture(scope="session")
        def event_loop_policy():
            return Policy()
    """))
    (tmp_path / "test_it.py").write_text(textwrap.dedent("""
        import asyncio, poolio, pytest
        @pytest.mark.asyncio
        async def test_it():
            assert type(asyncio.get_running_loop()) is poolio.EventLoop
            server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            server.close()
    """))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
                          capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_subprocess_and_pipes_stay_the_standard_librarys():
    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(input()[::-1])", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate(b"abc\n")
        assert (output, process.returncode) == (b"cba\n", 0)

        assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
    run(main)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, poolio.new_event_loop], ids=["asyncio", "poolio"])
def test_readers_are_found_by_object_and_by_descriptor(factory):
    async def main():
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        with ours, peer:
            for add, remove in ((ours, ours), (ours, ours.fileno()), (ours.fileno(), ours)):
                calls = []
                loop.add_reader(add, calls.append, "first")
                loop.add_reader(remove, calls.append, "second")     # instead of the first
                peer.send(b"x")
                async with asyncio.timeout(5):
                    while not calls:
                        await asyncio.sleep(0)
                assert set(calls) == {"second"}
                assert loop.remove_reader(remove) is True
                assert loop.remove_reader(add) is False
                calls.clear()
                await asyncio.sleep(0)
                assert calls == []
                ours.recv(1)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, poolio.new_event_loop], ids=["asyncio", "poolio"])
def test_callbacks_scheduled_before_data_arrives_run_before_it(factory):
    """Of every kind: data for a transport, and a descriptor of the loop's own."""
    async def main():
        loop = asyncio.get_running_loop()
        order = []

        class Recording(asyncio.Protocol):
            def data_received(self, data):
                order.append("data")

        ours, peer = socket.socketpair()
        watched, other = socket.socketpair()
        with peer, watched, other:
            transport, _ = await loop.create_connection(Recording, sock=ours)
            loop.add_reader(watched, lambda: (order.append("readable"), loop.remove_reader(watched)))
            await asyncio.sleep(0.01)
            peer.send(b"data")
            other.send(b"data")
            loop.call_soon(order.append, "callback")
            async with asyncio.timeout(5):
                while len(order) < 3:
                    await asyncio.sleep(0)
            transport.close()
            await asyncio.sleep(0)
        assert order[0] == "callback"
        assert sorted(order[1:]) == ["data", "readable"]
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_add_reader_in_a_callback_of_the_same_pass_keeps_the_new_reader():
    async def main():
        loop = asyncio.get_running_loop()
        called = []
        reading, writing = os.pipe()

        def new():
            called.append(os.read(reading, 1))

        class Replacing(Recorder):
            def data_received(self, data):
                loop.add_reader(reading, new)

        def make_both_ready():
            os.write(writing, b"1")
            peer.send(b"go")

        protocol, peer = await linked(Replacing)
        with peer:
            loop.add_reader(reading, called.append, b"old")
            loop.call_soon(make_both_ready)
            await eventually(lambda: called)
            os.write(writing, b"2")
            await eventually(lambda: len(called) == 2)
            assert called == [b"1", b"2"]
            protocol.transport.close()
            await protocol.ended
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)
    run(main, timeout=20)


def test_closed_loop_refuses_and_closing_twice_is_nothing():
    loop = poolio.new_event_loop()
    loop.close()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(print)
