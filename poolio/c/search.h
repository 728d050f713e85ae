/* Owns the search for bytes in bytes: first, last, and how often. Knows no Python.

   The first byte is searched with memchr, which looks at 32 bytes at a time. Text that is full of that byte would
   make it slow, so after more false starts than memchr's speed pays for, the system's memmem (linear in glibc, musl and
   the BSDs) takes over. A false start that goes on for longer than memchr would look at a time is charged with the whole
   needle, or text made for it would cost size * length. Backwards there is no such help: size * length steps at worst,
   as in bytes.rfind. The found position is an offset; -1: not there. An empty needle is found at once. */

#ifndef POOLIO_SEARCH_H
#define POOLIO_SEARCH_H

#include <stddef.h>
#include <string.h>

/* A false start costs as much as this many bytes of memmem; so many bytes must lie behind for each. */
#define POOLIO_BYTES_PER_MISS 32
/* False starts that are forgiven at the beginning. */
#define POOLIO_FREE_MISSES 8

static inline ptrdiff_t poolio_find(const char *text, ptrdiff_t size, const char *needle, ptrdiff_t length)
{
    const char *at = text, *last;
    ptrdiff_t misses = -POOLIO_FREE_MISSES;
    ptrdiff_t head = length < POOLIO_BYTES_PER_MISS ? length : POOLIO_BYTES_PER_MISS;
    if (length == 0)
        return 0;
    if (length > size)
        return -1;
    last = text + (size - length);
    for (;;) {
        at = (const char *)memchr(at, (unsigned char)needle[0], (size_t)(last - at + 1));
        if (at == NULL)
            return -1;
        if (memcmp(at, needle, (size_t)head) == 0) {
            if (memcmp(at + head, needle + head, (size_t)(length - head)) == 0)
                return at - text;
            misses += (length - head) / POOLIO_BYTES_PER_MISS;
        }
        if (++at > last)
            return -1;
#if !defined(_WIN32)
        if (++misses * POOLIO_BYTES_PER_MISS > at - text)
            break;
#endif
    }
#if !defined(_WIN32)
    at = (const char *)memmem(at, (size_t)(text + size - at), needle, (size_t)length);
    return at == NULL ? -1 : at - text;
#endif
}

static inline ptrdiff_t poolio_rfind(const char *text, ptrdiff_t size, const char *needle, ptrdiff_t length)
{
    if (length == 0)
        return size;
    for (ptrdiff_t at = size - length; at >= 0; at--)
        if (text[at] == needle[0] && memcmp(text + at, needle, (size_t)length) == 0)
            return at;
    return -1;
}

static inline ptrdiff_t poolio_count(const char *text, ptrdiff_t size, const char *needle, ptrdiff_t length)
{
    ptrdiff_t count = 0;
    if (length == 0)
        return size + 1;
    if (length == 1) {
        for (ptrdiff_t at = 0; at < size; at++)
            count += text[at] == needle[0];
        return count;
    }
    for (ptrdiff_t at = 0, found; (found = poolio_find(text + at, size - at, needle, length)) >= 0; count++)
        at += found + length;
    return count;
}

#endif
