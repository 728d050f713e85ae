# IP addresses, as the kernel has them and as Python writes them. See address.pyx.

from poolio.c.net cimport poolio_address

# As the socket module writes it; None if it is no IP address
cdef object address_of(const poolio_address *address)
# The same, which may be one that was written before
cdef object recent_address(const poolio_address *address)
# The address that Python has written so, for a socket of this family. False: only the socket module can tell, as there
# is a name in it, or it is none
cdef bint read_address(object written, int family, poolio_address *address) except -1
# The same if it was written before, NULL otherwise. LIFETIME: until another function of this module is called
cdef const poolio_address *known_address(object written, int family) noexcept
# TypeError or ValueError if no socket of this family can have such an address, whatever names resolve to
cdef int check_address(object written, int family) except -1
