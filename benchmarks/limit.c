/* The limit: what does an echo cost a C program with epoll and one static buffer? No server, a measure for servers.

   limit            prints its port, echoes until the end of standard input
   limit closing    the same, and closes a connection behind its first answer

   Every readable connection is read once and what came is written back at once; no queue, no allocation, no state for a
   connection. If a peer's window is full it waits for that peer alone, up to STALL_MS: right for the load generator,
   which always reads, and for nobody else. It runs where servers.py has pinned it. */

#include "server.h"
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>

enum { BUFFER_SIZE = 262144, STALL_MS = 10000 };

static char buffer[BUFFER_SIZE];
static int is_closing;

/* It is known by its descriptor. */
static void open_connection(int fd)
{
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    watch(fd, (void *)(intptr_t)fd);
}

/* 0: goes on; -1: the connection is over. */
static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent >= 0) {
            data += sent;
            size -= (size_t)sent;
        } else if (errno == EAGAIN) {
            struct pollfd room = {.fd = fd, .events = POLLOUT};
            if (poll(&room, 1, STALL_MS) == 0)
                return -1;
        } else if (errno != EINTR)
            return -1;
    }
    return 0;
}

static void receive(void *who)
{
    int fd = (int)(intptr_t)who;
    ssize_t received = recv(fd, buffer, sizeof buffer, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (received <= 0 || write_all(fd, buffer, (size_t)received) < 0 || is_closing)
        close(fd);
}

int main(int argc, char **argv)
{
    is_closing = argc > 1 && strcmp(argv[1], "closing") == 0;
    serve();
    return 0;
}
