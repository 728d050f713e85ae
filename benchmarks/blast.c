/* The one-way load generator: sends messages as fast as the server takes them, and checks what it says it has received.

   blast PORT CONNECTIONS KIND SECONDS SERVER_PID WINDOW_MS    prints one JSON object
   blast PORT CONNECTIONS KIND count MESSAGES                  about as many in all; prints nothing

   KIND is bulkN (N bytes and nothing between), prefixedN (N bytes behind a length of 4 bytes) or linesN (N bytes and a
   line feed). Every write is 64 KiB, whatever the messages. Bytes that the kernel has taken count as messages: what is
   under way is bounded by the sockets' buffers. At the end each connection is ended behind a whole message, and the
   server answers with a line: how many messages, how many bytes of them (without length or line feed), and the last 16
   bytes of the last one in hexadecimal; "bulk" is one message a read there, so the first figure is not looked at. A
   wrong answer ends it with a message and status 1. */

#define PROGRAM "blast"
#include "bench.h"

enum { WRITE_BYTES = 65536, BLOCK_BYTES = 1 << 20, TAIL = 16 };
static const double WARM_UP = 0.15, GRACE = 20.0;

typedef struct {
    int fd;
    size_t at;
    uint64_t sent;
} Connection;

static size_t body, header, trailer, message, block_size;
static char *block;
static int epoll_fd, is_bulk;
static uint64_t sent_bytes;

static void choose(const char *kind)
{
    if (sscanf(kind, "bulk%zu", &body) == 1)
        is_bulk = 1;
    else if (sscanf(kind, "prefixed%zu", &body) == 1)
        header = 4;
    else if (sscanf(kind, "lines%zu", &body) == 1)
        trailer = 1;
    if (body < 1 || body > WRITE_BYTES)
        fail("KIND is bulkN, prefixedN or linesN");
    message = header + body + trailer;
    block_size = (BLOCK_BYTES + message - 1) / message * message;
}

static void fill_block(void)
{
    uint64_t x = 0x9E3779B97F4A7C15u;
    size_t at, i;
    block = malloc(block_size);
    if (!block)
        fail("no memory for the messages");
    for (at = 0; at < block_size; at += message) {
        for (i = 0; i < header; i++)
            block[at + i] = (char)(body >> 8 * (header - 1 - i));
        for (i = 0; i < body; i++) {
            x ^= x << 13; x ^= x >> 7; x ^= x << 17;
            block[at + header + i] = trailer ? (char)('0' + (x >> 32) % 64) : (char)(x >> 32);
        }
        if (trailer)
            block[at + header + body] = '\n';
    }
}

static void send_some(Connection *c, size_t most)
{
    size_t left = block_size - c->at;
    ssize_t n = send(c->fd, block + c->at, left < most ? left : most, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        fail("the server closed a connection while it was sent to");
    }
    c->at = (c->at + (size_t)n) % block_size;
    c->sent += (uint64_t)n;
    sent_bytes += (uint64_t)n;
}

static void turn(void)
{
    struct epoll_event events[256];
    int i, n = epoll_wait(epoll_fd, events, 256, 0);
    for (i = 0; i < n; i++)
        send_some(events[i].data.ptr, WRITE_BYTES);
}

static Connection *connect_all(int port, int count)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    Connection *all = calloc((size_t)count, sizeof *all);
    int i, one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (i = 0; i < count; i++) {
        struct epoll_event e = { .events = EPOLLOUT, .data.ptr = &all[i] };
        all[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (all[i].fd < 0 || connect(all[i].fd, (struct sockaddr *)&address, sizeof address) < 0)
            fail("cannot connect");
        setsockopt(all[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, all[i].fd, &e) < 0)
            fail("epoll_ctl");
    }
    return all;
}

static void check(Connection *c)
{
    char answer[256], hex[2 * TAIL + 1], wanted[2 * TAIL + 1];
    size_t got = 0, i, length;
    ssize_t n;
    unsigned long long count, bytes;
    const char *end;
    while (c->sent % message != 0)
        send_some(c, message - c->sent % message);
    shutdown(c->fd, SHUT_WR);
    while ((n = recv(c->fd, answer + got, sizeof answer - 1 - got, 0)) > 0)
        got += (size_t)n;
    answer[got] = 0;
    errno = 0;
    if (sscanf(answer, "%llu %llu %32[0-9a-f]", &count, &bytes, hex) != 3)
        fail("the server did not say what it has received");
    if (bytes != c->sent / message * body || (!is_bulk && count != c->sent / message))
        fail("the server has received another number of messages or bytes than was sent");
    end = block + (c->at ? c->at : block_size) - trailer;
    length = strlen(hex) / 2;
    for (i = 0; i < length; i++)
        sprintf(wanted + 2 * i, "%02x", (unsigned char)end[i - length]);
    if (length < 1 || strncmp(hex, wanted, 2 * length) != 0)
        fail("the last message that the server has received is not the last one sent");
}

static void measure(double seconds, pid_t pid, double window_ms)
{
    int perf_fd = open_task_clock(pid), count = 0, i;
    static uint64_t window_bytes[MAX_WINDOWS], window_cpu[MAX_WINDOWS];
    uint64_t window, end, due, cpu, last_cpu, last_sent;
    if (perf_fd < 0 && window_ms < 400)
        window_ms = 400;
    window = (uint64_t)(window_ms * 1e6);
    for (end = now_ns() + (uint64_t)(WARM_UP * 1e9); now_ns() < end;)
        turn();
    last_cpu = cpu_ns(perf_fd, pid);
    last_sent = sent_bytes;
    end = now_ns() + (uint64_t)(seconds * 1e9);
    for (due = now_ns() + window; due <= end && count < MAX_WINDOWS; due += window) {
        while (now_ns() < due)
            turn();
        cpu = cpu_ns(perf_fd, pid);
        window_bytes[count] = sent_bytes - last_sent;
        window_cpu[count++] = cpu - last_cpu;
        last_cpu = cpu;
        last_sent = sent_bytes;
    }
    printf("{\"clock\": \"%s\", \"message\": %zu, \"windows\": [", perf_fd >= 0 ? "perf task clock" : "schedstat",
           message);
    for (i = 0; i < count; i++)
        printf("%s[%lu, %lu]", i ? ", " : "", window_bytes[i], window_cpu[i]);
    printf("]}\n");
}

int main(int argc, char **argv)
{
    int count, i, counted = argc == 6 && strcmp(argv[4], "count") == 0;
    Connection *all;
    if (argc != 7 && !counted) {
        fprintf(stderr, "usage: blast PORT CONNECTIONS KIND SECONDS SERVER_PID WINDOW_MS\n"
                        "       blast PORT CONNECTIONS KIND count MESSAGES\n");
        return 2;
    }
    count = atoi(argv[2]);
    choose(argv[3]);
    signal(SIGALRM, out_of_time);
    alarm((unsigned)(2 * GRACE + (counted ? GRACE : atof(argv[4]))));
    pin_to_last_core();
    fill_block();
    epoll_fd = epoll_create1(0);
    all = connect_all(atoi(argv[1]), count);
    if (counted)
        while (sent_bytes < strtoull(argv[5], NULL, 10) * message)
            turn();
    else
        measure(atof(argv[4]), (pid_t)atoi(argv[5]), atof(argv[6]));
    for (i = 0; i < count; i++)
        check(&all[i]);
    return 0;
}
