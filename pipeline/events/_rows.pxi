# From a record's bytes to a row's: what `read`, `Intake.prepare` and msgspec do one after the other, in one pass and
# without an object for each field. Included by _reader.pyx.

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.string cimport memcpy

from msgspec import Raw
from xxhash import xxh3_64_intdigest

cdef enum:
    ROOM = 1 << 16  # bytes that a row may need: more than any has whose record is as short as `row` takes it

cdef unsigned char ROW[ROOM]
cdef unsigned char DATA[ROOM]


cdef class Routed:
    """A row that is packed already. `raw`: msgpack of a `fold.Row`. `told_at`: received_at as the record tells it."""

    cdef readonly str root, type
    cdef readonly int64_t offset, told_at, received_at
    cdef readonly object raw


cdef inline unsigned char* put(unsigned char* to, const void* at, Py_ssize_t size) noexcept:
    memcpy(to, at, size)
    return to + size


cdef inline unsigned char* put_big(unsigned char* to, unsigned char kind, uint64_t value, int size) noexcept:
    cdef int i
    to[0] = kind
    for i in range(size):
        to[1 + i] = value >> 8 * (size - 1 - i) & 255
    return to + 1 + size


cdef unsigned char* put_integer(unsigned char* to, int64_t value) noexcept:
    """In the shortest form, as msgspec writes it."""
    if value >= 0:
        if value < 128:
            to[0] = <unsigned char>value
            return to + 1
        if value < 1 << 8:
            return put_big(to, 0xCC, value, 1)
        if value < 1 << 16:
            return put_big(to, 0xCD, value, 2)
        if value < <int64_t>1 << 32:
            return put_big(to, 0xCE, value, 4)
        return put_big(to, 0xCF, value, 8)
    if value >= -32:
        to[0] = <unsigned char>(256 + value)
        return to + 1
    if value >= -128:
        return put_big(to, 0xD0, value, 1)
    if value >= -32768:
        return put_big(to, 0xD1, value, 2)
    if value >= -(<int64_t>1 << 31):
        return put_big(to, 0xD2, value, 4)
    return put_big(to, 0xD3, value, 8)


cdef unsigned char* put_text(unsigned char* to, const void* at, Py_ssize_t size) noexcept:
    if size < 32:
        to[0] = 0xA0 | <unsigned char>size
        to += 1
    elif size < 1 << 8:
        to = put_big(to, 0xD9, size, 1)
    else:
        to = put_big(to, 0xDA, size, 2)
    return put(to, at, size)


cdef unsigned char* put_str(unsigned char* to, str value) except NULL:
    cdef Py_ssize_t size
    cdef const char* at = PyUnicode_AsUTF8AndSize(value, &size)
    return put_text(to, at, size)


cdef const unsigned char* checked(Bytes* at, Py_ssize_t longest, Py_ssize_t* size) except NULL:
    """The string that is next, known to be UTF-8."""
    cdef Py_ssize_t n = length(at, longest), i
    cdef unsigned char high = 0
    cdef const unsigned char* s = at.p
    for i in range(n):
        high |= s[i]
    if high > 127:
        PyUnicode_DecodeUTF8(<const char*>s, n, NULL)
    at.p += n
    size[0] = n
    return s


cdef unsigned char* put_value(unsigned char* to, Bytes* at, Node* node) except NULL:
    """A body field's value, as msgpack. What isn't plain is for Python."""
    cdef int64_t value
    cdef Py_ssize_t size, n, i
    cdef const unsigned char* s
    cdef uint64_t bits
    if node.kind == TEXT:
        s = checked(at, LONGEST_TEXT, &size)
        return put_text(to, s, size)
    if node.kind == NUMBER:
        number(at, &value)
        return put_integer(to, value)
    if node.kind == DOUBLE:
        if at.end - at.p < 8 or not isfinite(PyFloat_Unpack8(<const char*>at.p, 1)):
            raise Unusual
        bits = 0
        for i in range(8):
            bits |= <uint64_t>at.p[i] << 8 * i
        at.p += 8
        return put_big(to, 0xCB, bits, 8)
    if node.kind == BOOLEAN:
        to[0] = 0xC2 + octet(at, 1)
        return to + 1
    if node.kind == ENUM:
        return put_str(to, (<tuple>node.symbols)[symbol(at, node)])
    if node.kind == ARRAY and node.inner.kind == TEXT and not node.inner.nullable:
        n = block(at)
        if n < 16:
            to[0] = 0x90 | <unsigned char>n
            to += 1
        else:
            to = put_big(to, 0xDC, n, 2)
        for i in range(n):
            s = checked(at, LONGEST_TEXT, &size)
            to = put_text(to, s, size)
        if n and block(at) != 0:
            raise Unusual
        return to
    raise Unusual


cdef Routed route(
    Reader reader, bytes value, trace, int64_t offset, int64_t floor, int64_t latest, dict known
):
    cdef Bytes at
    cdef Node* node
    cdef int64_t occurred_at, received_at, told_at
    cdef Py_ssize_t id_size, size, i, fields = 0
    cdef const unsigned char* event_id
    cdef unsigned char* to = DATA
    cdef unsigned char* data_end
    cdef uint64_t fingerprint
    cdef bint spare = False, lacking = True
    cdef str root
    cdef Routed routed
    if PyBytes_GET_SIZE(value) > reader.longest or reader.skip > PyBytes_GET_SIZE(value):
        raise Unusual
    at.p = <const unsigned char*>PyBytes_AS_STRING(value)
    at.end = at.p + PyBytes_GET_SIZE(value)
    at.p += reader.skip
    event_id = checked(&at, LONGEST_ID, &id_size)
    if not id_size:
        raise Unusual
    number(&at, &occurred_at)
    number(&at, &told_at)
    if not (0 <= occurred_at <= LATEST and 0 <= told_at <= LATEST) or told_at > latest:
        raise Unusual
    occurred_at = min(occurred_at, told_at)
    received_at = max(told_at, floor)

    if block(&at) != 1:
        raise Unusual
    namespace = key(&at, LONGEST_IDENTIFIER)
    one = known.get((namespace, text(&at, LONGEST_IDENTIFIER)))
    if one is None or block(&at) != 0:
        raise Unusual
    found = one.root
    if found is None or received_at <= <int64_t>one.youngest:
        raise Unusual
    root = found
    name = PyBytes_FromStringAndSize(<const char*>event_id, id_size)
    fingerprint = <uint64_t>xxh3_64_intdigest(b"%b\0%b\0%b" % (name, one.namespace.encode(), one.value.encode()))

    # From here on no other thread gets a turn: ROW and DATA are everybody's.
    if present(&at, &reader.context):
        step_over(&at, &reader.context)
    if present(&at, &reader.consent):
        step_over(&at, &reader.consent)
    for i in range(reader.body.count):
        node = &reader.body.inner[i]
        if not present(&at, node):
            continue
        if node.skipped:
            step_over(&at, node)
            continue
        if i == reader.instead:
            spare = True
            if not reader.handed_too:
                step_over(&at, node)
                continue
        if i == reader.of:
            lacking = False
        fields += 1
        to = put_str(to, <str>node.name)
        to = put_value(to, &at, node)
    if at.p != at.end or (spare and lacking):
        raise Unusual
    data_end = to

    to = ROW
    to[0] = 0x9A
    to = put_integer(to + 1, offset)
    to = put_str(to, root)
    to = put_str(to, reader.name)
    to = put_integer(put_integer(to, occurred_at), received_at)
    to = put_text(to, event_id, id_size)
    if fingerprint >> 63:
        to = put_big(to, 0xCF, fingerprint, 8)
    else:
        to = put_integer(to, <int64_t>fingerprint)
    to[0] = 0x92
    to = put_str(put_str(to + 1, <str>one.namespace), <str>one.value)
    if fields < 16:
        to[0] = 0x80 | <unsigned char>fields
        to += 1
    else:
        to = put_big(to, 0xDE, fields, 2)
    to = put(to, DATA, data_end - DATA)
    if trace is None:
        to[0] = 0xC0
        to += 1
    else:
        to = put_str(to, <str>trace)

    routed = Routed.__new__(Routed)
    routed.root, routed.type, routed.offset = root, reader.name, offset
    routed.told_at, routed.received_at = told_at, received_at
    routed.raw = Raw(PyBytes_FromStringAndSize(<const char*>ROW, to - ROW))
    return routed
