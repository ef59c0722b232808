# msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md), written as msgspec writes it: the shortest form of each.
# Included by compiled modules. Whoever calls has made room.

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy


cdef inline uint8_t* put(uint8_t* to, const void* at, Py_ssize_t size) noexcept:
    memcpy(to, at, size)
    return to + size


cdef inline uint8_t* put_big(uint8_t* to, uint8_t kind, uint64_t value, int size) noexcept:
    cdef int i
    to[0] = kind
    for i in range(size):
        to[1 + i] = value >> 8 * (size - 1 - i) & 255
    return to + 1 + size


cdef inline uint8_t* put_integer(uint8_t* to, int64_t value) noexcept:
    if value >= 0:
        if value < 128:
            to[0] = <uint8_t> value
            return to + 1
        if value < 1 << 8:
            return put_big(to, 0xCC, value, 1)
        if value < 1 << 16:
            return put_big(to, 0xCD, value, 2)
        if value < <int64_t> 1 << 32:
            return put_big(to, 0xCE, value, 4)
        return put_big(to, 0xCF, value, 8)
    if value >= -32:
        to[0] = <uint8_t> (256 + value)
        return to + 1
    if value >= -128:
        return put_big(to, 0xD0, value, 1)
    if value >= -32768:
        return put_big(to, 0xD1, value, 2)
    if value >= -(<int64_t> 1 << 31):
        return put_big(to, 0xD2, value, 4)
    return put_big(to, 0xD3, value, 8)


cdef inline uint8_t* put_array(uint8_t* to, Py_ssize_t n) noexcept:
    """What stands before fewer than 65,536 items."""
    if n < 16:
        to[0] = 0x90 | <uint8_t> n
        return to + 1
    return put_big(to, 0xDC, n, 2)


cdef inline uint8_t* put_entries(uint8_t* to, Py_ssize_t n) noexcept:
    """What stands before fewer than 65,536 entries of a map."""
    if n < 16:
        to[0] = 0x80 | <uint8_t> n
        return to + 1
    return put_big(to, 0xDE, n, 2)


cdef inline uint8_t* put_text(uint8_t* to, const void* at, Py_ssize_t size) noexcept:
    if size < 32:
        to[0] = 0xA0 | <uint8_t> size
        to += 1
    elif size < 1 << 8:
        to = put_big(to, 0xD9, size, 1)
    elif size < 1 << 16:
        to = put_big(to, 0xDA, size, 2)
    else:
        to = put_big(to, 0xDB, size, 4)
    return put(to, at, size)
