/* The limit: what does it cost a C program to receive messages, with epoll and one static buffer?

   sink KIND    prints its port, receives until the end of standard input; KIND as blast has it

   Each readable connection is read once into the static buffer, behind what the read before has left of a message. Its
   messages are walked over, and noted as every server of receivers.py does it. At a connection's end it says what came. */

#include "server.h"
#include <string.h>

enum { REST = 4096, BUFFER_SIZE = 262144, TAIL = 16, PERIOD = 251 };

typedef struct {
    int fd;
    uint64_t count, sum;                       /* as blast has them */
    size_t kept;
    char rest[REST];
    size_t last_size;
    unsigned char last[TAIL];
} Connection;

static char buffer[REST + BUFFER_SIZE];
static char kind;
static const char *newest;                     /* the last body of this read, or NULL */
static size_t newest_size;

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

static void receive(void *who)
{
    Connection *c = who;
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

static void open_connection(int fd)
{
    Connection *c = calloc(1, sizeof *c);
    if (c == NULL)
        fail("calloc");
    c->fd = fd;
    watch(fd, c);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    kind = argv[1][0];
    serve();
    return 0;
}
