# What is packed of persons, shorter: without the fields at an array's end that hold what they hold anyway. Included by
# _packed.pyx.

cdef enum:
    LEAF = 0
    STRUCT = 1
    LIST = 2
    MAP = 3
    ANY = 4
    SHAPES = 512
    FIELDS = 32  # of a struct, at most
    SHORT = 15  # so many an array with a head of one byte holds


cdef uint64_t MINUS_NOUGHT = 1 << 63


cdef struct Field:
    Text default  # packed; `at` NULL: it has none
    int shape


cdef struct Shape:
    int kind
    int count  # of fields
    int of  # the shape of what a list or map holds
    Field fields[FIELDS]


cdef Shape shapes[SHAPES]
cdef int shapes_used = 1  # the first is a leaf


cdef int shape_in(told) except -1:
    """A place in `shapes` for what packed.shape_of says."""
    global shapes_used
    cdef int at, i
    if told is None:
        return 0
    if shapes_used == SHAPES:
        raise ValueError("too many shapes")
    at, shapes_used = shapes_used, shapes_used + 1
    kind, of = told
    if kind == "any":
        shapes[at].kind = ANY
        return at
    if kind != "struct":
        shapes[at].kind = LIST if kind == "list" else MAP
        shapes[at].of = shape_in(of)
        return at
    shapes[at].kind, shapes[at].count = STRUCT, len(of)
    if len(of) > FIELDS:
        raise ValueError(f"a struct of {len(of)} fields, more than {FIELDS}")
    for i, (default, its) in enumerate(of):
        shapes[at].fields[i].default.at, shapes[at].fields[i].default.size = NULL, 0
        if default is not None:
            kept_alive.append(default)
            shapes[at].fields[i].default.at = <const uint8_t*> PyBytes_AS_STRING(default)
            shapes[at].fields[i].default.size = PyBytes_GET_SIZE(default)
        shapes[at].fields[i].shape = shape_in(its)
    return at


def shape(told):
    """The number of a shape, for `trimmed`."""
    return shape_in(told)


cdef uint8_t* shortened(Cursor* c, uint8_t* to, bint whole) noexcept:
    """What comes next, with all that is in it. Numbers of eight bytes take as many as they need: four what is the same
    in four, and, where `whole` may be told as integers, small ones of these up to three.
    """
    cdef uint64_t left = 1
    cdef const uint8_t* start
    cdef double value
    cdef float half
    cdef uint64_t bits
    cdef uint32_t half_bits
    while left and not c.bad:
        start = c.at
        left += step(c) - 1
        if start < c.end and start[0] == 0xCB and not c.bad:
            bits = big(start + 1, 8)
            memcpy(&value, &bits, 8)
            if whole and -32768 <= value < 65536 and value == <int64_t> value and bits != MINUS_NOUGHT:
                to = put_integer(to, <int64_t> value)
                continue
            half = <float> value
            if <double> half == value:
                memcpy(&half_bits, &half, 4)
                to = put_big(to, 0xCA, half_bits, 4)
                continue
        to = put(to, start, c.at - start)
    return to


cdef uint8_t* trim(int of, Cursor* c, uint8_t* to) noexcept:
    cdef const uint8_t* start = c.at
    cdef Shape* shape = &shapes[of]
    cdef Field* field
    cdef Py_ssize_t n, i, kept = 0
    cdef uint8_t* head = to
    cdef uint8_t* begin
    cdef uint8_t* end
    if shape.kind == LEAF or shape.kind == ANY or (c.at < c.end and c.at[0] == 0xC0):
        return shortened(c, to, shape.kind != ANY)
    if shape.kind == STRUCT:
        n = array(c)
        if n > shape.count:
            c.bad = True
        to = end = head + 1
        for i in range(n):
            if c.bad:
                return head
            field = &shape.fields[i]
            begin = to
            if field.default.size == 1 and c.at < c.end and c.at[0] == field.default.at[0]:  # nearly always
                c.at += 1
                to[0] = field.default.at[0]
                to += 1
                continue
            to = trim(field.shape, c, to)
            if to - begin != field.default.size or field.default.at == NULL or memcmp(begin, field.default.at, to - begin):
                kept, end = i + 1, to
        if kept <= SHORT:
            head[0] = 0x90 | <uint8_t> kept
            return end
        memmove(head + 3, head + 1, end - head - 1)
        head[0], head[1], head[2] = 0xDC, 0, <uint8_t> kept
        return end + 2
    n = array(c) if shape.kind == LIST else entries(c)
    to = put(to, start, c.at - start)
    for i in range(n):
        if c.bad:
            break
        if shape.kind == MAP:
            start = c.at
            skip(c)
            to = put(to, start, c.at - start)
        to = trim(shape.of, c, to)
    return to


def trimmed(bytearray packed not None, int of):
    """See packed.packer. What isn't of that shape stays as it is."""
    global scratch, scratch_size
    cdef Cursor c
    cdef uint8_t* grown
    cdef uint8_t* end
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(packed)
    if size > scratch_size:
        grown = <uint8_t*> PyMem_Realloc(scratch, 2 * size)
        if grown == NULL:
            raise MemoryError
        scratch, scratch_size = grown, 2 * size
    c.at = <const uint8_t*> PyByteArray_AS_STRING(packed)
    c.end = c.at + size
    c.bad = False
    end = trim(of, &c, scratch)
    if c.bad or c.at != c.end or end - scratch == size:
        return bytes(packed)
    return PyBytes_FromStringAndSize(<char*> scratch, end - scratch)
