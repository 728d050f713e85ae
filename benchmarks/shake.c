/* The load generator of handshakes: connects, shakes hands, sends a byte and gets it back, closes; and again.

   shake PORT AT_ONCE SECONDS SERVER_PID WINDOW_MS    prints one JSON object
   shake PORT AT_ONCE count HANDSHAKES                as many in all; prints nothing

   Every handshake is a full one of TLS 1.3, by OpenSSL, with the cipher of wire.h. It never sleeps: the AT_ONCE
   connections take their steps in turn. A resumed session, a wrong byte or an early close ends it with a message and
   status 1. The server's CPU time is read every window, as loadgen does it. */

#define PROGRAM "shake"
#define POOLIO_TLS
#include "bench.h"
#include "wire.h"

static const double WARM_UP = 0.1, GRACE = 20.0;

typedef struct {
    int fd;
    SSL *ssl;                                  /* NULL: it is to be opened */
    int has_asked;
    unsigned char asked;
} Connection;

static struct sockaddr_in address;
static uint64_t handshakes;

static void open_one(Connection *c)
{
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
    c->ssl = SSL_new(wire_context());
    if (!c->ssl || !SSL_set_fd(c->ssl, c->fd))
        fail("no memory for a connection");
    SSL_set_connect_state(c->ssl);
    c->has_asked = 0;
}

/* 1: it is done; 0: not yet. */
static int is_done(Connection *c, int n, const char *what)
{
    int reason;
    if (n > 0)
        return 1;
    reason = SSL_get_error(c->ssl, n);
    if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE)
        fail(what);
    return 0;
}

static void step(Connection *c)
{
    unsigned char answer;
    if (!c->ssl)
        open_one(c);
    if (!c->has_asked) {
        if (!is_done(c, SSL_do_handshake(c->ssl), "no TLS handshake"))
            return;
        if (SSL_session_reused(c->ssl))
            fail("the session was resumed");
        c->asked = (unsigned char)(handshakes * 61 + (uint64_t)c->fd);
        if (SSL_write(c->ssl, &c->asked, 1) != 1)
            fail("one byte can't be sent");
        c->has_asked = 1;
    }
    if (!is_done(c, SSL_read(c->ssl, &answer, 1), "the server closed a connection before it had echoed"))
        return;
    if (answer != c->asked)
        fail("the server echoed a wrong byte");
    SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    close(c->fd);
    c->ssl = NULL;
    handshakes += 1;
}

static void turn(Connection *all, int count)
{
    int i;
    for (i = 0; i < count; i++)
        step(&all[i]);
}

static void measure(Connection *all, int at_once, double seconds, pid_t pid, double window_ms)
{
    int perf_fd = open_task_clock(pid), count = 0, i;
    static uint64_t window_handshakes[MAX_WINDOWS], window_cpu[MAX_WINDOWS];
    uint64_t window, end, due, cpu, last_cpu, first, last, start;
    suit_the_clock(perf_fd, &seconds, &window_ms);
    window = (uint64_t)(window_ms * 1e6);
    for (end = now_ns() + (uint64_t)(WARM_UP * 1e9); now_ns() < end;)
        turn(all, at_once);
    last_cpu = cpu_ns(perf_fd, pid);
    first = last = handshakes;
    start = now_ns();
    end = start + (uint64_t)(seconds * 1e9);
    for (due = start + window; (due <= end || last == first) && count < MAX_WINDOWS; due += window) {
        while (now_ns() < due)
            turn(all, at_once);
        cpu = cpu_ns(perf_fd, pid);
        window_handshakes[count] = handshakes - last;
        window_cpu[count++] = cpu - last_cpu;
        last_cpu = cpu;
        last = handshakes;
    }
    printf("{\"handshakes\": %lu, \"seconds\": %.6f, \"clock\": \"%s\", \"wire\": \"%s\", \"windows\": [",
           last - first, (double)(now_ns() - start) / 1e9, clock_name(perf_fd), WIRE);
    for (i = 0; i < count; i++)
        printf("%s[%lu, %lu]", i ? ", " : "", window_handshakes[i], window_cpu[i]);
    printf("]}\n");
}

int main(int argc, char **argv)
{
    int at_once, counted = argc == 5 && strcmp(argv[3], "count") == 0;
    Connection *all;
    if (argc != 6 && !counted) {
        fprintf(stderr, "usage: shake PORT AT_ONCE SECONDS SERVER_PID WINDOW_MS\n"
                        "       shake PORT AT_ONCE count HANDSHAKES\n");
        return 2;
    }
    at_once = atoi(argv[2]);
    signal(SIGALRM, out_of_time);
    alarm((unsigned)(2 * GRACE + (counted ? GRACE : atof(argv[3]))));
    pin_to_last_core();
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    all = calloc((size_t)at_once, sizeof *all);
    if (!all)
        fail("no memory");
    if (!counted)
        measure(all, at_once, atof(argv[3]), (pid_t)atoi(argv[4]), atof(argv[5]));
    else
        while (handshakes < strtoull(argv[4], NULL, 10))
            turn(all, at_once);
    return 0;
}
