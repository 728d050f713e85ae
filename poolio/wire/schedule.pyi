from collections import deque
from typing import Any

class Schedule:
    _ready: deque[Any]
    _scheduled: list[Any]
    _stopping: bool
    _debug: bool
