/* The limit: what does an echo cost a C program with epoll and one static buffer? No server, a measure for servers.

   limit    prints its port, echoes until the end of standard input

   Every readable connection is read once and what came is written back at once; no queue, no allocation, no state for a
   connection. If a peer's window is full it waits for that peer alone, up to STALL_MS: right for the load generator,
   which always reads, and for nobody else. It runs where servers.py has pinned it. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_SIZE = 262144, EVENTS = 1024, BACKLOG = 2048, STALL_MS = 10000 };

static char buffer[BUFFER_SIZE];
static int epoll_fd;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}

static int listen_on_a_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, BACKLOG) < 0)
        fail("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        fail("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_all(int listener)
{
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        watch(fd);
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        fail("accept4");
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

static void echo(int fd)
{
    ssize_t received = recv(fd, buffer, sizeof buffer, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (received <= 0 || write_all(fd, buffer, (size_t)received) < 0)
        close(fd);
}

int main(void)
{
    static struct epoll_event events[EVENTS];
    int listener;
    epoll_fd = epoll_create1(0);
    if (epoll_fd < 0)
        fail("epoll_create1");
    listener = listen_on_a_free_port();
    watch(listener);
    watch(STDIN_FILENO);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == STDIN_FILENO)
                return 0;
            if (events[i].data.fd == listener)
                accept_all(listener);
            else
                echo(events[i].data.fd);
        }
    }
}
