/* Owns the byte order of fixed-width integers: load, store and swap. Knows no Python. Used by memory/numbers.

   A width is 1, 2, 4 or 8 bytes, and constant at each call. Loads are written out, because compilers make one load and
   one byte swap of that form, but not of a loop (2 ns). No alignment is needed. */

#ifndef POOLIO_NUMBERS_H
#define POOLIO_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t poolio_load_be(const char *bytes, int width)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (width == 1)
        return b[0];
    if (width == 2)
        return (uint16_t)(b[0] << 8 | b[1]);
    if (width == 4)
        return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return poolio_load_be(bytes, 4) << 32 | poolio_load_be(bytes + 4, 4);
}

static inline uint64_t poolio_load_le(const char *bytes, int width)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (width == 1)
        return b[0];
    if (width == 2)
        return (uint16_t)(b[1] << 8 | b[0]);
    if (width == 4)
        return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
    return poolio_load_le(bytes + 4, 4) << 32 | poolio_load_le(bytes, 4);
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
