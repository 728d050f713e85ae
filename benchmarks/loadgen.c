/* The load generator: keeps N connections busy with one message each and checks every byte that comes back.

   loadgen PORT CONNECTIONS SIZE SECONDS SERVER_PID WINDOW_MS    prints one JSON object
   loadgen PORT CONNECTIONS SIZE count MESSAGES                  as many messages in all; prints nothing
   loadgen PORT CONNECTIONS idle                                 one 64-byte message each, prints "ready", waits for
                                                                 the end of standard input

   It never sleeps (epoll_wait with timeout 0), so that the server's core is always asked for more. Messages start at
   changing places of a random block, so stale or misplaced bytes are seen. The server's CPU time is read every window,
   from the clock that bench.h finds. It ends after SECONDS, or, if nothing has come by then (a window may be longer, and
   a busy machine may let neither side run), when something has, or after a grace. A wrong byte or an early close ends it
   with a message and status 1.

   Compiled with POOLIO_TLS all of this goes over TLS: wire.h. */

#define PROGRAM "loadgen"
#include "bench.h"
#include "wire.h"

enum { SPREAD = 4096, READ_SIZE = 262144 };
enum { BUCKETS_PER_DOUBLING = 32, BUCKETS = 64 * BUCKETS_PER_DOUBLING };
static const double WARM_UP = 0.15, GRACE = 20.0;

typedef struct {
    int fd;
    Wire wire;
    uint32_t interest;
    size_t sent, received;
    uint64_t sequence, started;
    const char *message;
} Connection;

static size_t size;
static char *block;
static int epoll_fd;
static uint64_t messages, histogram[BUCKETS];
static int counting, one_each;

/* A log-linear histogram: 32 buckets to each doubling, so a value is known to 3 %. */
static int bucket_of(uint64_t ns)
{
    int top;
    if (ns < BUCKETS_PER_DOUBLING)
        return (int)ns;
    top = 63 - __builtin_clzll(ns);
    return (top - 4) * BUCKETS_PER_DOUBLING + (int)((ns >> (top - 5)) & (BUCKETS_PER_DOUBLING - 1));
}

static double bucket_us(int bucket)
{
    int top = bucket / BUCKETS_PER_DOUBLING + 4, rest = bucket % BUCKETS_PER_DOUBLING;
    if (bucket < BUCKETS_PER_DOUBLING)
        return bucket / 1e3;
    return (double)((uint64_t)(BUCKETS_PER_DOUBLING + rest) << (top - 5)) / 1e3;
}

static double percentile_us(double share)
{
    uint64_t total = 0, seen = 0;
    int i;
    for (i = 0; i < BUCKETS; i++)
        total += histogram[i];
    for (i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen && (double)seen >= share * (double)total)
            return bucket_us(i);
    }
    return 0;
}

static void fill_block(void)
{
    uint64_t x = 0x9E3779B97F4A7C15u;
    size_t i;
    block = malloc(size + SPREAD);
    if (!block)
        fail("no memory for the messages");
    for (i = 0; i < size + SPREAD; i++) {
        x ^= x << 13; x ^= x >> 7; x ^= x << 17;
        block[i] = (char)(x >> 32);
    }
}

static void want(Connection *c, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = c };
    if (c->interest == events)
        return;
    if (epoll_ctl(epoll_fd, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e) < 0)
        fail("epoll_ctl");
    c->interest = events;
}

static void send_more(Connection *c)
{
    while (c->sent < size) {
        ssize_t n = wire_send(&c->wire, c->message + c->sent, size - c->sent);
        if (n < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                want(c, EPOLLIN | EPOLLOUT);
                return;
            }
            fail("the server closed a connection while it was sent to");
        }
        c->sent += (size_t)n;
    }
    want(c, EPOLLIN);
}

static void next_message(Connection *c, uint64_t now)
{
    c->sequence += 1;
    c->message = block + (c->sequence * 61 + (uint64_t)c->fd * 17) % SPREAD;
    c->sent = c->received = 0;
    c->started = now;
    send_more(c);
}

/* 1: something came. */
static int receive(Connection *c)
{
    static char buffer[READ_SIZE];
    size_t room = size - c->received + 1;      /* one more, to see a byte too many */
    ssize_t n = wire_recv(&c->wire, buffer, room < READ_SIZE ? room : READ_SIZE);
    uint64_t now;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n >= 0)
        errno = 0;                             /* what a call before this one left is not the reason */
    if (n <= 0)
        fail("the server closed a connection before it had echoed all");
    if (c->received + (size_t)n > c->sent)
        fail("the server echoed more than it was sent");
    if (memcmp(buffer, c->message + c->received, (size_t)n) != 0)
        fail("the server echoed wrong bytes");
    c->received += (size_t)n;
    if (c->received < size)
        return 1;
    now = now_ns();
    if (counting) {
        messages += 1;
        histogram[bucket_of(now - c->started)] += 1;
    }
    if (one_each)
        c->sequence += 1;
    else
        next_message(c, now);
    return 1;
}

static void turn(void)
{
    struct epoll_event events[256];
    int i, n = epoll_wait(epoll_fd, events, 256, 0);
    for (i = 0; i < n; i++) {
        Connection *c = events[i].data.ptr;
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            while (receive(c) && wire_pending(&c->wire))
                ;
        if (events[i].events & EPOLLOUT)
            send_more(c);
    }
}

static Connection *connect_all(int port, int count)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct rlimit limit;
    Connection *all = calloc((size_t)count, sizeof *all);
    int i, one = 1;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < (rlim_t)count + 64) {
        limit.rlim_cur = (rlim_t)count + 64;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            fail("not enough descriptors allowed (ulimit -n)");
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (i = 0; i < count; i++) {
        all[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (all[i].fd < 0 || connect(all[i].fd, (struct sockaddr *)&address, sizeof address) < 0)
            fail("cannot connect");
        setsockopt(all[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        wire_open(&all[i].wire, all[i].fd);
    }
    return all;
}

static void warm_up(Connection *all, int count)
{
    uint64_t start = now_ns(), enough = start + (uint64_t)(WARM_UP * 1e9), limit = start + (uint64_t)(GRACE * 1e9);
    int i = 0;
    for (i = 0; i < count; i++)
        next_message(&all[i], start);
    for (i = 0; i < count || (!one_each && now_ns() < enough); turn()) {
        while (i < count && all[i].sequence > 1)
            i++;
        if (now_ns() > limit)
            fail("the server did not echo one message on each connection in time");
    }
}

static void measure(double seconds, pid_t pid, double window_ms)
{
    int perf_fd = open_task_clock(pid), count = 0, i;
    static uint64_t window_messages[MAX_WINDOWS], window_cpu[MAX_WINDOWS];
    uint64_t window, start, end, due, cpu, last_cpu, last_messages = 0;
    suit_the_clock(perf_fd, &seconds, &window_ms);
    window = (uint64_t)(window_ms * 1e6);
    counting = 1;
    last_cpu = cpu_ns(perf_fd, pid);
    start = now_ns();
    end = start + (uint64_t)(seconds * 1e9);
    for (due = start + window; (due <= end || !last_messages) && count < MAX_WINDOWS; due += window) {
        while (now_ns() < due)
            turn();
        cpu = cpu_ns(perf_fd, pid);
        window_messages[count] = messages - last_messages;
        window_cpu[count++] = cpu - last_cpu;
        last_cpu = cpu;
        last_messages = messages;
    }
    end = now_ns();
    printf("{\"messages\": %lu, \"seconds\": %.6f, \"clock\": \"%s\", \"p50_us\": %.2f, \"p99_us\": %.2f, "
           "\"wire\": \"%s\", \"windows\": [",
           last_messages, (double)(end - start) / 1e9, clock_name(perf_fd),
           percentile_us(0.5), percentile_us(0.99), WIRE);
    for (i = 0; i < count; i++)
        printf("%s[%lu, %lu]", i ? ", " : "", window_messages[i], window_cpu[i]);
    printf("]}\n");
}

static void exchange(Connection *all, int count, uint64_t enough)
{
    int i;
    counting = 1;
    for (i = 0; i < count; i++)
        next_message(&all[i], now_ns());
    while (messages < enough)
        turn();
}

int main(int argc, char **argv)
{
    int port, count, idle = argc == 4 && strcmp(argv[3], "idle") == 0;
    int counted = argc == 6 && strcmp(argv[4], "count") == 0;
    Connection *all;
    if (argc != 7 && !idle && !counted) {
        fprintf(stderr, "usage: loadgen PORT CONNECTIONS SIZE SECONDS SERVER_PID WINDOW_MS\n"
                        "       loadgen PORT CONNECTIONS SIZE count MESSAGES\n"
                        "       loadgen PORT CONNECTIONS idle\n");
        return 2;
    }
    port = atoi(argv[1]);
    count = atoi(argv[2]);
    size = idle ? 64 : (size_t)atoll(argv[3]);
    one_each = idle;
    signal(SIGALRM, out_of_time);
    alarm((unsigned)(2 * GRACE + (idle || counted ? GRACE : atof(argv[4]))));
    pin_to_last_core();
    fill_block();
    epoll_fd = epoll_create1(0);
    all = connect_all(port, count);
    if (counted) {
        exchange(all, count, strtoull(argv[5], NULL, 10));
        return 0;
    }
    warm_up(all, count);
    if (idle) {
        char byte;
        alarm(0);
        puts("ready");
        fflush(stdout);
        while (read(0, &byte, 1) > 0)
            ;
        return 0;
    }
    measure(atof(argv[4]), (pid_t)atoi(argv[5]), atof(argv[6]));
    return 0;
}
