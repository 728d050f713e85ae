/* What loadgen and blast send and receive through: a TCP socket, or, compiled with POOLIO_TLS, TLS by OpenSSL over one.

   wire_send and wire_recv are send and recv that never block: -1 and EAGAIN for not now. TLS is version 1.3 with one
   cipher, so that every server does the same work whatever it prefers; the certificate is not looked at, it is made for
   the occasion. wire_pending: OpenSSL has read ahead, so epoll may not tell of what it holds. wire_end: nothing
   more will be sent. */

#ifndef POOLIO_WIRE_H
#define POOLIO_WIRE_H

#ifndef POOLIO_TLS

#define WIRE "tcp"
typedef struct {
    int fd;
} Wire;

static void wire_open(Wire *w, int fd)
{
    w->fd = fd;
}

static ssize_t wire_send(Wire *w, const char *data, size_t size)
{
    return send(w->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t wire_recv(Wire *w, char *room, size_t size)
{
    return recv(w->fd, room, size, MSG_DONTWAIT);
}

static int wire_pending(const Wire *w)
{
    (void)w;
    return 0;
}

static void wire_end(Wire *w)
{
    shutdown(w->fd, SHUT_WR);
}

#else

#include <openssl/ssl.h>

#define CIPHER "TLS_AES_256_GCM_SHA384"
#define WIRE "TLS 1.3, " CIPHER
typedef struct {
    SSL *ssl;
} Wire;

static SSL_CTX *wire_context(void)
{
    static SSL_CTX *context;
    if (context)
        return context;
    context = SSL_CTX_new(TLS_client_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(context, CIPHER))
        fail("OpenSSL has no TLS 1.3 with " CIPHER);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    signal(SIGPIPE, SIG_IGN);
    return context;
}

static void wire_open(Wire *w, int fd)
{
    w->ssl = SSL_new(wire_context());
    if (!w->ssl || !SSL_set_fd(w->ssl, fd) || SSL_connect(w->ssl) != 1)
        fail("no TLS handshake");
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static ssize_t wire_result(Wire *w, int n)
{
    int reason;
    if (n > 0)
        return n;
    reason = SSL_get_error(w->ssl, n);
    if (reason == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
        errno = EAGAIN;
    else if (reason != SSL_ERROR_SYSCALL || errno == 0)
        errno = EPROTO;
    return -1;
}

static ssize_t wire_send(Wire *w, const char *data, size_t size)
{
    return wire_result(w, SSL_write(w->ssl, data, (int)size));
}

static ssize_t wire_recv(Wire *w, char *room, size_t size)
{
    return wire_result(w, SSL_read(w->ssl, room, (int)size));
}

static int wire_pending(const Wire *w)
{
    return SSL_has_pending(w->ssl);
}

static void wire_end(Wire *w)
{
    SSL_shutdown(w->ssl);
}

#endif
#endif
