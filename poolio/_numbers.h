/* Owns the order of bytes in fixed-width integers: load, store and swap. Knows no Python.

   Widths are 1, 2, 4 or 8 bytes and constant at each call, so that compilers make one load and one byte swap of
   each loop. No alignment is needed. */

#ifndef POOLIO_NUMBERS_H
#define POOLIO_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t poolio_load_be(const char *bytes, int width)
{
    uint64_t value = 0;
    for (int i = 0; i < width; i++)
        value = value << 8 | (unsigned char)bytes[i];
    return value;
}

static inline uint64_t poolio_load_le(const char *bytes, int width)
{
    uint64_t value = 0;
    for (int i = width - 1; i >= 0; i--)
        value = value << 8 | (unsigned char)bytes[i];
    return value;
}

static inline void poolio_store_be(char *bytes, uint64_t value, int width)
{
    for (int i = width - 1; i >= 0; i--, value >>= 8)
        bytes[i] = (char)(unsigned char)value;
}

static inline void poolio_store_le(char *bytes, uint64_t value, int width)
{
    for (int i = 0; i < width; i++, value >>= 8)
        bytes[i] = (char)(unsigned char)value;
}

static inline void poolio_swap(char *bytes, ptrdiff_t size, int width)
{
    for (ptrdiff_t i = 0; i + width <= size; i += width)
        poolio_store_be(bytes + i, poolio_load_le(bytes + i, width), width);
}

#endif
