/* Owns the search for bytes in bytes (the first place, the last place, how many there are), and comparing them without
   case. Knows no Python. Used by memory/search, buffer and chain.

   A search returns an offset, or -1 if the needle is not there. An empty needle is found at once.

   The needle's first byte is searched with memchr, which looks at 32 bytes at a time. Text that is full of that byte
   would make it slow. So after more false starts than memchr's speed pays for, the system's memmem takes over, which is
   linear in glibc, musl and the BSDs; Windows has none. A false start that agrees for 32 bytes or more is charged with
   the whole needle, because text made for that would otherwise cost size * length. The search for the last place has
   no such help: it takes size * length steps at worst, as bytes.rfind does. */

#ifndef POOLIO_SEARCH_H
#define POOLIO_SEARCH_H

#include <stddef.h>
#include <string.h>

/* A false start costs as much as this many bytes of memmem, so as many bytes must have been searched for each one. */
#define POOLIO_BYTES_PER_MISS 32
/* This many false starts at the beginning are free. */
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

/* Are they the same, if ASCII's capital and small letters count as the same? */
static inline int poolio_same_ignoring_case(const char *one, const char *other, ptrdiff_t size)
{
    for (ptrdiff_t at = 0; at < size; at++) {
        unsigned char small = (unsigned char)(one[at] | 0x20);
        if (one[at] != other[at] && ((one[at] ^ other[at]) != 0x20 || small < 'a' || small > 'z'))
            return 0;
    }
    return 1;
}

#endif
