# msgpack, read (_msgpack.pxi writes it). Included by _packed.pyx. Every read is checked against the end of its bytes, and
# leaves the cursor behind what it read, or sets `bad`.

cdef inline uint64_t big(const uint8_t* at, int size) noexcept:
    cdef uint64_t value = 0
    cdef int i
    for i in range(size):
        value = value << 8 | at[i]
    return value


cdef inline const uint8_t* take(Cursor* c, Py_ssize_t size) noexcept:
    """The next `size` bytes; where there are less, NULL."""
    cdef const uint8_t* at = c.at
    if c.bad or size > c.end - at:
        c.bad = True
        return NULL
    c.at = at + size
    return at


cdef inline uint8_t head(Cursor* c) noexcept:
    cdef const uint8_t* at = take(c, 1)
    return at[0] if at != NULL else 0xC1  # a byte that nothing begins with


cdef inline uint64_t sized(Cursor* c, int size) noexcept:
    cdef const uint8_t* at = take(c, size)
    return big(at, size) if at != NULL else 0


cdef int64_t integer(Cursor* c) noexcept:
    cdef uint8_t kind = head(c)
    cdef uint64_t value
    if kind < 0x80:
        return kind
    if kind >= 0xE0:
        return <int64_t> kind - 256
    if 0xCC <= kind <= 0xCF:
        value = sized(c, 1 << (kind - 0xCC))
        if value >> 63:
            c.bad = True
        return <int64_t> value
    if kind == 0xD0:
        return <signed char> sized(c, 1)
    if kind == 0xD1:
        return <short> sized(c, 2)
    if kind == 0xD2:
        return <int> sized(c, 4)
    if kind == 0xD3:
        return <int64_t> sized(c, 8)
    c.bad = True
    return 0


cdef Text text(Cursor* c) noexcept:
    cdef uint8_t kind = head(c)
    cdef Text found
    if 0xA0 <= kind <= 0xBF:
        found.size = kind & 31
    elif 0xD9 <= kind <= 0xDB:
        found.size = <Py_ssize_t> sized(c, 1 << (kind - 0xD9))
    else:
        c.bad = True
        found.size = 0
    found.at = take(c, found.size)
    return found


cdef Text binary(Cursor* c) noexcept:
    cdef uint8_t kind = head(c)
    cdef Text found
    if 0xC4 <= kind <= 0xC6:
        found.size = <Py_ssize_t> sized(c, 1 << (kind - 0xC4))
    else:
        c.bad = True
        found.size = 0
    found.at = take(c, found.size)
    return found


cdef Py_ssize_t items(Cursor* c, uint8_t fix, uint8_t sixteen) noexcept:
    """How many items an array (0x90, 0xDC) or entries a map (0x80, 0xDE) has."""
    cdef uint8_t kind = head(c)
    if kind & 0xF0 == fix:
        return kind & 15
    if kind == sixteen:
        return <Py_ssize_t> sized(c, 2)
    if kind == sixteen + 1:
        return <Py_ssize_t> sized(c, 4)
    c.bad = True
    return 0


cdef inline Py_ssize_t entries(Cursor* c) noexcept:
    return items(c, 0x80, 0xDE)


cdef inline Py_ssize_t array(Cursor* c) noexcept:
    return items(c, 0x90, 0xDC)


cdef uint8_t WHOLE[256]  # by the byte that it begins with, how many an item takes; 0: that byte alone doesn't tell


cdef _sizes():
    cdef int kind
    for kind in range(256):
        if kind < 0x80 or kind >= 0xE0 or kind in (0xC0, 0xC2, 0xC3):
            WHOLE[kind] = 1
        elif 0xA0 <= kind < 0xC0:
            WHOLE[kind] = 1 + (kind & 31)
        elif kind in (0xCA, 0xCB):
            WHOLE[kind] = 1 + (4 << (kind - 0xCA))
        elif 0xCC <= kind <= 0xCF:
            WHOLE[kind] = 1 + (1 << (kind - 0xCC))
        elif 0xD0 <= kind <= 0xD3:
            WHOLE[kind] = 1 + (1 << (kind - 0xD0))
        else:
            WHOLE[kind] = 0


_sizes()


cdef inline uint64_t step(Cursor* c) noexcept:
    """Past what comes next; of a map or array past its head only. Returns how many items then follow."""
    cdef uint8_t kind, size = WHOLE[c.at[0]] if c.at < c.end else 0
    if size:  # nearly always
        take(c, size)
        return 0
    kind = head(c)
    if 0x80 <= kind < 0x90:
        return 2 * (kind & 15)
    if 0x90 <= kind < 0xA0:
        return kind & 15
    if kind == 0xDC or kind == 0xDD:
        return sized(c, 2 << (kind - 0xDC))
    if kind == 0xDE or kind == 0xDF:
        return 2 * sized(c, 2 << (kind - 0xDE))
    if 0xC4 <= kind <= 0xC6:
        take(c, <Py_ssize_t> sized(c, 1 << (kind - 0xC4)))
    elif 0xD9 <= kind <= 0xDB:
        take(c, <Py_ssize_t> sized(c, 1 << (kind - 0xD9)))
    else:
        c.bad = True
    return 0


cdef void skip(Cursor* c) noexcept:
    """Whatever comes next, with all that is in it."""
    cdef uint64_t left = 1
    while left and not c.bad:
        left += step(c) - 1


cdef inline bint same(Text a, Text b) noexcept:
    return a.size == b.size and memcmp(a.at, b.at, a.size) == 0


cdef bint find(Cursor data, Text field, Cursor* value) noexcept:
    """Where a field of a row's data stands, unless it is absent or null. `value.bad`: the data is no map of texts."""
    cdef Py_ssize_t n = entries(&data)
    cdef Text name
    value[0] = data
    while n > 0 and not data.bad:
        n -= 1
        name = text(&data)
        if data.bad:
            break
        if same(name, field):
            value[0] = data
            return data.at < data.end and data.at[0] != 0xC0
        skip(&data)
    value.bad = data.bad
    return False
