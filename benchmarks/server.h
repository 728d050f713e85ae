/* What the servers in C share (limit.c, limit_tls.c, sink.c): failing, epoll, a listener whose port is printed.

   Who is ready is told by a pointer, whatever a server has for a connection: object, or descriptor. The listener and
   standard input, whose end ends the server, are known by the addresses of `listener` and `input`. serve() is the loop;
   what a new connection and a ready one mean, each server says with open_connection() and receive(). */

#ifndef POOLIO_BENCH_SERVER_H
#define POOLIO_BENCH_SERVER_H

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, BACKLOG = 2048 };

static int epoll_fd, listener, input = STDIN_FILENO;

static void open_connection(int fd);
static void receive(void *who);

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int fd, void *who)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = who};
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

static void accept_all(void)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
        open_connection(fd);
    if (errno != EAGAIN && errno != ECONNABORTED)
        fail("accept4");
}

/* Returns at the end of standard input. */
static void serve(void)
{
    static struct epoll_event events[EVENTS];
    epoll_fd = epoll_create1(0);
    if (epoll_fd < 0)
        fail("epoll_create1");
    listener = listen_on_a_free_port();
    watch(listener, &listener);
    watch(input, &input);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            void *who = events[i].data.ptr;
            if (who == &input)
                return;
            if (who == &listener)
                accept_all();
            else
                receive(who);
        }
    }
}

#endif
