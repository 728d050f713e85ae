/* What the load generators need: failing, time, the server's CPU clock, a core of their own. PROGRAM is defined before.

   The server's CPU time is that of its process's main thread (harness.py looks whether there is more), from perf's task
   clock. Where that is not permitted, or with POOLIO_NO_PERF, it comes from /proc/PID/schedstat, which moves in steps of
   4 ms while the server runs: windows are then at least COARSE_WINDOW_MS long, and at least COARSE_WINDOWS are taken,
   whatever SECONDS says. */

#ifndef POOLIO_BENCH_H
#define POOLIO_BENCH_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MAX_WINDOWS = 65536, COARSE_WINDOW_MS = 400, COARSE_WINDOWS = 3 };

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s (%s)\n", PROGRAM, what, errno ? strerror(errno) : "no system error");
    exit(1);
}

static void out_of_time(int number)
{
    static const char text[] = PROGRAM ": the server did not answer before the deadline\n";
    (void)number;
    if (write(2, text, sizeof text - 1) < 0)
        _exit(3);
    _exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The second try is for users without privileges: the task clock counts kernel time all the same. */
static int open_task_clock(pid_t pid)
{
    struct perf_event_attr attr;
    int fd;
    memset(&attr, 0, sizeof attr);
    attr.type = PERF_TYPE_SOFTWARE;
    attr.size = sizeof attr;
    attr.config = PERF_COUNT_SW_TASK_CLOCK;
#ifdef POOLIO_NO_PERF
    return -1;
#endif
    fd = (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, 0);
    if (fd < 0) {
        attr.exclude_kernel = 1;
        fd = (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, 0);
    }
    return fd;
}

static uint64_t cpu_ns(int perf_fd, pid_t pid)
{
    uint64_t value = 0;
    char path[64];
    FILE *file;
    if (perf_fd >= 0) {
        if (read(perf_fd, &value, sizeof value) != sizeof value)
            fail("cannot read the task clock");
        return value;
    }
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
    file = fopen(path, "r");
    if (!file || fscanf(file, "%lu", &value) != 1)
        fail("cannot read the server's CPU time");
    fclose(file);
    return value;
}

static const char *clock_name(int perf_fd)
{
    return perf_fd >= 0 ? "perf task clock" : "schedstat";
}

static void suit_the_clock(int perf_fd, double *seconds, double *window_ms)
{
    double least;
    if (perf_fd >= 0)
        return;
    if (*window_ms < COARSE_WINDOW_MS)
        *window_ms = COARSE_WINDOW_MS;
    least = COARSE_WINDOWS * *window_ms / 1e3;
    if (*seconds < least)
        *seconds = least;
}

static void pin_to_last_core(void)
{
    cpu_set_t allowed, one;
    int cpu;
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0 || CPU_COUNT(&allowed) < 2)
        return;
    for (cpu = CPU_SETSIZE - 1; !CPU_ISSET(cpu, &allowed); cpu--)
        ;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

#endif
