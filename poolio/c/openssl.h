/* Owns the calls into the OpenSSL that CPython's `_ssl` module uses, and the BIO by which it reads and writes here.
   Declared by openssl.pxd. Needs the GIL, except where said.

   Nothing of OpenSSL is needed to build this, and nothing is linked: `_ssl` has loaded its libssl already, so
   poolio_openssl_load() asks the dynamic linker for the functions of that very library. If OpenSSL is linked into the
   interpreter, its names are hidden, and the load fails.

   The SSL of a socket object of `_ssl` lies behind its header and one reference. It is used only when its own
   application data says that it belongs to that object (poolio_ssl_of()).

       recv() ──> memory of the caller's ──> poolio_tls_io.in ──> SSL_read_ex()
       SSL_write_ex() ──> poolio_tls_io.out, room of the caller's; what does not fit, and what OpenSSL says by itself
                          (handshakes, alerts, tickets, key updates), goes to `spill` */

#ifndef POOLIO_OPENSSL_H
#define POOLIO_OPENSSL_H

#include <Python.h>
#include <stdint.h>
#include <string.h>
#include "faults.h"

#if defined(_WIN32) || defined(POOLIO_WITHOUT_EPOLL)
#define POOLIO_HAS_DLSYM 0              /* there is no transport, either; all this is compiled, and never called */
#else
#include <dlfcn.h>
#include <unistd.h>
#define POOLIO_HAS_DLSYM 1
#endif

enum {
    POOLIO_SSL_READING = 3,                 /* SSL_want(): it waits for its peer */
    POOLIO_SSL_RECEIVED_SHUTDOWN = 2,
    POOLIO_ALERTS = 1000,                   /* the reasons of errors that are alerts of the peer */
    POOLIO_ALERTS_END = 1256,
    POOLIO_SSL_CLEANSES_PLAINTEXT = 2,      /* SSL_OP_CLEANSE_PLAINTEXT of OpenSSL 3 */
    POOLIO_BIO_SOURCE_SINK = 0x0400,
    POOLIO_BIO_RETRIES_READING = 0x09,      /* BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY */
    POOLIO_BIO_RETRIES = 0x0F,
    POOLIO_BIO_CTRL_DUP = 12,
    POOLIO_BIO_CTRL_FLUSH = 11
};

/* The two sides of one connection. Its BIO and its engine hold it, as an SSL object may outlive the connection. */
typedef struct {
    const char *in;             /* LIFETIME: the engine's, which sets it before each call into OpenSSL */
    size_t in_left;
    char *out;                  /* LIFETIME: the engine's, while it seals; otherwise there is no room */
    size_t out_room;
    size_t out_size;
    char *spill;                /* of the heap, freed when it was taken: idle connections hold none */
    size_t spill_room;
    size_t spill_size;
    int holders;
} poolio_tls_io;

static struct {
    void *(*SSL_get_ex_data)(const void *ssl, int index);
    void (*SSL_set_bio)(void *ssl, void *rbio, void *wbio);
    int (*SSL_read_ex)(void *ssl, void *room, size_t size, size_t *got);
    int (*SSL_write_ex)(void *ssl, const void *data, size_t size, size_t *taken);
    int (*SSL_has_pending)(const void *ssl);
    int (*SSL_version)(const void *ssl);
    uint64_t (*SSL_set_options)(void *ssl, uint64_t options);
    int (*SSL_want)(const void *ssl);
    int (*SSL_get_shutdown)(const void *ssl);
    unsigned long (*ERR_peek_last_error)(void);
    unsigned long (*OpenSSL_version_num)(void);
    void *(*BIO_meth_new)(int type, const char *name);
    int (*BIO_meth_set_read)(void *method, int (*read)(void *, char *, int));
    int (*BIO_meth_set_write)(void *method, int (*write)(void *, const char *, int));
    int (*BIO_meth_set_ctrl)(void *method, long (*ctrl)(void *, int, long, void *));
    int (*BIO_meth_set_destroy)(void *method, int (*destroy)(void *));
    int (*BIO_get_new_index)(void);
    void *(*BIO_new)(const void *method);
    void (*BIO_set_data)(void *bio, void *data);
    void *(*BIO_get_data)(void *bio);
    void (*BIO_set_init)(void *bio, int init);
    void (*BIO_set_flags)(void *bio, int flags);
    void (*BIO_clear_flags)(void *bio, int flags);
} poolio_openssl;

static void *poolio_bio_method;

static inline void poolio_tls_io_drop(poolio_tls_io *io)
{
#if POOLIO_HAS_DLSYM
    int left = __atomic_sub_fetch(&io->holders, 1, __ATOMIC_ACQ_REL);
#else
    int left = --io->holders;
#endif
    if (left > 0)
        return;
    PyMem_RawFree(io->spill);
    PyMem_RawFree(io);
}

/* --- what OpenSSL calls, with or without the GIL; no Python runs in it --- */

static int poolio_bio_read(void *bio, char *room, int size)
{
    poolio_tls_io *io = (poolio_tls_io *)poolio_openssl.BIO_get_data(bio);
    if (io->in_left == 0) {
        poolio_openssl.BIO_set_flags(bio, POOLIO_BIO_RETRIES_READING);
        return -1;
    }
    if ((size_t)size > io->in_left)
        size = (int)io->in_left;
    memcpy(room, io->in, (size_t)size);
    io->in += size;
    io->in_left -= (size_t)size;
    return size;
}

static int poolio_bio_spill(poolio_tls_io *io, const char *data, size_t size)
{
    if (size > io->spill_room - io->spill_size) {
        size_t room = (io->spill_size + size) * 2;
        char *spill = (char *)PyMem_RawRealloc(io->spill, room);
        if (spill == NULL)
            return -1;
        io->spill = spill;
        io->spill_room = room;
    }
    memcpy(io->spill + io->spill_size, data, size);
    io->spill_size += size;
    return (int)size;
}

static int poolio_bio_write(void *bio, const char *data, int size)
{
    poolio_tls_io *io = (poolio_tls_io *)poolio_openssl.BIO_get_data(bio);
    if ((size_t)size > io->out_room - io->out_size || io->spill_size > 0) {
        if (poolio_bio_spill(io, data, (size_t)size) < 0) {
            poolio_openssl.BIO_clear_flags(bio, POOLIO_BIO_RETRIES);    /* those of an earlier read */
            return -1;
        }
        return size;
    }
    memcpy(io->out + io->out_size, data, (size_t)size);
    io->out_size += (size_t)size;
    return size;
}

static long poolio_bio_ctrl(void *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == POOLIO_BIO_CTRL_FLUSH || command == POOLIO_BIO_CTRL_DUP;
}

static int poolio_bio_destroy(void *bio)
{
    poolio_tls_io *io = (poolio_tls_io *)poolio_openssl.BIO_get_data(bio);
    if (io != NULL)
        poolio_tls_io_drop(io);
    poolio_openssl.BIO_set_data(bio, NULL);
    return 1;
}

/* --- finding OpenSSL ---------------------------------------------------- */

#define POOLIO_FIND(name)                                                              \
    do {                                                                               \
        void *found = dlsym(library, #name);                                           \
        if (found == NULL)                                                             \
            return #name;                                                              \
        memcpy(&poolio_openssl.name, &found, sizeof(found));                           \
    } while (0)

/* Find the functions of the library that this extension module uses. Returns NULL, or what is missing. */
static const char *poolio_openssl_load(const char *path)
{
#if POOLIO_HAS_DLSYM
    void *library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (library == NULL)
        return "the module as a shared library";
    POOLIO_FIND(SSL_get_ex_data);
    POOLIO_FIND(SSL_set_bio);
    POOLIO_FIND(SSL_read_ex);
    POOLIO_FIND(SSL_write_ex);
    POOLIO_FIND(SSL_has_pending);
    POOLIO_FIND(SSL_version);
    POOLIO_FIND(SSL_set_options);
    POOLIO_FIND(SSL_want);
    POOLIO_FIND(SSL_get_shutdown);
    POOLIO_FIND(ERR_peek_last_error);
    POOLIO_FIND(OpenSSL_version_num);
    POOLIO_FIND(BIO_meth_new);
    POOLIO_FIND(BIO_meth_set_read);
    POOLIO_FIND(BIO_meth_set_write);
    POOLIO_FIND(BIO_meth_set_ctrl);
    POOLIO_FIND(BIO_meth_set_destroy);
    POOLIO_FIND(BIO_get_new_index);
    POOLIO_FIND(BIO_new);
    POOLIO_FIND(BIO_set_data);
    POOLIO_FIND(BIO_get_data);
    POOLIO_FIND(BIO_set_init);
    POOLIO_FIND(BIO_set_flags);
    POOLIO_FIND(BIO_clear_flags);
    if (poolio_bio_method == NULL) {
        void *method = poolio_openssl.BIO_meth_new(
            poolio_openssl.BIO_get_new_index() | POOLIO_BIO_SOURCE_SINK, "poolio");
        if (method == NULL)
            return "memory";
        poolio_openssl.BIO_meth_set_read(method, poolio_bio_read);
        poolio_openssl.BIO_meth_set_write(method, poolio_bio_write);
        poolio_openssl.BIO_meth_set_ctrl(method, poolio_bio_ctrl);
        poolio_openssl.BIO_meth_set_destroy(method, poolio_bio_destroy);
        poolio_bio_method = method;
    }
    return NULL;
#else
    (void)path;
    return "dlsym()";
#endif
}

/* True if these bytes can be read at all. It asks the kernel, so that a wrong pointer is an answer and no crash. */
static int poolio_is_readable(const void *memory, size_t size)
{
#if POOLIO_HAS_DLSYM
    int ends[2];
    ssize_t written;
    if (pipe(ends) < 0)
        return 0;
    written = write(ends[1], memory, size);
    close(ends[0]);
    close(ends[1]);
    return written == (ssize_t)size;
#else
    (void)memory, (void)size;
    return 0;
#endif
}

/* What lies where the SSL of a socket object of `_ssl` is expected; NULL if it can't be one. */
static inline void *poolio_ssl_candidate(PyObject *object)
{
    void *ssl;
    if (Py_TYPE(object)->tp_basicsize < (Py_ssize_t)(sizeof(PyObject) + 2 * sizeof(void *)))
        return NULL;
    ssl = ((void **)((char *)object + sizeof(PyObject)))[1];
    return (uintptr_t)ssl % sizeof(void *) == 0 ? ssl : NULL;
}

/* The SSL of a socket object, borrowed; NULL unless it says itself that it belongs to the object. */
static inline void *poolio_ssl_of(PyObject *object)
{
    void *ssl = poolio_ssl_candidate(object);
    return ssl != NULL && poolio_openssl.SSL_get_ex_data(ssl, 0) == (void *)object ? ssl : NULL;
}

/* --- what the engine calls ------------------------------------------------ */

/* Let an SSL read and write by a poolio_tls_io of its own, which the caller drops at its end. NULL: no memory. */
static inline poolio_tls_io *poolio_tls_attach(void *ssl)
{
    poolio_tls_io *io = (poolio_tls_io *)poolio_raw_malloc(sizeof(poolio_tls_io));
    void *bio = io == NULL ? NULL : poolio_openssl.BIO_new(poolio_bio_method);
    if (bio == NULL) {
        PyMem_RawFree(io);
        return NULL;
    }
    memset(io, 0, sizeof(*io));
    io->holders = 2;
    poolio_openssl.BIO_set_data(bio, io);
    poolio_openssl.BIO_set_init(bio, 1);
    poolio_openssl.SSL_set_bio(ssl, bio, bio);      /* the SSL owns the BIO from now on, and has freed its old ones */
    return io;
}

static inline void poolio_free_spill(poolio_tls_io *io)
{
    PyMem_RawFree(io->spill);
    io->spill = NULL;
    io->spill_room = io->spill_size = 0;
}

static inline int poolio_ssl_read(void *ssl, char *room, size_t size, size_t *got)
{
    return poolio_openssl.SSL_read_ex(ssl, room, size, got);
}
static inline int poolio_ssl_write(void *ssl, const char *data, size_t size, size_t *taken)
{
    return poolio_openssl.SSL_write_ex(ssl, data, size, taken);
}
static inline int poolio_ssl_has_pending(void *ssl)
{
    return poolio_openssl.SSL_has_pending(ssl);
}
/* What SSL_get_error() would say of a call that has failed; but that one wants the thread's list of errors to be empty
   before the call, which costs 500 instructions a message to see to. */
static inline int poolio_ssl_waits(void *ssl)
{
    return poolio_openssl.SSL_want(ssl) == POOLIO_SSL_READING;
}
static inline int poolio_ssl_has_ended(void *ssl)
{
    int reason = (int)(poolio_openssl.ERR_peek_last_error() & 0xFFF);
    return (poolio_openssl.SSL_get_shutdown(ssl) & POOLIO_SSL_RECEIVED_SHUTDOWN)
           && !(POOLIO_ALERTS <= reason && reason < POOLIO_ALERTS_END);
}
static inline int poolio_ssl_version(void *ssl)
{
    return poolio_openssl.SSL_version(ssl);
}
static inline void poolio_ssl_cleanse(void *ssl)
{
    if (poolio_openssl.OpenSSL_version_num() >= 0x30000000UL)
        poolio_openssl.SSL_set_options(ssl, POOLIO_SSL_CLEANSES_PLAINTEXT);
}

#endif
