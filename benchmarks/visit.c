/* The load generator of connections that live for one message: it connects, sends, compares the answer, and closes.

   visit PORT WHO SIZE AT_ONCE RATE SECONDS SERVER_PID WINDOW_MS    prints one JSON object
   visit PORT WHO SIZE AT_ONCE RATE count VISITS                    as many in all; prints nothing

   WHO closes first is `client` or `server`. AT_ONCE visits are under way at a time. With a RATE not more than so many
   begin in a second, each when it is due; with 0 each begins when another has ended. It never sleeps (epoll_wait with
   timeout 0). Messages start at changing places of a random block. The side that closes first keeps the port for a
   minute (TIME_WAIT), so the visits come from ADDRESSES addresses of the loopback network in turn. The server's CPU
   time is read every window, from the clock that bench.h finds. A wrong answer, an early close, or a server that sends
   more or does not close ends it with a message and status 1. */

#define PROGRAM "visit"
#include "bench.h"

enum { SPREAD = 4096, READ_SIZE = 65536, ADDRESSES = 250, EVENTS = 256 };
static const double WARM_UP = 0.15, GRACE = 20.0;

typedef struct {
    int fd;                                    /* -1: between two visits */
    int is_connecting;
    size_t received;
    const char *message;
} Visit;

static int epoll_fd, port, server_closes, at_once;
static size_t size;
static char *block;
static Visit *all;
static Visit **idle;
static int idle_count;
static uint64_t begun, ended, answers, most = UINT64_MAX, first_due, interval_ns;

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

static void ask(Visit *v)
{
    v->is_connecting = 0;
    if (send(v->fd, v->message, size, MSG_NOSIGNAL) != (ssize_t)size)
        fail("cannot send a message whole on a new connection");
}

/* On loopback connect() mostly returns when the connection is there. */
static void begin(Visit *v)
{
    struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = v };
    int one = 1;
    v->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(begun % ADDRESSES));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v->message = block + (begun++ * 61) % SPREAD;
    v->received = 0;
    if (v->fd < 0 || setsockopt(v->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) < 0 ||
        bind(v->fd, (struct sockaddr *)&from, sizeof from) < 0)
        fail("cannot make a socket");
    v->is_connecting = connect(v->fd, (struct sockaddr *)&to, sizeof to) < 0;
    if (v->is_connecting && errno != EINPROGRESS)
        fail("cannot connect");
    if (v->is_connecting)
        e.events |= EPOLLOUT;
    else
        ask(v);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, v->fd, &e) < 0)
        fail("epoll_ctl");
}

static void connected(Visit *v)
{
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = v };
    socklen_t length = sizeof errno;
    if (getsockopt(v->fd, SOL_SOCKET, SO_ERROR, &errno, &length) < 0 || errno)
        fail("cannot connect");
    ask(v);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, v->fd, &e) < 0)
        fail("epoll_ctl");
}

static void end(Visit *v)
{
    close(v->fd);
    v->fd = -1;
    ended += 1;
    idle[idle_count++] = v;
}

static void receive(Visit *v)
{
    static char buffer[READ_SIZE];
    ssize_t n = recv(v->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0)
        fail("the server ended a connection with an error");
    errno = 0;
    if (n == 0 && v->received < size)
        fail("the server closed a connection before it had echoed all");
    if (n == 0) {
        end(v);
        return;
    }
    if (v->received + (size_t)n > size)
        fail("the server echoed more than it was sent");
    if (memcmp(buffer, v->message + v->received, (size_t)n) != 0)
        fail("the server echoed wrong bytes");
    v->received += (size_t)n;
    if (v->received < size)
        return;
    answers += 1;
    if (!server_closes)
        end(v);
}

/* With a rate one that is late begins at once, and those after it keep their times. */
static void begin_those_due(void)
{
    while (idle_count > 0 && begun < most) {
        if (interval_ns && now_ns() < first_due + begun * interval_ns)
            return;
        begin(idle[--idle_count]);
    }
}

static void turn(void)
{
    struct epoll_event events[EVENTS];
    int i, n;
    begin_those_due();
    n = epoll_wait(epoll_fd, events, EVENTS, 0);
    for (i = 0; i < n; i++) {
        Visit *v = events[i].data.ptr;
        if (v->is_connecting)
            connected(v);
        else
            receive(v);
    }
}

static void prepare(void)
{
    int i;
    all = calloc((size_t)at_once, sizeof *all);
    idle = calloc((size_t)at_once, sizeof *idle);
    if (!all || !idle)
        fail("no memory");
    for (i = 0; i < at_once; i++) {
        all[i].fd = -1;
        idle[idle_count++] = &all[i];
    }
    first_due = now_ns();
}

static void warm_up(void)
{
    uint64_t start = now_ns();
    while (now_ns() - start < (uint64_t)(WARM_UP * 1e9) || ended < 1) {
        turn();
        if (now_ns() - start > (uint64_t)(GRACE * 1e9))
            fail("the server did not end one visit in time");
    }
}

static void measure(double seconds, pid_t pid, double window_ms)
{
    int perf_fd = open_task_clock(pid), count = 0, i;
    static uint64_t window_visits[MAX_WINDOWS], window_cpu[MAX_WINDOWS];
    uint64_t window, start, finish, due, cpu, last_cpu, first = ended, last = ended, begun_before = begun;
    suit_the_clock(perf_fd, &seconds, &window_ms);
    window = (uint64_t)(window_ms * 1e6);
    last_cpu = cpu_ns(perf_fd, pid);
    start = now_ns();
    finish = start + (uint64_t)(seconds * 1e9);
    for (due = start + window; (due <= finish || last == first) && count < MAX_WINDOWS; due += window) {
        while (now_ns() < due)
            turn();
        cpu = cpu_ns(perf_fd, pid);
        window_visits[count] = ended - last;
        window_cpu[count++] = cpu - last_cpu;
        last_cpu = cpu;
        last = ended;
    }
    finish = now_ns();
    printf("{\"messages\": %lu, \"seconds\": %.6f, \"clock\": \"%s\", \"begun\": %lu, \"windows\": [",
           last - first, (double)(finish - start) / 1e9, clock_name(perf_fd), begun - begun_before);
    for (i = 0; i < count; i++)
        printf("%s[%lu, %lu]", i ? ", " : "", window_visits[i], window_cpu[i]);
    printf("]}\n");
}

static void make_visits(uint64_t enough)
{
    most = enough;
    while (ended < enough)
        turn();
}

int main(int argc, char **argv)
{
    int counted = argc == 8 && strcmp(argv[6], "count") == 0;
    double rate;
    if ((argc != 9 && !counted) || (strcmp(argv[2], "client") != 0 && strcmp(argv[2], "server") != 0)) {
        fprintf(stderr, "usage: visit PORT client|server SIZE AT_ONCE RATE SECONDS SERVER_PID WINDOW_MS\n"
                        "       visit PORT client|server SIZE AT_ONCE RATE count VISITS\n");
        return 2;
    }
    port = atoi(argv[1]);
    server_closes = strcmp(argv[2], "server") == 0;
    size = (size_t)atoll(argv[3]);
    at_once = atoi(argv[4]);
    rate = atof(argv[5]);
    interval_ns = rate > 0 ? (uint64_t)(1e9 / rate) : 0;
    signal(SIGALRM, out_of_time);
    alarm((unsigned)(2 * GRACE + (counted ? GRACE : atof(argv[6]))));
    pin_to_last_core();
    fill_block();
    epoll_fd = epoll_create1(0);
    prepare();
    if (counted) {
        make_visits(strtoull(argv[7], NULL, 10));
        return 0;
    }
    warm_up();
    measure(atof(argv[6]), (pid_t)atoi(argv[7]), atof(argv[8]));
    return 0;
}
