import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

class TimerHandle(asyncio.TimerHandle):
    def __init__(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], loop: asyncio.AbstractEventLoop,
        context: Context | None = None,
    ) -> None: ...
