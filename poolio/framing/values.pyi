from typing import Final, final

@final
class _Nil:
    def __bool__(self) -> bool: ...

NIL: Final[_Nil]
