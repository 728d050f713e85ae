/* Owns what slabs need from the platform: mapping, unmapping and wiping memory, a clock, and the name of the build.
   Knows no Python. Used by slab, and by faults.h.

   poolio_map      returns zeroed memory from the system, aligned to at least 64 bytes; NULL when there is none
   poolio_unmap    gives that memory back
   poolio_wipe     is a memset to zero that the compiler may not drop as a dead store
   poolio_seconds  reads a clock that never goes back */

#ifndef POOLIO_MEMORY_H
#define POOLIO_MEMORY_H

#include <stddef.h>
#include <string.h>

#if defined(_WIN32)
#include <windows.h>
static inline void *poolio_map(size_t size)
{
    return VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}
static inline void poolio_unmap(void *memory, size_t size)
{
    (void)size;
    VirtualFree(memory, 0, MEM_RELEASE);
}
static inline void poolio_wipe(void *memory, size_t size)
{
    SecureZeroMemory(memory, size);
}
static inline long long poolio_seconds(void)
{
    return (long long)(GetTickCount64() / 1000);
}
#else
#include <sys/mman.h>
#include <time.h>
static inline void *poolio_map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}
static inline void poolio_unmap(void *memory, size_t size)
{
    munmap(memory, size);
}
static inline void poolio_wipe(void *memory, size_t size)
{
    memset(memory, 0, size);
    __asm__ __volatile__("" : : "r"(memory) : "memory");
}
static inline long long poolio_seconds(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec;
}
#endif

#ifndef POOLIO_VARIANT
#define POOLIO_VARIANT "release"
#endif

#endif
