# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The good case of profile/packed.py, compiled: rows and profiles are read and written as the msgpack that they are.

Every read is checked against the end of its bytes. What isn't the good case is left to Python: `count` returns None.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem, PyDict_Size
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove

from pipeline.profile import about
from pipeline.profile.parts.part import DOES, LONGEST as _LONGEST, TYPES
from pipeline.profile.parts.timeline import LAG as _LAG

cdef extern from *:
    const long long MADE_FROM

made_from = MADE_FROM  # see hatch_build.py

cdef enum:
    KINDS = 64
    NAMES = 3
    ENTRY = 15  # timeline.RECENT
    AGED = 10  # timeline.OLDER
    TAGS = 16  # tagged parts
    INDEXED = 24  # fields of an event
    TOLD = 20  # names that one event tells, of what is kept by name
    ROOM = 4096  # bytes by which an event may let an `About` grow, beside its own: each of TOLD numbers twice over

cdef enum:
    COPY, ARRAY, TOP, MORE, TAG, EARLIEST, LATEST, SUM, COUNT, SPAN, TIMELINE, TALLY, EACH, NEWEST  # in the order of part.DOES

cdef int64_t LAG = _LAG, LONGEST = _LONGEST


cdef struct Text:
    const uint8_t* at
    Py_ssize_t size


cdef struct Step:  # see part.Step
    int does
    int64_t numbers[4]
    Text fields[NAMES]
    Text unless[2]
    Text empty


cdef struct Kind:
    Text name
    Step* steps  # NULL: it's for Python
    Py_ssize_t count


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


cdef Text PRODUCTS_LISTED = _text("products")


cdef Step* _steps(list told) except NULL:
    cdef Step* steps = <Step*> PyMem_Malloc((len(told) + 1) * sizeof(Step))
    cdef int n
    if steps == NULL:
        raise MemoryError
    for n, step in enumerate(told):
        _step(&steps[n], step)
    return steps


cdef int _step(Step* step, told) except -1:
    cdef int i
    if len(told.fields) > NAMES:
        raise ValueError(
            f"{told.does} of {len(told.fields)} fields, and _packed.pyx has room for {NAMES}: raise NAMES there"
        )
    step.does = DOES.index(told.does)
    for i, number in enumerate(told.numbers):
        step.numbers[i] = number
    for i in range(NAMES):
        step.fields[i].at, step.fields[i].size = NULL, 0
    for i, name in enumerate(told.fields):
        step.fields[i] = _text(name)
    for i, name in enumerate(told.unless):
        step.unless[i] = _text(name)
    kept_alive.append(told.empty)
    step.empty.at, step.empty.size = <const uint8_t*> PyBytes_AS_STRING(told.empty), PyBytes_GET_SIZE(told.empty)
    if told.does == "more" and told.numbers[1] > TAGS:
        raise ValueError(f"{told.numbers[1]} tagged parts, and _packed.pyx has room for {TAGS}: raise TAGS there")
    return 0


cdef _tables():
    cdef int code
    if len(TYPES) > KINDS:
        raise ValueError(f"there are {len(TYPES)} event types, and _packed.pyx has room for {KINDS}: raise KINDS there")
    for code, name in enumerate(TYPES):
        type_names.append(name)
        kinds[code].name = _text(name)
        steps = about.steps(name) if name else None
        if steps is not None:
            kinds[code].count = len(steps)
            kinds[code].steps = _steps(steps)


_tables()


include "../_msgpack.pxi"
include "_reading.pxi"


cdef class PackedRow:
    """See packed.PlainRow. It lies among others in `owner`: a row that is not kept is never copied."""

    cdef bytes owner
    cdef const uint8_t* at
    cdef const uint8_t* type_at
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
        cdef Py_ssize_t fields
        self.owner = owner
        self.at = c.at
        fields = array(c)
        if fields < 9:
            c.bad = True
        self.offset = integer(c)
        found = text(c)
        if not c.bad:
            self.root = PyUnicode_DecodeUTF8(<char*> found.at, found.size, NULL)
        self.type_at = c.at
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
        for fields in range(8, fields):
            skip(c)
        self.size = c.at - self.at
        if c.bad:
            raise ValueError(f"not a row: {owner[:200]!r}")
        return 0

    @property
    def raw(self):
        return PyBytes_FromStringAndSize(<char*> self.at, self.size)

    @property
    def kept(self):
        """See packed.PlainRow."""
        cdef Py_ssize_t head = 1 if self.at[0] & 0xF0 == 0x90 else 3 if self.at[0] == 0xDC else 5
        cdef Py_ssize_t rest = self.size - (self.type_at - self.at)
        cdef bytes made = PyBytes_FromStringAndSize(NULL, head + 2 + rest)
        cdef uint8_t* to = put(<uint8_t*> PyBytes_AS_STRING(made), self.at, head)
        to[0], to[1] = 0, 0xA0  # nought, and no text
        put(to + 2, self.type_at, rest)
        return made

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


include "_counting.pxi"
include "_profiles.pxi"
include "_trimming.pxi"
