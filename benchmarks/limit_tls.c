/* The limit: what does an echo over TLS cost a C program with epoll, OpenSSL and one static buffer?

   limit_tls PEM    prints its port, echoes until the end of standard input; PEM holds key and certificate

   As limit.c, with what TLS cannot do without: an SSL object for each connection. OpenSSL reads ahead, so what is there
   comes in one recv; records are gathered before they are sent, so an answer leaves in one send. If a peer's window is
   full it waits for that peer alone, up to STALL_MS. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_SIZE = 262144, GATHERED = 131072, EVENTS = 1024, BACKLOG = 2048, STALL_MS = 10000 };

static char buffer[BUFFER_SIZE];
static int epoll_fd;
static SSL_CTX *context;

static void fail(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* Connections are known by their SSL object; the two others by their descriptor, which is smaller than any pointer. */
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

static void accept_all(int listener)
{
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        SSL *ssl = SSL_new(context);
        BIO *gathering = BIO_new(BIO_f_buffer()), *to_socket = BIO_new_socket(fd, BIO_NOCLOSE);
        if (!ssl || !gathering || !to_socket || !BIO_set_write_buffer_size(gathering, GATHERED))
            fail("no memory for a connection");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        SSL_set0_rbio(ssl, BIO_new_socket(fd, BIO_NOCLOSE));
        SSL_set0_wbio(ssl, BIO_push(gathering, to_socket));
        SSL_set_accept_state(ssl);
        watch(fd, ssl);
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        fail("accept4");
}

/* 0: goes on; -1: the connection is over. */
static int room_for_more(SSL *ssl)
{
    struct pollfd room = {.fd = SSL_get_rfd(ssl), .events = POLLOUT};
    return poll(&room, 1, STALL_MS) == 1 ? 0 : -1;
}

static int write_all(SSL *ssl, int size)
{
    int sent;
    while ((sent = SSL_write(ssl, buffer, size)) <= 0)
        if (SSL_get_error(ssl, sent) != SSL_ERROR_WANT_WRITE || room_for_more(ssl) < 0)
            return -1;
    return 0;
}

static int flush(SSL *ssl)
{
    while (BIO_flush(SSL_get_wbio(ssl)) <= 0)
        if (!BIO_should_retry(SSL_get_wbio(ssl)) || room_for_more(ssl) < 0)
            return -1;
    return 0;
}

/* All that OpenSSL holds, as far as the buffer goes; 0: nothing was whole; -1: the connection is over. */
static int echo_some(SSL *ssl)
{
    int got = 0, n;
    do {
        n = SSL_read(ssl, buffer + got, BUFFER_SIZE - got);
        if (n > 0)
            got += n;
    } while (n > 0 && got < BUFFER_SIZE && SSL_has_pending(ssl));
    if (n <= 0 && SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
        return -1;
    if ((got > 0 && write_all(ssl, got) < 0) || flush(ssl) < 0)
        return -1;
    return got;
}

static void echo(SSL *ssl)
{
    int got, fd = SSL_get_rfd(ssl);
    while ((got = echo_some(ssl)) > 0 && SSL_has_pending(ssl))
        ;
    if (got >= 0)
        return;
    ERR_clear_error();
    SSL_free(ssl);
    close(fd);
}

int main(int argc, char **argv)
{
    static struct epoll_event events[EVENTS];
    int listener;
    if (argc != 2) {
        fprintf(stderr, "usage: limit_tls PEM\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    context = SSL_CTX_new(TLS_server_method());
    if (!context || SSL_CTX_use_certificate_chain_file(context, argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[1], SSL_FILETYPE_PEM) != 1)
        fail(argv[1]);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 65536);
    epoll_fd = epoll_create1(0);
    if (epoll_fd < 0)
        fail("epoll_create1");
    listener = listen_on_a_free_port();
    watch(listener, (void *)(intptr_t)listener);
    watch(STDIN_FILENO, (void *)(intptr_t)STDIN_FILENO);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            intptr_t who = (intptr_t)events[i].data.ptr;
            if (who == STDIN_FILENO)
                return 0;
            if (who == listener)
                accept_all(listener);
            else
                echo(events[i].data.ptr);
        }
    }
}
