"""`make security`: is any work that a peer can cause quadratic? Each attack runs with n and with 4 n, which may take up
to ten times as much processor time (quadratic would be sixteen). The best of three rounds; a slow machine is slow in
both.
"""

import asyncio
import sys
import time

import attacks

ROUNDS = 3
MOST = 10.0
FLOOR_SECONDS = 0.02        # below this the clock and the interpreter's own housekeeping would be measured


def seconds(attack, n):
    best = float("inf")
    for _ in range(ROUNDS):
        run, clean_up = attack(n)
        start = time.process_time()
        result = run()
        if asyncio.iscoroutine(result):
            raise TypeError(f"{attack.__name__}: an attack runs its own loop")
        best = min(best, time.process_time() - start)
        clean_up()
    return best


def ratio(attack):
    """(n, seconds with n, seconds with 4 n); n is large enough to be measured."""
    n = 2000
    few = seconds(attack, n)
    while few < FLOOR_SECONDS and n < 1 << 21:
        n *= 2
        few = seconds(attack, n)
    return n, few, seconds(attack, 4 * n)


def main():
    failed = []
    for name, attack in attacks.ALL.items():
        n, few, many = ratio(attack)
        verdict = "" if many <= MOST * few else "  QUADRATIC?"
        times = f"{few * 1e3:8.1f} ms  4n {many * 1e3:8.1f} ms  x {many / few:5.1f}"
        print(f"{name:40} n {n:8} {times}{verdict}", flush=True)
        if verdict:
            failed.append(name)
    if failed:
        sys.exit(f"more than {MOST:.0f} times the work for 4 times the bytes: {', '.join(failed)}")


if __name__ == "__main__":
    main()
