/* The limit: what does it cost a C program to receive messages, with epoll and one static buffer?

   sink KIND    prints its port, receives until the end of standard input; KIND as blast has it

   Each readable connection is read once into the static buffer, behind what the read before has left of a message. Its
   messages are walked over, and noted as every server of receivers.py does it. At a connection's end it says what came. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REST = 4096, BUFFER_SIZE = 262144, EVENTS = 1024, BACKLOG = 2048, TAIL = 16, PERIOD = 251 };

typedef struct {
    int fd;
    uint64_t count, sum;                       /* as blast has them */
    size_t kept;
    char rest[REST];
    size_t last_size;
    unsigned char last[TAIL];
} Connection;

static char buffer[REST + BUFFER_SIZE];
static int epoll_fd;
static char kind;
static const char *newest;                     /* the last body of this read, or NULL */
static size_t newest_size;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int fd, Connection *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}

static inline void got(Connection *c, const char *body, size_t size)
{
    c->count += 1;
    c->sum += (unsigned char)body[0];
    newest = body;
    newest_size = size;
}

static void keep_newest(Connection *c)
{
    if (newest == NULL)
        return;
    c->last_size = newest_size < TAIL ? newest_size : TAIL;
    memcpy(c->last, newest + newest_size - c->last_size, c->last_size);
    newest = NULL;
}

/* Returns how many bytes were whole messages. */
static size_t walk(Connection *c, const char *data, size_t size)
{
    size_t at = 0;
    if (kind == 'b') {
        c->sum += (unsigned char)data[0] != c->count % PERIOD;
        c->count += size;
        newest = data;
        newest_size = size;
        return size;
    }
    if (kind == 'p') {
        while (size - at >= 4) {
            const unsigned char *p = (const unsigned char *)data + at;
            size_t length = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
            if (size - at - 4 < length)
                break;
            got(c, data + at + 4, length);
            at += 4 + length;
        }
        return at;
    }
    for (const char *end; (end = memchr(data + at, '\n', size - at)) != NULL; at = (size_t)(end - data) + 1)
        got(c, data + at, (size_t)(end - data) - at);
    return at;
}

static void finish(Connection *c)
{
    char line[128];
    int length = sprintf(line, "%llu %llu ", (unsigned long long)c->count, (unsigned long long)c->sum);
    for (size_t i = 0; i < c->last_size; i++)
        length += sprintf(line + length, "%02x", c->last[i]);
    line[length++] = '\n';
    if (send(c->fd, line, (size_t)length, MSG_NOSIGNAL) < 0)
        perror("send");
    close(c->fd);
    free(c);
}

static void receive(Connection *c)
{
    char *start = buffer + REST - c->kept;
    ssize_t received = recv(c->fd, buffer + REST, BUFFER_SIZE, 0);
    size_t size, used;
    if (received < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (received <= 0) {
        finish(c);
        return;
    }
    memcpy(start, c->rest, c->kept);
    size = c->kept + (size_t)received;
    used = walk(c, start, size);
    keep_newest(c);
    c->kept = size - used;
    if (c->kept > REST)
        fail("a message is larger than its room");
    memcpy(c->rest, start + used, c->kept);
}

int main(int argc, char **argv)
{
    static struct epoll_event events[EVENTS];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), fd;
    static Connection listening, input;
    if (argc != 2)
        return 2;
    kind = argv[1][0];
    epoll_fd = epoll_create1(0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, BACKLOG) < 0)
        fail("listen");
    if (epoll_fd < 0 || getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        fail("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    watch(listener, &listening);
    watch(STDIN_FILENO, &input);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            Connection *c = events[i].data.ptr;
            if (c == &input)
                return 0;
            if (c != &listening) {
                receive(c);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                c = calloc(1, sizeof *c);
                if (c == NULL)
                    fail("calloc");
                c->fd = fd;
                watch(fd, c);
            }
        }
    }
}
