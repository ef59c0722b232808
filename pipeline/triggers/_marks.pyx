# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""`marks.place`, compiled: whoever has many marks is asked for one at each of their events."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

cdef extern from *:
    const long long MADE_FROM

made_from = MADE_FROM  # see hatch_build.py

cdef enum:
    ENTRY = 8  # marks.ENTRY


def place(bytes entries not None, bytes wanted not None):
    """See marks.place."""
    cdef Py_ssize_t i, n = PyBytes_GET_SIZE(entries) // ENTRY, size = PyBytes_GET_SIZE(wanted)
    cdef const char* at = PyBytes_AS_STRING(entries)
    cdef uint64_t entry, end = 0, mask = 0
    if not 0 < size <= ENTRY:
        raise ValueError(f"not the end of an entry: {wanted!r}")
    memcpy(<char*> &end + ENTRY - size, PyBytes_AS_STRING(wanted), size)
    memset(<char*> &mask + ENTRY - size, 0xFF, size)
    for i in range(n):
        memcpy(&entry, at + i * ENTRY, ENTRY)
        if entry & mask == end:
            return i * ENTRY
    return -1
