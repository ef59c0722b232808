# cython: language_level=3, binding=False, embedsignature=False
"""A decoder for one schema: walks a tree of C structs made once from the schema, and makes the Event directly.

The decoder is what the first hop spends most of its time on. fastavro builds a dict of all fields, null or not, which
is then checked and thinned out; this reads, checks and thins out in one go, and steps over what nobody reads.

It only knows the good case. Whatever is unusual (truncated, a foreign encoding of a number, a string too long, a NaN)
raises, and the caller then asks fastavro for the verdict: it either finds a true reason or reads the record.

The bytes come from anywhere. Nothing is read before it is known to lie inside of the value: every read asks for what
is left (`end - p`), and no position is ever computed from a length that was not compared with that before.
"""

from cpython.dict cimport PyDict_SetItem
from cpython.list cimport PyList_Append
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isfinite
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memset

from sys import intern

from pipeline.events import tidy
from pipeline.events.checks import MAX_EVENT_ID, MAX_IDENTIFIER, MAX_STRING, MAX_TIME, MIN_TIME
from pipeline.events.model import CONSENT, CONTEXT, STANDS_IN, Event
from pipeline.events.text import PLACEHOLDERS

cdef extern from "Python.h":
    double PyFloat_Unpack8(const char* p, int le) except? -1.0
    int PyFloat_Pack8(double value, char* p, int le) except -1
    bint PyUnicode_IS_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    void* PyUnicode_DATA(object text)

cdef extern from *:
    const long long MADE_FROM

made_from = MADE_FROM  # see hatch_build.py

cdef Py_ssize_t LONGEST_ID = MAX_EVENT_ID
cdef Py_ssize_t LONGEST_IDENTIFIER = MAX_IDENTIFIER
cdef Py_ssize_t LONGEST_TEXT = MAX_STRING
cdef int64_t EARLIEST = MIN_TIME, LATEST = MAX_TIME

ENVELOPE = ["event_id", "occurred_at", "received_at", "identifiers", "context", "consent", "body"]


class Unusual(Exception):
    """Not the good case."""


cdef enum Kind:
    TEXT, NUMBER, DOUBLE, BOOLEAN, ENUM, MAP, ARRAY, RECORD

KINDS = {
    "string": TEXT, "long": NUMBER, "int": NUMBER, "double": DOUBLE, "boolean": BOOLEAN, "enum": ENUM,
    "map": MAP, "array": ARRAY, "record": RECORD,
}

cdef struct Node:
    Kind kind
    bint nullable      # a union of null and this
    bint skipped       # nobody reads it
    int care           # of a body's or context's field: in which form it has to be, see tidy.py
    Py_ssize_t count   # fields of a record, symbols of an enum
    Node* inner        # fields of a record; what a map or an array holds
    PyObject* name     # of a field; the Reader keeps it alive
    PyObject* handed   # the same as a row calls it
    PyObject* symbols  # of an enum, a tuple; as above

cdef struct Bytes:
    const unsigned char* p    # what is read next
    const unsigned char* end  # p <= end, always


cdef class Reader:
    """Reads records of `schema`, which start `skip` bytes into the value.

    `wanted`: the body's fields that are read, the context's, as `context.locale`, and `consent`. Others are stepped over:
    lengths count there, and what lies between them isn't looked at. None: all are read. `schema` is one of ours without logical
    types.

    For `take`: the body's fields that are `handed` on, of records up to `longest` bytes.
    """

    cdef Node context, consent, body
    cdef Py_ssize_t skip, longest
    cdef Py_ssize_t instead, of  # fields of the body: one that is read where the other is missing, or -1
    cdef bint trimmed, handed_too, contexts, consents
    cdef object event  # the class: an attribute here is nearer than a global
    cdef str name
    cdef list kept

    def __init__(self, str name not None, dict schema not None, Py_ssize_t skip, wanted=None, handed=(), longest=0):
        if self.kept is not None or skip < 0:
            raise ValueError("A reader is made once, for a header of 0 or more bytes")
        self.kept = []
        self.name, self.skip, self.event = intern(name), skip, Event
        self.trimmed = wanted is not None
        fields = {field["name"]: field["type"] for field in schema["fields"]}
        kinds = [kind_of(fields.get(field)) for field in ENVELOPE]
        if list(fields) != ENVELOPE or kinds[:4] != ["string", "long", "long", "map"] or kinds[6] != "record":
            raise ValueError(f"{schema['name']} has another envelope than the compiled reader knows: {fields}")
        if kind_of(fields["identifiers"]["values"]) != "string":
            raise ValueError(f"The compiled reader takes identifiers for a map of texts, not {fields['identifiers']}")
        build(&self.context, fields["context"], self.kept)
        build(&self.consent, fields["consent"], self.kept)
        build(&self.body, fields["body"], self.kept)
        if self.context.kind != RECORD or self.consent.kind != MAP or self.consent.inner.kind != BOOLEAN or (
            self.consent.inner.nullable
        ):
            raise ValueError(f"{schema['name']} has another context or consent than the compiled reader knows")
        self.consents = wanted is not None and CONSENT in wanted
        cdef Py_ssize_t i
        schema_of_body = fields["body"]
        for i in range(self.body.count):
            field = <object>self.body.inner[i].name
            self.body.inner[i].skipped = wanted is not None and field not in wanted
            self.body.inner[i].care = tidy.care(name, field)
            if field == "products":
                self.read_items(self.body.inner[i].inner, tidy.item_fields(name, handed))
        for i in range(self.context.count):
            field = intern(CONTEXT + <object>self.context.inner[i].name)
            self.kept.append(field)
            self.context.inner[i].handed = <PyObject*>field
            self.context.inner[i].care = tidy.care(name, field)
            if wanted is not None:
                self.context.inner[i].skipped = field not in wanted
                self.contexts |= field in wanted
        names = [field["name"] for field in schema_of_body["fields"]]
        instead, of = STANDS_IN.get(name, (None, None))
        self.instead = names.index(instead) if instead in names else -1
        self.of = names.index(of) if of in names else -1
        self.handed_too = instead in handed
        # Names and symbols of a row, and ids of two bytes and more a character, in a room that is never outgrown.
        said = len(str(schema_of_body)) + 10 * longest + 8 * MAX_IDENTIFIER + 1024
        self.longest = longest if self.trimmed and said < ROOM else 0

    cdef int read_items(self, Node* item, kept) except -1:
        """Of each of several products these are kept."""
        cdef Py_ssize_t i
        if item.kind != RECORD or item.count > 15:
            raise ValueError(f"{self.name} has other products than the compiled reader knows")
        for i in range(item.count):
            field = <object>item.inner[i].name
            item.inner[i].care = NEVER if field not in kept else tidy.item_care(field)
        return 0

    def __dealloc__(self):
        release(&self.context)
        release(&self.consent)
        release(&self.body)

    def read(self, bytes value not None, trace):
        """The event in `value`. Raises anything for what is not the good case."""
        cdef Bytes at
        cdef int64_t occurred_at, received_at
        cdef dict identifiers, body
        cdef object context = None, consent
        if self.skip > PyBytes_GET_SIZE(value):
            raise Unusual
        at.p = <const unsigned char*>PyBytes_AS_STRING(value)
        at.end = at.p + PyBytes_GET_SIZE(value)
        at.p += self.skip
        event_id = text(&at, LONGEST_ID)
        if not event_id:
            raise Unusual
        number(&at, &occurred_at)
        number(&at, &received_at)
        if not (EARLIEST <= occurred_at <= LATEST and EARLIEST <= received_at <= LATEST):
            raise Unusual
        if occurred_at > received_at:
            occurred_at = received_at
        identifiers = read_identifiers(&at)
        body = {}
        if self.trimmed:
            if present(&at, &self.context):
                if self.contexts:
                    context = {}
                    read_fields(&at, &self.context, context)
                else:
                    step_over(&at, &self.context)
            if present(&at, &self.consent):
                if self.consents:
                    context = {} if context is None else context
                    context[CONSENT] = read_value(&at, &self.consent)
                else:
                    step_over(&at, &self.consent)
        else:
            if present(&at, &self.context):
                context = read_value(&at, &self.context)
            if present(&at, &self.consent):
                consent = read_value(&at, &self.consent)
                context = {} if context is None else context
                context[CONSENT] = consent
        read_fields(&at, &self.body, body)
        if at.p != at.end:
            raise Unusual
        if self.trimmed:
            return self.event(self.name, event_id, occurred_at, received_at, identifiers, body, context, trace, True)
        return self.event(self.name, event_id, occurred_at, received_at, identifiers, body, context, trace)


# --- the tree


cdef object kind_of(schema):
    return schema["type"] if isinstance(schema, dict) else schema


cdef int build(Node* node, object schema, list kept) except -1:
    """Make a node of a piece of a schema. What it made so far is released by the caller, also after an error."""
    cdef Py_ssize_t i
    kind = kind_of(schema)
    if isinstance(kind, list):
        if len(kind) != 2 or kind[0] != "null" or isinstance(kind_of(kind[1]), list):
            raise ValueError(f"The compiled reader knows unions of null and one other type only, not {kind}")
        node.nullable = True
        schema = kind[1]
        kind = kind_of(schema)
    if kind not in KINDS:  # also a name that stands for an earlier record: so no tree is endless
        raise ValueError(f"The compiled reader doesn't know the Avro type {kind!r}")
    node.kind = KINDS[kind]
    if kind == "enum":
        symbols = tuple(intern(symbol) for symbol in schema["symbols"])
        kept.append(symbols)
        node.symbols = <PyObject*>symbols
        node.count = len(symbols)
    elif kind == "record":
        fields = schema["fields"]
        if not fields:  # takes no bytes: a few bytes of array could hold any number of them
            raise ValueError(f"The compiled reader doesn't know a record without fields: {schema['name']}")
        allot(node, len(fields))
        for i in range(node.count):
            name = intern(fields[i]["name"])
            kept.append(name)
            node.inner[i].name = <PyObject*>name
            build(&node.inner[i], fields[i]["type"], kept)
    elif kind == "map" or kind == "array":
        allot(node, 1)
        build(node.inner, schema["values" if kind == "map" else "items"], kept)
    return 0


cdef int allot(Node* node, Py_ssize_t count) except -1:
    node.inner = <Node*>PyMem_Calloc(count, sizeof(Node))
    if node.inner == NULL:
        raise MemoryError
    node.count = count
    return 0


cdef void release(Node* node) noexcept:
    cdef Py_ssize_t i
    if node.inner != NULL:
        for i in range(node.count):
            release(&node.inner[i])
        PyMem_Free(node.inner)
        node.inner = NULL


# --- values


cdef object read_value(Bytes* at, Node* node):
    """The value of `node` that is read next; of a union, what stands behind the byte that says so."""
    cdef int64_t value
    cdef double real
    if node.kind == TEXT:
        return text(at, LONGEST_TEXT)
    if node.kind == NUMBER:
        number(at, &value)
        return value
    if node.kind == DOUBLE:
        if at.end - at.p < 8:
            raise Unusual
        real = PyFloat_Unpack8(<const char*>at.p, 1)
        if not isfinite(real):
            raise Unusual
        at.p += 8
        return real
    if node.kind == BOOLEAN:
        return octet(at, 1) == 1
    if node.kind == ENUM:
        return (<tuple>node.symbols)[symbol(at, node)]
    if node.kind == RECORD:
        record = {}
        read_fields(at, node, record)
        return record
    if node.kind == MAP:
        return read_map(at, node)
    return read_array(at, node)


cdef int read_fields(Bytes* at, Node* record, dict to) except -1:
    """The fields of a record; those that are null are left out."""
    cdef Py_ssize_t i
    cdef Node* node
    for i in range(record.count):
        node = &record.inner[i]
        if not present(at, node):
            continue
        if node.skipped:
            step_over(at, node)
        else:
            PyDict_SetItem(to, <object>node.name, read_value(at, node))
    return 0


cdef dict read_identifiers(Bytes* at):
    cdef dict found = {}
    cdef Py_ssize_t left = block(at)
    while left:
        while left:
            name = key(at, LONGEST_IDENTIFIER)
            PyDict_SetItem(found, name, text(at, LONGEST_IDENTIFIER))
            left -= 1
        left = block(at)
    return found


cdef dict read_map(Bytes* at, Node* node):
    cdef dict found = {}
    cdef Py_ssize_t left = block(at)
    while left:
        while left:
            name = key(at, LONGEST_TEXT)
            PyDict_SetItem(found, name, read_value(at, node.inner) if present(at, node.inner) else None)
            left -= 1
        left = block(at)
    return found


cdef list read_array(Bytes* at, Node* node):
    cdef list found = []
    cdef Py_ssize_t left = block(at)
    while left:
        while left:
            PyList_Append(found, read_value(at, node.inner) if present(at, node.inner) else None)
            left -= 1
        left = block(at)
    return found


cdef int step_over(Bytes* at, Node* node) except -1:
    """Past a value that nobody reads. Of what isn't a text, or made of texts, nothing is spared."""
    cdef Py_ssize_t i, left
    cdef int64_t value
    if node.kind == TEXT:
        at.p += length(at, LONGEST_TEXT)
    elif node.kind == NUMBER:
        number(at, &value)
    elif node.kind == DOUBLE:
        if at.end - at.p < 8:
            raise Unusual
        at.p += 8
    elif node.kind == BOOLEAN:
        octet(at, 1)
    elif node.kind == ENUM:
        symbol(at, node)
    elif node.kind == RECORD:
        for i in range(node.count):
            if present(at, &node.inner[i]):
                step_over(at, &node.inner[i])
    else:
        left = block(at)
        while left:
            while left:
                if node.kind == MAP:
                    at.p += length(at, LONGEST_TEXT)
                if present(at, node.inner):
                    step_over(at, node.inner)
                left -= 1
            left = block(at)
    return 0


# --- bytes


cdef inline int present(Bytes* at, Node* node) except -1:
    """Whether there is a value: a union may hold null instead."""
    cdef int which
    if not node.nullable:
        return 1
    which = octet(at, 2)
    if which == 1:
        raise Unusual
    return which


cdef inline int octet(Bytes* at, int most) except -1:
    """The next byte, at most `most`."""
    if at.p >= at.end or at.p[0] > most:
        raise Unusual
    at.p += 1
    return at.p[-1]


cdef inline int number(Bytes* at, int64_t* to) except -1:
    """A long: up to ten bytes of seven bits, the lowest first, zigzag."""
    cdef const unsigned char* p = at.p
    cdef uint64_t value = 0
    cdef int shift = 0
    while True:
        if p >= at.end:
            raise Unusual
        if shift == 63 and p[0] > 1:  # more than 64 bits
            raise Unusual
        value |= <uint64_t>(p[0] & 127) << shift
        p += 1
        if p[-1] < 128:
            break
        shift += 7
    at.p = p
    to[0] = <int64_t>((value >> 1) ^ (0 - (value & 1)))
    return 0


cdef inline Py_ssize_t length(Bytes* at, Py_ssize_t longest) except -1:
    """Bytes of the string that begins here. They are there, and not more than `longest`."""
    cdef int64_t n
    number(at, &n)
    if n < 0 or n > longest or n > at.end - at.p:
        raise Unusual
    return <Py_ssize_t>n


cdef inline object text(Bytes* at, Py_ssize_t longest):
    cdef Py_ssize_t n = length(at, longest)
    at.p += n
    return PyUnicode_DecodeUTF8(<const char*>at.p - n, n, NULL)


cdef inline Py_ssize_t symbol(Bytes* at, Node* node) except -1:
    """Index of an enum's symbol."""
    cdef int64_t n
    number(at, &n)
    if n < 0 or n >= node.count:
        raise Unusual
    return <Py_ssize_t>n


cdef inline Py_ssize_t block(Bytes* at) except -1:
    """How many items the next block of a map or array holds; 0: it was the last. An item is a byte at the least."""
    cdef int64_t n, size
    number(at, &n)
    if n < 0:  # a block that tells its size in bytes too, for readers that skip it
        if n == INT64_MIN:
            raise Unusual
        number(at, &size)
        n = -n
    if n > at.end - at.p:
        raise Unusual
    return <Py_ssize_t>n


# Keys of maps: few different ones, which come again and again. Each slot owns a string of ASCII characters, or is NULL.
cdef enum:
    SLOTS = 256
    LONGEST_KEPT = 32
cdef PyObject* KEPT[SLOTS]


cdef object key(Bytes* at, Py_ssize_t longest):
    """The same as `text`, but mostly a string that is there already and knows its hash."""
    cdef Py_ssize_t n = length(at, longest)
    cdef const unsigned char* s = at.p
    cdef PyObject* kept
    cdef size_t slot
    at.p += n
    if n == 0 or n > LONGEST_KEPT:
        return PyUnicode_DecodeUTF8(<const char*>s, n, NULL)
    slot = (<size_t>s[0] * 31 + <size_t>s[n >> 1] * 7 + <size_t>s[n - 1] * 3 + <size_t>n) % SLOTS
    kept = KEPT[slot]
    if kept != NULL and PyUnicode_GET_LENGTH(<object>kept) == n and not memcmp(PyUnicode_DATA(<object>kept), s, n):
        return <object>kept
    made = PyUnicode_DecodeUTF8(<const char*>s, n, NULL)
    if PyUnicode_IS_ASCII(made):
        Py_INCREF(made)
        KEPT[slot] = <PyObject*>made
        Py_XDECREF(kept)
    return made


include "_rows.pxi"
include "_writer.pxi"
include "_calls.pxi"
