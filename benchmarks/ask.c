/* The load generator of whole programs: keeps N connections busy with one question each, and checks every answer.

   ask PORT CONNECTIONS KIND SECONDS SERVER_PID WINDOW_MS    prints one JSON object
   ask PORT CONNECTIONS KIND count ANSWERS                   as many in all, and those on their way; prints nothing

   KIND is httpN (GET /, which is answered with N bytes, byte i being i mod 251) or websocketN (a masked binary message
   of N bytes, which comes back; messages start at changing places of a random block, so stale bytes are seen). Of an
   answer over HTTP the status, the length and all bytes of the body are checked, of other headers nothing. It never
   sleeps, so that the server's core is always asked for more. The server's CPU time is read every window, from the
   clock that bench.h finds. A wrong answer or an early close ends it with a message and status 1. */

#define PROGRAM "ask"
#include "bench.h"

enum { SPREAD = 4096, HEAD_BYTES = 4096, MOST_BYTES = 65535, PERIOD = 251, MASK_BYTES = 4 };
static const double WARM_UP = 0.15, GRACE = 20.0;
static const char GET[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: ask\r\nAccept: */*\r\n\r\n";
static const char UPGRADE[] =
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

typedef struct {
    int fd;
    uint32_t interest;
    size_t asking, sent, received;             /* bytes: of the question, of it sent, of the answer */
    uint64_t sequence;
    const char *body;                          /* of the answer that is right */
    char *question, *answer;
} Connection;

static size_t size, room;
static char *block;
static int epoll_fd, is_websocket;
static uint64_t answers;

static void choose(const char *kind)
{
    if (sscanf(kind, "websocket%zu", &size) == 1)
        is_websocket = 1;
    else if (sscanf(kind, "http%zu", &size) != 1)
        size = 0;
    if (size < 1 || size > MOST_BYTES)
        fail("KIND is httpN or websocketN, N at most 65535");
    room = size + HEAD_BYTES;
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
        block[i] = (char)(is_websocket ? x >> 32 : i % PERIOD);
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
    while (c->sent < c->asking) {
        ssize_t n = send(c->fd, c->question + c->sent, c->asking - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
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

/* The first bytes of a frame that holds one whole binary message. `masked` is 0x80 or 0. */
static size_t frame_head(char *head, int masked)
{
    head[0] = (char)0x82;
    if (size < 126) {
        head[1] = (char)(masked | (int)size);
        return 2;
    }
    head[1] = (char)(masked | 126);
    head[2] = (char)(size >> 8);
    head[3] = (char)size;
    return 4;
}

static void write_frame(Connection *c)
{
    char *out = c->question + frame_head(c->question, 0x80);
    uint32_t mask = (uint32_t)(c->sequence * 2654435761u);
    size_t i;
    memcpy(out, &mask, MASK_BYTES);
    for (i = 0; i < size; i++)
        out[MASK_BYTES + i] = (char)(c->body[i] ^ out[i % MASK_BYTES]);
    c->asking = (size_t)(out - c->question) + MASK_BYTES + size;
}

static void ask(Connection *c)
{
    c->sequence += 1;
    if (is_websocket) {
        c->body = block + (c->sequence * 61 + (uint64_t)c->fd * 17) % SPREAD;
        write_frame(c);
    }
    c->sent = c->received = 0;
    send_more(c);
}

/* Of an answer's head, 0 if it has not come whole. The answer ends with a zero byte. */
static size_t head_of(const Connection *c)
{
    char expected[4];
    const char *end, *length;
    size_t bytes;
    if (is_websocket) {
        bytes = frame_head(expected, 0);
        if (c->received < bytes)
            return 0;
        if (memcmp(c->answer, expected, bytes) != 0)
            fail("the server sent another frame than one binary message of this size");
        return bytes;
    }
    end = strstr(c->answer, "\r\n\r\n");
    if (!end)
        return 0;
    if (strncmp(c->answer, "HTTP/1.1 200 ", 13) != 0)
        fail("the server did not answer with HTTP/1.1 200");
    length = strcasestr(c->answer, "\r\nContent-Length:");
    if (!length || length > end || strtoull(length + strlen("\r\nContent-Length:"), NULL, 10) != size)
        fail("the server did not name the length of the body, or another one");
    return (size_t)(end - c->answer) + 4;
}

/* 1: this was the end of an answer. */
static int receive(Connection *c)
{
    ssize_t n = recv(c->fd, c->answer + c->received, room - c->received, MSG_DONTWAIT);
    size_t head;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n >= 0)
        errno = 0;                             /* what a call before this one left is not the reason */
    if (n <= 0)
        fail("the server closed a connection before it had answered");
    if (c->sent < c->asking)
        fail("the server answered before it was asked");
    c->received += (size_t)n;
    c->answer[c->received] = 0;
    head = head_of(c);
    if (c->received > (head ? head + size : room - 1))
        fail("the server sent more than the answer");
    if (!head || c->received < head + size)
        return 0;
    if (memcmp(c->answer + head, c->body, size) != 0)
        fail("the server answered with wrong bytes");
    answers += 1;
    return 1;
}

static void turn(void)
{
    struct epoll_event events[256];
    int i, n = epoll_wait(epoll_fd, events, 256, 0);
    for (i = 0; i < n; i++) {
        Connection *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            send_more(c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && receive(c))
            ask(c);
    }
}

/* Blocks until the server has said that it speaks WebSocket. */
static void upgrade(Connection *c)
{
    char said[HEAD_BYTES];
    size_t got = 0;
    ssize_t n;
    if (send(c->fd, UPGRADE, sizeof UPGRADE - 1, MSG_NOSIGNAL) != (ssize_t)sizeof UPGRADE - 1)
        fail("cannot send the opening handshake");
    do {
        n = recv(c->fd, said + got, sizeof said - 1 - got, 0);
        if (n <= 0)
            fail("the server closed a connection in the opening handshake");
        got += (size_t)n;
        said[got] = 0;
    } while (!strstr(said, "\r\n\r\n"));
    if (strncmp(said, "HTTP/1.1 101 ", 13) != 0)
        fail("the server does not speak WebSocket");
}

static Connection *connect_all(int port, int count)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    Connection *all = calloc((size_t)count, sizeof *all);
    int i, one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (i = 0; i < count; i++) {
        Connection *c = &all[i];
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        c->question = malloc(room);
        c->answer = malloc(room + 1);
        if (c->fd < 0 || !c->question || !c->answer || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
            fail("cannot connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->body = block;
        c->asking = sizeof GET - 1;
        memcpy(c->question, GET, c->asking);
        if (is_websocket)
            upgrade(c);
    }
    return all;
}

static void warm_up(Connection *all, int count)
{
    uint64_t start = now_ns(), enough = start + (uint64_t)(WARM_UP * 1e9), limit = start + (uint64_t)(GRACE * 1e9);
    int i;
    for (i = 0; i < count; i++)
        ask(&all[i]);
    for (i = 0; i < count || now_ns() < enough; turn()) {
        while (i < count && all[i].sequence > 1)
            i++;
        if (now_ns() > limit)
            fail("the server did not answer one question on each connection in time");
    }
}

static void measure(double seconds, pid_t pid, double window_ms)
{
    static uint64_t window_answers[MAX_WINDOWS], window_cpu[MAX_WINDOWS];
    int perf_fd = open_task_clock(pid), count = 0, i;
    uint64_t window, start, end, due, cpu, last_cpu, first = answers, last = answers;
    suit_the_clock(perf_fd, &seconds, &window_ms);
    window = (uint64_t)(window_ms * 1e6);
    last_cpu = cpu_ns(perf_fd, pid);
    start = now_ns();
    end = start + (uint64_t)(seconds * 1e9);
    for (due = start + window; (due <= end || last == first) && count < MAX_WINDOWS; due += window) {
        while (now_ns() < due)
            turn();
        cpu = cpu_ns(perf_fd, pid);
        window_answers[count] = answers - last;
        window_cpu[count++] = cpu - last_cpu;
        last_cpu = cpu;
        last = answers;
    }
    end = now_ns();
    printf("{\"answers\": %lu, \"seconds\": %.6f, \"clock\": \"%s\", \"windows\": [",
           last - first, (double)(end - start) / 1e9, clock_name(perf_fd));
    for (i = 0; i < count; i++)
        printf("%s[%lu, %lu]", i ? ", " : "", window_answers[i], window_cpu[i]);
    printf("]}\n");
}

int main(int argc, char **argv)
{
    int i, count, counted = argc == 6 && strcmp(argv[4], "count") == 0;
    Connection *all;
    if (argc != 7 && !counted) {
        fprintf(stderr, "usage: ask PORT CONNECTIONS KIND SECONDS SERVER_PID WINDOW_MS\n"
                        "       ask PORT CONNECTIONS KIND count ANSWERS\n");
        return 2;
    }
    count = atoi(argv[2]);
    choose(argv[3]);
    signal(SIGALRM, out_of_time);
    alarm((unsigned)(2 * GRACE + (counted ? 10 * GRACE : atof(argv[4]))));
    pin_to_last_core();
    fill_block();
    epoll_fd = epoll_create1(0);
    all = connect_all(atoi(argv[1]), count);
    if (!counted) {
        warm_up(all, count);
        measure(atof(argv[4]), (pid_t)atoi(argv[5]), atof(argv[6]));
        return 0;
    }
    for (i = 0; i < count; i++)
        ask(&all[i]);
    while (answers < strtoull(argv[5], NULL, 10))
        turn();
    return 0;
}
