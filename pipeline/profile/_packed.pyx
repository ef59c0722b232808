# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The good case of profile/packed.py, compiled: rows and profiles are read and written as the msgpack that they are.

Every read is checked against the end of its bytes. What isn't the good case is left to Python: `count` returns None.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.mem cimport PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove

from types import MemberDescriptorType

from pipeline.profile import about as plain

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define prefetch(at) __builtin_prefetch(at)
    #else
    #define prefetch(at) ((void) (at))
    #endif
    """
    void prefetch(const void* at) noexcept

cdef extern from "Python.h":
    ctypedef struct PyMemberDef:
        Py_ssize_t offset
    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member

cdef enum:
    KINDS = 64
    NAMES = 3
    ENTRY = 15  # about.RECENT
    AGED = 10  # about.OLDER
    NOTHING = 0
    PRODUCT = 1
    MESSAGE = 2
    BY_PYTHON = 3

cdef int64_t DAY = plain.DAY, LAG = plain.LAG
cdef int TIMELINE = plain.TIMELINE_KEPT, OLDER = plain.OLDER_KEPT, DAYS = plain.DAYS_KEPT
cdef int PRODUCTS = plain.PRODUCTS_KEPT, MESSAGES = plain.MESSAGES_KEPT, LABEL = plain.LABEL_LENGTH
cdef int PAGE = plain.PAGE, FIRST_STATUS = plain.CODE["email_sent"], STATUSES = len(plain.STATUSES)


cdef struct Text:
    const uint8_t* at
    Py_ssize_t size


cdef struct Kind:
    Text name
    Text labels[NAMES]  # of these fields the first that is there is the label
    int special


cdef struct Cursor:
    const uint8_t* at
    const uint8_t* end
    bint bad  # there was something else than was asked for


cdef Kind kinds[KINDS]
cdef list type_names = []
cdef list kept_alive = []  # what `Text` points into
cdef uint8_t* scratch = NULL
cdef Py_ssize_t scratch_size = 0


cdef Text _text(str value):
    cdef bytes raw = value.encode()
    cdef Text text
    kept_alive.append(raw)
    text.at, text.size = <const uint8_t*> PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw)
    return text


cdef Text PRODUCT_NAMES[3]
cdef Text ENGAGED = _text("engaged_ms"), ABSOLUTE = _text("absolute_ms"), CONFIDENCE = _text("confidence")
cdef Text MESSAGE_ID = _text("message_id"), MACHINE = _text("machine")


cdef _tables():
    cdef int code, n
    for n, name in enumerate(("product_id", "sku", "name")):
        PRODUCT_NAMES[n] = _text(name)
    for code, name in enumerate(plain.TYPES):
        type_names.append(name)
        kinds[code].name = _text(name)
        fields = plain.LABELS.get(name, ())
        for n in range(NAMES):
            kinds[code].labels[n].at = NULL
        for n, field in enumerate(fields):
            kinds[code].labels[n] = _text(field)
        special = plain.special_of(name)
        kinds[code].special = {None: NOTHING, "product": PRODUCT, "message": MESSAGE}.get(special, BY_PYTHON)


_tables()


include "../msgpack.pxi"


# And read. Each leaves the cursor behind what it read, or
# sets `bad`.

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


cdef void skip(Cursor* c) noexcept:
    """Whatever comes next, with all that is in it."""
    cdef uint64_t left = 1
    cdef uint8_t kind
    while left and not c.bad:
        left -= 1
        kind = head(c)
        if kind < 0x80 or kind >= 0xE0 or kind == 0xC0 or kind == 0xC2 or kind == 0xC3:
            pass
        elif kind < 0x90:
            left += 2 * (kind & 15)
        elif kind < 0xA0:
            left += kind & 15
        elif kind < 0xC0:
            take(c, kind & 31)
        elif 0xC4 <= kind <= 0xC6:
            take(c, <Py_ssize_t> sized(c, 1 << (kind - 0xC4)))
        elif kind == 0xCA:
            take(c, 4)
        elif kind == 0xCB:
            take(c, 8)
        elif 0xCC <= kind <= 0xCF:
            take(c, 1 << (kind - 0xCC))
        elif 0xD0 <= kind <= 0xD3:
            take(c, 1 << (kind - 0xD0))
        elif 0xD9 <= kind <= 0xDB:
            take(c, <Py_ssize_t> sized(c, 1 << (kind - 0xD9)))
        elif kind == 0xDC or kind == 0xDD:
            left += sized(c, 2 << (kind - 0xDC))
        elif kind == 0xDE or kind == 0xDF:
            left += 2 * sized(c, 2 << (kind - 0xDE))
        else:
            c.bad = True


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


cdef Text first_text(Cursor data, const Text* fields, bint* bad) noexcept:
    """The first of these fields that holds a text which isn't empty. `size` 0: none does."""
    cdef Cursor value
    cdef Text found
    cdef int n
    for n in range(NAMES):
        if fields[n].at == NULL:
            break
        if find(data, fields[n], &value):
            found = text(&value)
            if value.bad:
                bad[0] = True
            elif found.size:
                return found
        elif value.bad:
            bad[0] = True
        if bad[0]:
            break
    found.at, found.size = data.at, 0
    return found


cdef inline uint8_t* put_binary_head(uint8_t* to, Py_ssize_t size) noexcept:
    if size < 1 << 8:
        return put_big(to, 0xC4, size, 1)
    return put_big(to, 0xC5, size, 2)


cdef class PackedRow:
    """See packed.PlainRow. It lies among others in `owner`: a row that is not kept is never copied."""

    cdef bytes owner
    cdef const uint8_t* at
    cdef const uint8_t* ids_at
    cdef const uint8_t* data
    cdef Py_ssize_t size, ids_size
    cdef readonly str root, type
    cdef readonly int64_t offset, occurred_at, received_at
    cdef readonly uint64_t fingerprint
    cdef readonly bint several
    cdef int code

    def __init__(self, raw):
        cdef Cursor c
        cdef bytes owner = raw if type(raw) is bytes else bytes(raw)
        c.at = <const uint8_t*> PyBytes_AS_STRING(owner)
        c.end = c.at + PyBytes_GET_SIZE(owner)
        c.bad = False
        self.read(owner, &c)

    cdef int read(self, bytes owner, Cursor* c) except -1:
        """What comes next in `owner`."""
        cdef Text found
        cdef int code
        self.owner = owner
        self.at = c.at
        if array(c) < 9:
            c.bad = True
        self.offset = integer(c)
        found = text(c)
        if not c.bad:
            self.root = PyUnicode_DecodeUTF8(<char*> found.at, found.size, NULL)
        found = text(c)
        self.code = -1
        if not c.bad:
            for code in range(len(type_names)):
                if same(found, kinds[code].name):
                    self.code = code
                    self.type = <str> type_names[code]
                    break
            else:
                self.type = PyUnicode_DecodeUTF8(<char*> found.at, found.size, NULL)
        self.occurred_at = integer(c)
        self.received_at = integer(c)
        text(c)  # event id
        if c.at < c.end and c.at[0] == 0xCF:
            c.at += 1
            self.fingerprint = sized(c, 8)
        else:
            self.fingerprint = <uint64_t> integer(c)
        self.ids_at = c.at
        self.several = array(c) > 2
        c.at = self.ids_at
        skip(c)
        self.ids_size = c.at - self.ids_at
        self.data = c.at
        c.at = self.at
        skip(c)
        self.size = c.at - self.at
        if c.bad or self.data > c.at:
            raise ValueError(f"not a row: {owner[:200]!r}")
        return 0

    @property
    def raw(self):
        return PyBytes_FromStringAndSize(<char*> self.at, self.size)

    @property
    def ids(self):
        return PyBytes_FromStringAndSize(<char*> self.ids_at, self.ids_size)

    def __reduce__(self):
        return PackedRow, (self.raw,)


def rows_of(bytes packed):
    """See packed.rows_of."""
    cdef Cursor c
    cdef PackedRow row
    cdef Py_ssize_t n
    cdef list rows = []
    c.at = <const uint8_t*> PyBytes_AS_STRING(packed)
    c.end = c.at + PyBytes_GET_SIZE(packed)
    c.bad = False
    n = array(&c)
    while n > 0 and not c.bad:
        n -= 1
        row = PackedRow.__new__(PackedRow)
        row.read(packed, &c)
        rows.append(row)
    if c.bad or c.at != c.end:
        raise ValueError(f"no rows: {packed[:200]!r}")
    return rows


cdef bint holds(Text old, int size, const uint8_t* mark) noexcept:
    """Whether one of these entries has this mark."""
    cdef const uint8_t* at = old.at
    while at < old.at + old.size:
        if memcmp(at + 4, mark, 6) == 0:
            return True
        at += size
    return False


cdef bint add_to(Cursor* old, uint8_t** out, int64_t key, Py_ssize_t most) noexcept:
    """One more of `key` in a map of counts. False: there is no place for another key, or it is no such map."""
    cdef Py_ssize_t n = entries(old), i
    cdef Cursor begin = old[0]
    cdef const uint8_t* value = NULL
    cdef const uint8_t* behind = NULL
    cdef int64_t counted = 0, found
    for i in range(n):
        if old.bad:
            return False
        found = integer(old)
        if found == key and value == NULL:
            value = old.at
            counted = integer(old)
            behind = old.at
        else:
            skip(old)
    if old.bad or (value == NULL and n >= most):
        return False
    if value != NULL:
        out[0] = put_entries(out[0], n)
        out[0] = put(out[0], begin.at, value - begin.at)
        out[0] = put_integer(out[0], counted + 1)
        out[0] = put(out[0], behind, old.at - behind)
    else:
        out[0] = put_entries(out[0], n + 1)
        out[0] = put(out[0], begin.at, old.at - begin.at)
        out[0] = put_integer(out[0], key)
        out[0] = put_integer(out[0], 1)
    return True


cdef bint product(Cursor kept, uint8_t** out, Cursor data, int64_t second) noexcept:
    """`about._product`. False: it's for Python."""
    cdef bint bad = False
    cdef Text name = first_text(data, PRODUCT_NAMES, &bad)
    cdef const uint8_t* start = kept.at
    cdef const uint8_t* at
    cdef const uint8_t* first
    cdef const uint8_t* oldest = NULL
    cdef const uint8_t* behind_oldest = NULL
    cdef const uint8_t* mine = NULL
    cdef const uint8_t* behind_mine = NULL
    cdef const uint8_t* at_entry
    cdef const uint8_t* values
    cdef Py_ssize_t n, i
    cdef Text each, oldest_name
    cdef int64_t views, last, my_views = 0, my_last = second, oldest_last = 0
    cdef int order
    if bad:
        return False
    if name.size == 0:
        out[0] = put(out[0], start, kept.end - start)
        return True
    if array(&kept) != 4:
        return False
    skip(&kept)
    skip(&kept)
    at = kept.at
    n = entries(&kept)
    first = kept.at
    oldest_name.at, oldest_name.size = first, 0
    for i in range(n):
        at_entry = kept.at
        each = text(&kept)
        if array(&kept) != 2 or kept.bad:
            return False
        values = kept.at
        views, last = integer(&kept), integer(&kept)
        if kept.bad:
            return False
        if mine == NULL and same(each, name):
            mine, behind_mine, my_views, my_last = values, kept.at, views, max(last, second)
        order = -1
        if oldest != NULL and last == oldest_last:
            order = memcmp(each.at, oldest_name.at, min(each.size, oldest_name.size))
            if order == 0:
                order = -1 if each.size < oldest_name.size else 1
        if oldest == NULL or last < oldest_last or (last == oldest_last and order < 0):
            oldest, behind_oldest, oldest_last, oldest_name = at_entry, kept.at, last, each
    if kept.bad or n > PRODUCTS:
        return False
    if mine != NULL:
        out[0] = put(out[0], start, mine - start)
        out[0] = put_integer(out[0], my_views + 1)
        out[0] = put_integer(out[0], my_last)
        out[0] = put(out[0], behind_mine, kept.end - behind_mine)
        return True
    out[0] = put(out[0], start, at - start)
    if n == PRODUCTS:  # one has to go: it may be the new one itself
        order = memcmp(name.at, oldest_name.at, min(name.size, oldest_name.size))
        if order == 0:
            order = -1 if name.size < oldest_name.size else 1
        if second < oldest_last or (second == oldest_last and order < 0):
            out[0] = put(out[0], at, kept.end - at)
            return True
        out[0] = put_entries(out[0], n)
        out[0] = put(out[0], first, oldest - first)
        out[0] = put(out[0], behind_oldest, kept.at - behind_oldest)
    else:
        out[0] = put_entries(out[0], n + 1)
        out[0] = put(out[0], first, kept.at - first)
    out[0] = put_text(out[0], name.at, name.size)
    out[0][0] = 0x92
    out[0] = put_integer(out[0] + 1, 1)
    out[0] = put_integer(out[0], second)
    out[0] = put(out[0], kept.at, kept.end - kept.at)
    return True


cdef bint message(Cursor kept, uint8_t** out, Cursor data, int status, int64_t second) noexcept:
    """`about._message`. False: it's for Python."""
    cdef Cursor value
    cdef Text name, each
    cdef const uint8_t* start = kept.at
    cdef const uint8_t* at
    cdef const uint8_t* first
    cdef Py_ssize_t n, i
    cdef int s
    cdef int64_t earliest
    cdef Cursor times
    name.at, name.size = start, 0
    if find(data, CONFIDENCE, &value):
        if same(text(&value), MACHINE) and not value.bad:
            out[0] = put(out[0], start, kept.end - start)
            return True
    if value.bad:
        return False
    if find(data, MESSAGE_ID, &value):
        name = text(&value)
    if value.bad:
        return False
    if name.size == 0:
        out[0] = put(out[0], start, kept.end - start)
        return True
    if array(&kept) != 4:
        return False
    skip(&kept)
    skip(&kept)
    skip(&kept)
    at = kept.at
    n = entries(&kept)
    first = kept.at
    for i in range(n):
        each = text(&kept)
        if kept.bad:
            return False
        if not same(each, name):
            skip(&kept)
            continue
        if array(&kept) != STATUSES:
            return False
        for s in range(status):
            integer(&kept)
        times = kept
        earliest = integer(&kept)
        if kept.bad:
            return False
        if earliest == 0 or second < earliest:
            earliest = second
        out[0] = put(out[0], start, times.at - start)
        out[0] = put_integer(out[0], earliest)
        out[0] = put(out[0], kept.at, kept.end - kept.at)
        return True
    if kept.bad or n >= MESSAGES:
        return False
    out[0] = put(out[0], start, at - start)
    out[0] = put_entries(out[0], n + 1)
    out[0] = put(out[0], first, kept.at - first)
    out[0] = put_text(out[0], name.at, name.size)
    out[0][0] = 0x90 | <uint8_t> STATUSES
    out[0] += 1
    for s in range(STATUSES):
        out[0] = put_integer(out[0], second if s == status else 0)
    out[0] = put(out[0], kept.at, kept.end - kept.at)
    return True


cdef bint timeline(Cursor* c, uint8_t** out, const uint8_t* entry, Text label) noexcept:
    """`recent`, `labels`, `older` with a new entry. False: it's for Python."""
    cdef Text recent = binary(c), labels = binary(c), older = binary(c)
    cdef uint8_t aged[AGED]
    cdef uint64_t received
    cdef Py_ssize_t n, at, label_at, cut
    cdef uint8_t* to = out[0]
    n = recent.size // ENTRY
    if recent.size == 0 or memcmp(entry, recent.at + recent.size - ENTRY, ENTRY) > 0:
        if n < TIMELINE:
            to = put_binary_head(to, recent.size + ENTRY)
            to = put(put(to, recent.at, recent.size), entry, ENTRY)
            to = put_binary_head(to, labels.size + label.size)
            to = put(put(to, labels.at, labels.size), label.at, label.size)
            to = put_binary_head(to, older.size)
            out[0] = put(to, older.at, older.size)
            return True
        cut = recent.at[ENTRY - 1]
        if n != TIMELINE or cut > labels.size:
            return False
        to = put_binary_head(to, recent.size)
        to = put(put(to, recent.at + ENTRY, recent.size - ENTRY), entry, ENTRY)
        to = put_binary_head(to, labels.size - cut + label.size)
        to = put(put(to, labels.at + cut, labels.size - cut), label.at, label.size)
        received = big(recent.at, 4) + big(recent.at + 10, 3)
        for at in range(4):
            aged[at] = received >> 8 * (3 - at) & 255
        memcpy(aged + 4, recent.at + 4, 6)
        if older.size and memcmp(aged, older.at + older.size - AGED, AGED) < 0:
            return False
        cut = max(0, older.size + AGED - OLDER * AGED)
        to = put_binary_head(to, older.size + AGED - cut)
        to = put(to, older.at + cut, older.size - cut)  # it holds whole entries: `count` has seen to it
        out[0] = put(to, aged, AGED)
        return True
    if n >= TIMELINE or older.size:
        return False
    at = label_at = 0
    while memcmp(recent.at + at, entry, ENTRY) < 0:  # ends: the last one is not smaller
        label_at += recent.at[at + ENTRY - 1]
        at += ENTRY
    if label_at > labels.size:
        return False
    to = put_binary_head(to, recent.size + ENTRY)
    to = put(put(put(to, recent.at, at), entry, ENTRY), recent.at + at, recent.size - at)
    to = put_binary_head(to, labels.size + label.size)
    to = put(put(put(to, labels.at, label_at), label.at, label.size), labels.at + label_at, labels.size - label_at)
    out[0] = put_binary_head(to, 0)
    return True


def count(bytes packed, PackedRow row):
    """`about.count`, byte for byte; None: it's for Python."""
    return counted(packed, row)


cdef object counted(bytes packed, PackedRow row):
    global scratch, scratch_size
    cdef Cursor c, data, value, look
    cdef Text label, recent, older
    cdef uint8_t entry[ENTRY]
    cdef uint8_t* out
    cdef uint8_t* grown
    cdef int64_t first, last, engaged, absolute, second, lag
    cdef int code = row.code, i
    cdef Py_ssize_t size, characters
    cdef bint bad = False, fits
    if code < 0 or kinds[code].special == BY_PYTHON or row.occurred_at < 0:
        return None
    data.at = row.data
    data.end = row.at + row.size
    data.bad = False
    c.at = <const uint8_t*> PyBytes_AS_STRING(packed)
    c.end = c.at + PyBytes_GET_SIZE(packed)
    c.bad = False
    size = PyBytes_GET_SIZE(packed) + row.size + 512  # no number grows by more than its 9 bytes
    if size > scratch_size:
        grown = <uint8_t*> PyMem_Realloc(scratch, 2 * size)
        if grown == NULL:
            raise MemoryError
        scratch, scratch_size = grown, 2 * size
    label = first_text(data, kinds[code].labels, &bad)
    if bad:
        return None
    if label.size > LABEL:  # in UTF-8 a character begins with every byte but 10xxxxxx
        characters = 0
        for i in range(label.size):
            if label.at[i] & 0xC0 != 0x80:
                characters += 1
                if characters > LABEL:
                    label.size = i
                    break
    second = row.occurred_at // 1000
    lag = row.received_at // 1000 - second
    if lag < 0 or row.received_at < 0:
        return None
    lag = min(lag, LAG) << 8 | code
    for i in range(4):
        entry[i] = second >> 8 * (3 - i) & 255
        entry[10 + i] = lag >> 8 * (3 - i) & 255
    for i in range(6):
        entry[4 + i] = row.fingerprint >> 8 * (5 - i) & 255
    entry[14] = <uint8_t> label.size

    out = scratch
    if array(&c) != 10:
        return None
    first, last, engaged, absolute = integer(&c), integer(&c), integer(&c), integer(&c)
    look = c
    skip(&look)
    skip(&look)
    recent = binary(&look)
    binary(&look)
    older = binary(&look)
    if look.bad or recent.size % ENTRY or older.size % AGED:
        return None
    if holds(recent, ENTRY, entry + 4) or holds(older, AGED, entry + 4):
        return packed

    if row.occurred_at < first or first == 0:
        first = row.occurred_at
    last = max(last, row.occurred_at)
    if code == PAGE:
        if find(data, ENGAGED, &value):
            engaged += integer(&value)
        if value.bad:
            return None
        if find(data, ABSOLUTE, &value):
            absolute += integer(&value)
        if value.bad:
            return None
    out[0] = 0x9A
    out = put_integer(put_integer(out + 1, first), last)
    out = put_integer(put_integer(out, engaged), absolute)
    if not add_to(&c, &out, code, KINDS) or not add_to(&c, &out, row.occurred_at // DAY, DAYS):
        return None
    if not timeline(&c, &out, entry, label):
        return None
    if kinds[code].special == PRODUCT:
        fits = product(c, &out, data, second)
    elif kinds[code].special == MESSAGE:
        fits = message(c, &out, data, code - FIRST_STATUS, second)
    else:
        out = put(out, c.at, c.end - c.at)
        fits = True
    if not fits:
        return None
    return PyBytes_FromStringAndSize(<char*> scratch, out - scratch)


# Profiles. Their fields are slots, which CPython keeps at a fixed place in the object: `bind` looks these places up.

cdef enum:
    UNKNOWN = -1  # profile.UNKNOWN

cdef object PROFILE = None
cdef Py_ssize_t ABOUT, PERSONS, ROWS, WAITING, FIRST, DUE, WAKES, ONE, FRESH, TIMER


def bind(profile):
    """Tell what class profiles are of. Raises TypeError where its fields are no slots."""
    global PROFILE, ABOUT, PERSONS, ROWS, WAITING, FIRST, DUE, WAKES, ONE, FRESH, TIMER
    names = ("packed_about", "packed_persons", "packed_rows", "waiting", "first", "due", "wakes", "one", "fresh", "timer")
    places = []
    for name in names:
        slot = profile.__dict__.get(name)
        if type(slot) is not MemberDescriptorType:
            raise TypeError(f"{profile.__qualname__}.{name} is no slot but {slot!r}")
        places.append((<PyMemberDescrObject*> slot).d_member.offset)
    ABOUT, PERSONS, ROWS, WAITING, FIRST, DUE, WAKES, ONE, FRESH, TIMER = places
    PROFILE = profile


cdef inline object get(object profile, Py_ssize_t place):
    cdef PyObject* found = (<PyObject**> (<char*> <PyObject*> profile + place))[0]
    return <object> found if found != NULL else None


cdef inline void put_into(object profile, Py_ssize_t place, object value) noexcept:
    cdef PyObject** at = <PyObject**> (<char*> <PyObject*> profile + place)
    cdef PyObject* old = at[0]
    Py_INCREF(value)
    at[0] = <PyObject*> value
    Py_XDECREF(old)


# Of thousands of profiles each is met when it has left the processor's caches. So memory is asked ahead for the next
# ones: what does not depend on each other is fetched at the same time.
cdef enum:
    AHEAD = 4
    LINE = 64


cdef inline void fetch_object(PyObject* profile) noexcept:
    prefetch(profile)
    prefetch(<char*> profile + LINE)


cdef inline void fetch_bytes(PyObject* profile, Py_ssize_t place) noexcept:
    """The beginning of what a field holds; the processor itself sees to the rest."""
    cdef char* at = (<char**> (<char*> profile + place))[0]
    prefetch(at)
    prefetch(at + LINE)
    prefetch(at + 2 * LINE)


def receive(list rows, dict profiles, dict changed, concerned, by_python, took, again, elsewhere):
    """See profile.receive_all. `by_python`, `took` and `again` do what isn't the good case."""
    cdef PackedRow row
    cdef PyObject* found
    cdef object state, before, after, one
    cdef Py_ssize_t duplicates = 0, i, n = len(rows)
    cdef list states = []
    for row in rows:
        found = PyDict_GetItemWithError(profiles, row.root)
        states.append(<object> found if found != NULL else None)
    for i in range(n):
        if i + 2 * AHEAD < n:
            fetch_object(<PyObject*> states[i + 2 * AHEAD])
        if i + AHEAD < n and type(states[i + AHEAD]) is PROFILE:
            fetch_bytes(<PyObject*> states[i + AHEAD], ABOUT)
            fetch_bytes(<PyObject*> states[i + AHEAD], ONE)
        row = rows[i]
        state = states[i]
        if type(state) is not PROFILE:  # or it has become one by a row before
            found = PyDict_GetItemWithError(profiles, row.root)
            if found == NULL or type(<object> found) is not PROFILE:
                elsewhere(row)
                continue
            state = <object> found
        before = get(state, ABOUT)
        after = counted(before, row)
        if after is None:
            after = by_python(before, row)
        if after is before:
            again(state, row)
            duplicates += 1
        else:
            one = get(state, ONE)
            if (
                one is None
                or row.ids_size != PyBytes_GET_SIZE(one)
                or memcmp(row.ids_at, PyBytes_AS_STRING(one), row.ids_size) != 0
                or row.type in concerned
            ):
                took(state, row, after)
            else:
                put_into(state, ABOUT, after)
        PyDict_SetItem(changed, row.root, state)
    return duplicates


cdef bytes encoded(object profile):
    cdef bytes about = get(profile, ABOUT), persons = get(profile, PERSONS), rows = get(profile, ROWS), made
    cdef list fresh = get(profile, FRESH)
    cdef Py_ssize_t waiting = get(profile, WAITING), size
    cdef uint8_t* to
    cdef uint8_t head[5]
    cdef uint8_t* head_end = put_array(head, waiting) if waiting < 1 << 16 else put_big(head, 0xDD, waiting, 4)
    size = 1 + PyBytes_GET_SIZE(about) + PyBytes_GET_SIZE(persons) + (head_end - head) + PyBytes_GET_SIZE(rows)
    if fresh is not None:
        for row in fresh:
            size += PyBytes_GET_SIZE(row)
    made = PyBytes_FromStringAndSize(NULL, size)
    to = <uint8_t*> PyBytes_AS_STRING(made)
    to[0] = 0x93
    to = put(to + 1, PyBytes_AS_STRING(about), PyBytes_GET_SIZE(about))
    to = put(to, PyBytes_AS_STRING(persons), PyBytes_GET_SIZE(persons))
    to = put(to, head, head_end - head)
    to = put(to, PyBytes_AS_STRING(rows), PyBytes_GET_SIZE(rows))
    if fresh is not None:
        for row in fresh:
            to = put(to, PyBytes_AS_STRING(row), PyBytes_GET_SIZE(row))
    return made


def encode(profile):
    """See profile.encode_profile; of a profile, not of what has moved."""
    if type(profile) is not PROFILE:
        raise TypeError(f"not a profile: {profile!r}")
    return encoded(profile)


def settle(dict changed, int64_t clock, Py_ssize_t unfolded, wakes_at, look, encode_other, dict states, dict timers):
    """See profile.settle."""
    cdef object at, due, wakes
    cdef list each = list(changed.values())
    cdef Py_ssize_t i = -1, n = len(each)
    for root, state in changed.items():
        i += 1
        if i + 2 * AHEAD < n:
            fetch_object(<PyObject*> each[i + 2 * AHEAD])
        if i + AHEAD < n and type(each[i + AHEAD]) is PROFILE:
            fetch_bytes(<PyObject*> each[i + AHEAD], ABOUT)
            fetch_bytes(<PyObject*> each[i + AHEAD], PERSONS)
        if type(state) is not PROFILE:
            PyDict_SetItem(states, root, encode_other(state))
            continue
        wakes, due = get(state, WAKES), get(state, DUE)
        if wakes is not None and <int64_t> wakes == UNKNOWN:
            at = wakes_at(state)
        else:
            at = due if wakes is None or (due is not None and <int64_t> due < <int64_t> wakes) else wakes
        if (at is not None and <int64_t> at < clock) or (
            <Py_ssize_t> get(state, WAITING) > unfolded and <int64_t> get(state, FIRST) < clock
        ):
            look(root, state)
            at = wakes_at(state)
        if at != get(state, TIMER):
            put_into(state, TIMER, at)
            PyDict_SetItem(timers, root, at)
        PyDict_SetItem(states, root, encoded(state))
