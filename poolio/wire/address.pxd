# IP addresses, in the kernel's form and as Python writes them. See address.pyx.

from poolio.c.net cimport poolio_address

# The address as the socket module writes it. None if it is no IP address
cdef object address_of(const poolio_address *address)
# The same, but the tuple that was made before if it is still kept
cdef object recent_address(const poolio_address *address)
# Parse an address that Python code has written, for a socket of this family. False if it is not written in plain
# numbers: then only the socket module can tell whether it is an address
cdef bint read_address(object written, int family, poolio_address *address) except -1
# The same if this very tuple is kept, NULL otherwise. LIFETIME: until another function of this module is called
cdef const poolio_address *known_address(object written, int family) noexcept
# True if both name the same peer for a socket of this family. Names are not resolved: they are no address
cdef bint same_address(object written, object other, int family) except -1
# Raise TypeError or ValueError if no socket of this family can have such an address, whatever its name resolves to
cdef int check_address(object written, int family) except -1
