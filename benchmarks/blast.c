/* The one-way load generator: sends messages as fast as the server takes them, and checks what it says it has received.

   blast PORT CONNECTIONS KIND SECONDS SERVER_PID WINDOW_MS    prints one JSON object
   blast PORT CONNECTIONS KIND count MESSAGES                  about as many in all; prints nothing

   KIND is bulkN (bytes with nothing between; N of them count as one message), prefixedN (N bytes behind a length of 4
   bytes) or linesN (N bytes and a line feed). Every write is 64 KiB, whatever the messages. What counts is what the
   server has read from its sockets, at the end of each window: what the kernel has taken, less what it has not yet sent
   and less the server's receive queues, which sock_diag tells. (A sender is let in again only when a third of its buffer
   is free: a megabyte at once, more than a slow server reads in a window. The quantile over such windows would flatter
   the slow.) Without sock_diag the receive queues are not subtracted, and "counted" says so.

   At the end each connection is ended behind a whole message, and the server answers with a line of three figures. For
   messages: how many, the sum of the first bytes of all bodies, the last 16 bytes of the last body in hexadecimal. For
   bulk: how many bytes, how many reads began with another byte than belongs there (byte i of the stream is i mod 251),
   the last 16 bytes. A wrong answer ends it with a message and status 1.

   Compiled with POOLIO_TLS all of this goes over TLS (wire.h), bulk only: the queues are then those of encrypted bytes,
   which are more by a thousandth. */

#define PROGRAM "blast"
#include "bench.h"
#include "wire.h"
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

enum { WRITE_BYTES = 65536, BLOCK_BYTES = 1 << 20, TAIL = 16, PERIOD = 251 };
static const double WARM_UP = 0.15, GRACE = 20.0;

typedef struct {
    int fd;
    Wire wire;
    in_port_t port;                            /* in network order */
    size_t at;
    uint64_t sent;
} Connection;

static size_t body, header, trailer, message, block_size;
static char *block;
static int epoll_fd, diag_fd, is_bulk;
static in_port_t server_port;
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
    block_size = is_bulk ? BLOCK_BYTES / PERIOD * PERIOD : (BLOCK_BYTES + message - 1) / message * message;
}

static void fill_block(void)
{
    uint64_t x = 0x9E3779B97F4A7C15u;
    size_t at, i;
    block = malloc(block_size);
    if (!block)
        fail("no memory for the messages");
    for (at = 0; is_bulk && at < block_size; at++)
        block[at] = (char)(at % PERIOD);
    for (at = 0; !is_bulk && at < block_size; at += message) {
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
    ssize_t n = wire_send(&c->wire, block + c->at, left < most ? left : most);
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

/* Bytes that the server has not yet read from this connection's socket; -1: sock_diag does not tell. */
static int64_t unread(const Connection *c)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } question;
    union {
        struct nlmsghdr header;
        char room[4096];
    } reply;
    memset(&question, 0, sizeof question);
    question.header.nlmsg_len = sizeof question;
    question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    question.header.nlmsg_flags = NLM_F_REQUEST;
    question.request.sdiag_family = AF_INET;
    question.request.sdiag_protocol = IPPROTO_TCP;
    question.request.idiag_states = ~0u;
    question.request.id.idiag_sport = server_port;
    question.request.id.idiag_dport = c->port;
    question.request.id.idiag_src[0] = question.request.id.idiag_dst[0] = htonl(INADDR_LOOPBACK);
    question.request.id.idiag_cookie[0] = question.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    if (send(diag_fd, &question, sizeof question, 0) < 0 || recv(diag_fd, &reply, sizeof reply, 0) <= 0 ||
        reply.header.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return -1;
    return ((struct inet_diag_msg *)NLMSG_DATA(&reply.header))->idiag_rqueue;
}

/* The receive queues are asked for last: what is read in between was sent before. */
static uint64_t bytes_read(const Connection *all, int count)
{
    uint64_t bytes = sent_bytes;
    int64_t queued;
    int i, unsent;
    for (i = 0; i < count; i++) {
        if (ioctl(all[i].fd, SIOCOUTQNSD, &unsent) < 0)
            fail("cannot ask for the send queue");
        bytes -= (uint64_t)unsent;
        if (diag_fd < 0)
            continue;
        queued = unread(&all[i]);
        if (queued < 0)
            fail("cannot ask for the server's receive queue");
        bytes -= (uint64_t)queued;
    }
    return bytes;
}

/* Where the kernel has no sock_diag for TCP, diag_fd stays -1. */
static void open_diag(const Connection *any)
{
    diag_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (diag_fd >= 0 && unread(any) < 0) {
        close(diag_fd);
        diag_fd = -1;
    }
}

static Connection *connect_all(int port, int count)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) }, own;
    Connection *all = calloc((size_t)count, sizeof *all);
    socklen_t size = sizeof own;
    int i, one = 1;
    server_port = address.sin_port;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (i = 0; i < count; i++) {
        struct epoll_event e = { .events = EPOLLOUT, .data.ptr = &all[i] };
        all[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (all[i].fd < 0 || connect(all[i].fd, (struct sockaddr *)&address, sizeof address) < 0)
            fail("cannot connect");
        if (getsockname(all[i].fd, (struct sockaddr *)&own, &size) < 0)
            fail("getsockname");
        all[i].port = own.sin_port;
        setsockopt(all[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        wire_open(&all[i].wire, all[i].fd);
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, all[i].fd, &e) < 0)
            fail("epoll_ctl");
    }
    return all;
}

/* Of all bodies that a connection has sent whole. */
static uint64_t sum_of_first_bytes(uint64_t count)
{
    uint64_t sum = 0, all = 0, in_block = block_size / message, i;
    for (i = 0; i < in_block; i++) {
        unsigned char first = (unsigned char)block[i * message + header];
        all += first;
        if (i < count % in_block)
            sum += first;
    }
    return sum + count / in_block * all;
}

static void check(Connection *c)
{
    char answer[256], hex[2 * TAIL + 1], wanted[2 * TAIL + 1];
    size_t got = 0, i, length;
    ssize_t n;
    unsigned long long count, sum;
    const char *end;
    while (!is_bulk && c->sent % message != 0)
        send_some(c, message - c->sent % message);
    fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) & ~O_NONBLOCK);
    if (is_bulk)
        send_some(c, WRITE_BYTES);             /* with it what OpenSSL has of the write before */
    wire_end(&c->wire);
    do {
        n = wire_recv(&c->wire, answer + got, sizeof answer - 1 - got);
        got += n > 0 ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EAGAIN));
    answer[got] = 0;
    errno = 0;
    if (sscanf(answer, "%llu %llu %32[0-9a-f]", &count, &sum, hex) != 3)
        fail("the server did not say what it has received");
    if (count != (is_bulk ? c->sent : c->sent / message))
        fail("the server has received another number of messages or bytes than was sent");
    if (sum != (is_bulk ? 0 : sum_of_first_bytes(count)))
        fail("the first bytes of what the server has received are not those that were sent");
    end = block + (c->at ? c->at : block_size) - trailer;
    length = strlen(hex) / 2;
    for (i = 0; i < length; i++)
        sprintf(wanted + 2 * i, "%02x", (unsigned char)end[i - length]);
    if (length < 1 || strncmp(hex, wanted, 2 * length) != 0)
        fail("the last message that the server has received is not the last one sent");
}

static void measure(const Connection *all, int connections, double seconds, pid_t pid, double window_ms)
{
    int perf_fd = open_task_clock(pid), count = 0, i;
    static uint64_t window_bytes[MAX_WINDOWS], window_cpu[MAX_WINDOWS];
    uint64_t window, end, due, cpu, last_cpu, bytes, first_bytes, last_bytes;
    suit_the_clock(perf_fd, &seconds, &window_ms);
    window = (uint64_t)(window_ms * 1e6);
    for (end = now_ns() + (uint64_t)(WARM_UP * 1e9); now_ns() < end;)
        turn();
    last_cpu = cpu_ns(perf_fd, pid);
    first_bytes = last_bytes = bytes_read(all, connections);
    end = now_ns() + (uint64_t)(seconds * 1e9);
    for (due = now_ns() + window; (due <= end || last_bytes == first_bytes) && count < MAX_WINDOWS; due += window) {
        while (now_ns() < due)
            turn();
        cpu = cpu_ns(perf_fd, pid);
        bytes = bytes_read(all, connections);
        if (bytes < last_bytes)                /* by as much as is just on its way from queue to queue */
            bytes = last_bytes;
        window_bytes[count] = bytes - last_bytes;
        window_cpu[count++] = cpu - last_cpu;
        last_cpu = cpu;
        last_bytes = bytes;
    }
    printf("{\"clock\": \"%s\", \"counted\": \"%s\", \"message\": %zu, \"windows\": [",
           clock_name(perf_fd), diag_fd >= 0 ? "read by the server" : "received by its kernel",
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
    send_some(&all[0], message);               /* accepted or not, sock_diag knows it now */
    open_diag(&all[0]);
    if (counted)
        while (sent_bytes < strtoull(argv[5], NULL, 10) * message)
            turn();
    else
        measure(all, count, atof(argv[4]), (pid_t)atoi(argv[5]), atof(argv[6]));
    for (i = 0; i < count; i++)
        check(&all[i]);
    return 0;
}
