"""Owns `python -m poolio info`: facts of this build and its interpreter, limits, the default pool's statistics."""

import asyncio.constants
import os
import platform
import ssl
import sys
import sysconfig

import poolio
from poolio.commands import terminal
from poolio.framing.codec import MAX_FRAME
from poolio.memory.pool import DEFAULT_SLAB_SIZE
from poolio.memory.slab import BUILD_VARIANT, IDLE_SECONDS, KEEP_FREE_BYTES, MAX_SLAB_SIZE, MIN_SLAB_SIZE
from poolio.streams.reader import DEFAULT_LIMIT
from poolio.wire import address, datagram, limits, listener, openssl, stream

VARIABLES = ("POOLIO_ZERO_FILL", "POOLIO_DEBUG", "POOLIO_TLS_ENGINE")


def gil() -> str:
    """Which kind of interpreter this is. poolio needs the GIL, and importing it switches the GIL on."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "always on: not a free-threaded build"
    return "on, in a free-threaded build: poolio needs it"


def tls_engine() -> str:
    """How poolio's own TLS transport encrypts, and why not directly if it does not."""
    if not has_own_transports():
        return "the ssl module"
    if openssl.engine_name() == "openssl":
        return "OpenSSL called directly"
    return f"ssl.MemoryBIO: {openssl.why_not_direct() or 'POOLIO_TLS_ENGINE says so'}"


def build() -> dict[str, str]:
    return {
        "poolio": f"{poolio.__version__}, {BUILD_VARIANT}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "GIL": gil(),
        "TLS": f"{tls_engine()}, with {ssl.OPENSSL_VERSION}",
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "own transports": "yes" if has_own_transports() else "no: they need epoll",
    }


def has_own_transports() -> bool:
    return BUILD_VARIANT != "portable" and sys.platform.startswith("linux")


def memory_limits() -> dict[str, str]:
    return {
        "slab size": f"{DEFAULT_SLAB_SIZE:,} by default, {MIN_SLAB_SIZE:,} to {MAX_SLAB_SIZE:,}",
        "carved from a slab": f"up to {DEFAULT_SLAB_SIZE // 4:,}",
        "from a size class": f"up to {16 * DEFAULT_SLAB_SIZE:,}",
        "free memory kept": f"up to {KEEP_FREE_BYTES:,}, trimmed when not needed for {IDLE_SECONDS} s",
        "frame": f"up to {MAX_FRAME:,}, by max_frame of a codec",
        "unread in a stream": f"{DEFAULT_LIMIT:,}, by limit; twice as much pauses reading",
        "written in a callback": f"{stream.BOUNDS['CORK_BYTES']:,}, then some of it is sent",
    }


def network_limits() -> dict[str, str]:
    seconds = f"{limits.BOUNDS['MIN_TIMEOUT']:g} to {limits.BOUNDS['MAX_TIMEOUT']:,.0f} s"
    return {
        "accepted in a pass": f"{listener.BOUNDS['ACCEPTS']:,} connections",
        "received in a pass": f"{datagram.BOUNDS['ENOUGH']:,} datagrams end it",
        "peers remembered": f"{address.BOUNDS['RECENT']:,} addresses",
        "max_connections": f"none, or up to {int(limits.BOUNDS['MAX_CONNECTIONS']):,}",
        "idle_timeout": f"none, or {seconds}",
        "first_frame_timeout": f"none, or {seconds}",
        "TLS handshake": f"{asyncio.constants.SSL_HANDSHAKE_TIMEOUT:g} s",
        "TLS shutdown": f"{asyncio.constants.SSL_SHUTDOWN_TIMEOUT:g} s",
    }


def sections() -> dict[str, dict[str, str]]:
    pool = poolio.default_pool()
    return {
        "build": build(),
        "environment": {name: os.environ.get(name, "(not set)") for name in VARIABLES},
        "limits of memory, bytes": memory_limits(),
        "limits of the network": network_limits(),
        "default pool": {"zeroing": pool.zeroing, "max_bytes": str(pool.max_bytes)},
        "statistics": {name: f"{value:,}" for name, value in pool.statistics()._asdict().items()},
    }


def main() -> int:
    columns = terminal.width()
    for title, lines in sections().items():
        print(terminal.styled(title, terminal.BOLD))
        for name, value in lines.items():
            print("\n".join(terminal.pair(name, value, columns)))
    return 0
