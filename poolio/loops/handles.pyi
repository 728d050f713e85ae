import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

class Handle(asyncio.Handle):
    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], loop: asyncio.AbstractEventLoop,
        context: Context | None = None,
    ) -> None: ...
    def get_context(self) -> Context: ...
