# Outbound records: Avro's binary encoding (Avro 1.11, "Binary Encoding"). Included by _reader.pyx.

from cpython.mem cimport PyMem_Realloc

cdef uint8_t* OUT = NULL
cdef Py_ssize_t OUT_SIZE = 0, OUT_USED = 0
cdef object UNMET = object()
cdef Py_ssize_t EVENT_TYPE, EVENT_ID, OCCURRED_AT, RECEIVED_AT, IDENTIFIERS, EVENT_CONTEXT, BODY

EVENT_TYPE, EVENT_ID, OCCURRED_AT, RECEIVED_AT, IDENTIFIERS, EVENT_CONTEXT, BODY = places_of(
    Event, ("type", "event_id", "occurred_at", "received_at", "identifiers", "context", "body")
)


cdef class Writer:
    """Writes records of `schema`, one of ours without logical types. Raises ValueError for one that it doesn't know."""

    cdef Node record
    cdef list kept
    cdef bint of_events

    def __init__(self, dict schema not None):
        if self.kept is not None:
            raise ValueError("A writer is made once")
        self.kept = []
        build(&self.record, schema, self.kept)
        if self.record.kind != RECORD:
            raise ValueError(f"no record: {schema}")
        self.of_events = [field["name"] for field in schema["fields"]] == ENVELOPE

    def __dealloc__(self):
        release(&self.record)

    def write(self, bytes head not None, list values not None):
        """A record with these `values`, in the order of its fields, behind `head`. Raises anything for what is unusual:
        a value of another kind, say.
        """
        global OUT_USED
        cdef Py_ssize_t i
        if len(values) != self.record.count:
            raise Unusual
        OUT_USED = 0
        emit(PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        for i in range(self.record.count):
            write_value(&self.record.inner[i], values[i])
        return PyBytes_FromStringAndSize(<char*>OUT, OUT_USED)


    def event(self, bytes head not None, event not None):
        """An event behind `head`; see codec.to_record. Raises as `write` does."""
        return self.written(head, event)

    cdef bytes written(self, bytes head, object event):
        global OUT_USED
        cdef Node* fields = self.record.inner
        cdef dict context
        if not self.of_events or type(event) is not Event:
            raise Unusual
        consent = None
        context = get(event, EVENT_CONTEXT)
        if context is not None:
            consent = context.get(CONSENT, UNMET)
            if consent is UNMET:
                consent = None
            elif len(context) == 1:
                context = None
        OUT_USED = 0
        emit(PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        write_value(&fields[0], get(event, EVENT_ID))
        write_value(&fields[1], get(event, OCCURRED_AT))
        write_value(&fields[2], get(event, RECEIVED_AT))
        write_value(&fields[3], get(event, IDENTIFIERS))
        write_value(&fields[4], context)
        write_value(&fields[5], consent)
        write_value(&fields[6], get(event, BODY))
        return PyBytes_FromStringAndSize(<char*>OUT, OUT_USED)


cdef int emit(const void* at, Py_ssize_t size) except -1:
    global OUT, OUT_SIZE, OUT_USED
    cdef uint8_t* grown
    if OUT_SIZE - OUT_USED < size:
        grown = <uint8_t*>PyMem_Realloc(OUT, 2 * (OUT_USED + size) + 4096)
        if grown == NULL:
            raise MemoryError
        OUT, OUT_SIZE = grown, 2 * (OUT_USED + size) + 4096
    memcpy(OUT + OUT_USED, at, size)
    OUT_USED += size
    return 0


cdef int emit_number(int64_t value) except -1:
    """A long: zigzag, seven bits a byte, the lowest first."""
    cdef uint8_t made[10]
    cdef int size = 0
    cdef uint64_t n = (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)
    while n > 127:
        made[size] = <uint8_t>(n & 127 | 128)
        size += 1
        n >>= 7
    made[size] = <uint8_t>n
    return emit(made, size + 1)


cdef int emit_text(str value) except -1:
    cdef Py_ssize_t size
    cdef const char* at = PyUnicode_AsUTF8AndSize(value, &size)
    emit_number(size)
    return emit(at, size)


cdef int write_value(Node* node, object value) except -1:
    cdef uint8_t flag
    cdef char real[8]
    cdef Py_ssize_t i
    if node.nullable:
        emit_number(value is not None)
        if value is None:
            return 0
    if node.kind == TEXT:
        if type(value) is not str:
            raise Unusual
        return emit_text(value)
    if node.kind == NUMBER:
        return emit_number(value)
    if node.kind == BOOLEAN:
        if type(value) is not bool:
            raise Unusual
        flag = value
        return emit(&flag, 1)
    if node.kind == ENUM:
        return emit_number((<tuple>node.symbols).index(value))
    if node.kind == ARRAY:
        if type(value) is not list:
            raise Unusual
        if value:
            emit_number(len(<list>value))
            for item in <list>value:
                write_value(node.inner, item)
        return emit_number(0)
    if node.kind == MAP:
        if type(value) is not dict:
            raise Unusual
        if value:
            emit_number(len(<dict>value))
            for name, item in (<dict>value).items():
                if type(name) is not str:
                    raise Unusual
                emit_text(name)
                write_value(node.inner, item)
        return emit_number(0)
    if node.kind == RECORD:
        if type(value) is not dict:
            raise Unusual
        for i in range(node.count):
            write_value(&node.inner[i], (<dict>value).get(<object>node.inner[i].name))
        return 0
    if node.kind == DOUBLE:
        if type(value) is not float and type(value) is not int:
            raise Unusual
        PyFloat_Pack8(value, real, 1)
        return emit(real, 8)
    raise Unusual
