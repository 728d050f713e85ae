"""Writing: each How, on a session and the data that it has received.

Refuses to know why it is written, and of the session all but its dice, house, transport and write(). Sessions call it.
"""

import itertools

from plan import How


def cuts(dice, length, most):
    """Random slices that make up a whole."""
    edges = sorted({0, length, *(dice.randint(0, length) for _ in range(most))})
    return itertools.starmap(slice, itertools.pairwise(edges))


def write_lines(session, data):
    lines = [data[part] for part in cuts(session.dice, len(data), 7)]
    session.dice.choice((session, session.transport)).writelines(lines)


def write_pieces(session, data):
    for part in cuts(session.dice, len(data), 50):
        session.write_if_open(data[part])


def write_own(session, data):
    own = session.dice.choice(session.house.pools).alloc_unsafe(len(data))
    own[:] = data
    session.write(own)


def write_copy(session, data):
    copy = bytearray(data)
    session.write(copy)
    copy[:] = bytes(len(copy))


def write_release(session, data):
    session.write(data)
    if not isinstance(data, bytes):
        data.release()


def write_scribble(session, data):
    with memoryview(data) as view:
        session.write(data)
        if not view.readonly:
            view[:] = bytes(len(view))


def write_later(session, data):
    def write():
        session.waiting -= 1
        session.write_if_open(data)

    session.waiting += 1
    session.house.loop.call_soon(write)


WRITE = {
    How.PLAIN: lambda session, data: session.write(data),
    How.DIRECT: lambda session, data: session.transport.write(data),
    How.LINES: write_lines, How.PIECES: write_pieces, How.OWN: write_own, How.COPY: write_copy,
    How.RELEASE: write_release, How.VIEW: lambda session, data: session.write(memoryview(data)),
    How.SCRIBBLE: write_scribble, How.LATER: write_later,
}
