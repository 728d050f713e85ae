# Owns the checks that builds for tests make while poolio works. A release build has none of them.
#
#   ensure(statement)    In debug, sanitize, coverage and fuzz builds: if the statement is untrue, it is printed with
#                        its place, and the process aborts. It has no side effects, so a release build drops it.
#   poison, unpoison     In sanitize and fuzz builds: they tell AddressSanitizer that a range belongs to nobody, or to
#                        somebody again. Without them a pool hides use-after-free from it.
#
# There is no header, because inline functions of .pxd files that other people cimport use these.

cdef extern from *:
    """
    #ifndef POOLIO_GUARD
    #define POOLIO_GUARD
    #ifdef POOLIO_CHECKED
    #include <stdio.h>
    #include <stdlib.h>
    #define poolio_ensure(statement)                                                                        \\
        ((statement) ? (void)0                                                                              \\
                     : (fprintf(stderr, "poolio: untrue at %s:%d: %s\\n", __FILE__, __LINE__, #statement),  \\
                        fflush(stderr), abort()))
    #else
    #define poolio_ensure(statement) ((void)(statement))
    #endif
    #if defined(__SANITIZE_ADDRESS__)
    #define POOLIO_POISONS 1
    #elif defined(__has_feature)
    #if __has_feature(address_sanitizer)
    #define POOLIO_POISONS 1
    #endif
    #endif
    #ifdef POOLIO_POISONS
    #include <sanitizer/asan_interface.h>
    #define poolio_poison(memory, size) ASAN_POISON_MEMORY_REGION(memory, size)
    #define poolio_unpoison(memory, size) ASAN_UNPOISON_MEMORY_REGION(memory, size)
    #else
    #define POOLIO_POISONS 0
    #define poolio_poison(memory, size) ((void)(memory), (void)(size))
    #define poolio_unpoison(memory, size) ((void)(memory), (void)(size))
    #endif
    #endif
    """
    void ensure "poolio_ensure" (bint statement) noexcept nogil
    void poison "poolio_poison" (void *memory, size_t size) noexcept nogil
    void unpoison "poolio_unpoison" (void *memory, size_t size) noexcept nogil
    const bint POISONS "POOLIO_POISONS"
