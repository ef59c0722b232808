# From a record's bytes to a row's: what `read`, `Intake.prepare` and msgspec do one after the other, in one pass and
# without an object for each field. Included by _reader.pyx.

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize

from xxhash import xxh3_64_intdigest

include "../_msgpack.pxi"
include "../_slots.pxi"

cdef enum:
    ROOM = 1 << 16  # bytes that a row may need: more than any has whose record is as short as `row` takes it

cdef enum:
    AS_IT_IS, TRIMMED, KEY, LOWER, UPPER, POSITIVE, NEVER  # as in tidy.py

if (AS_IT_IS, TRIMMED, KEY, LOWER, UPPER, POSITIVE, NEVER) != (
    tidy.AS_IT_IS, tidy.TRIMMED, tidy.KEY, tidy.LOWER, tidy.UPPER, tidy.POSITIVE, tidy.NEVER
):
    raise ImportError("the compiled reader takes other care of fields than tidy.py")

# What is longer is cut, by Python (flow.ITEMS_KEPT, ITEM_KEPT).
cdef enum:
    LONGEST_LIST = 400
    LONGEST_ITEM = 256
    FLAGS = 20

cdef frozenset NOTHING = frozenset([word.encode() for word in PLACEHOLDERS])
cdef Py_ssize_t LONGEST_PLACEHOLDER = max(map(len, NOTHING))

cdef object KNOWN = None
cdef Py_ssize_t NAMESPACE, VALUE, ROOT, YOUNGEST, PARTITION, IMPLIED


def bind(known):
    """Tell what class `routes.Known` is. Raises TypeError where its fields are no slots."""
    global KNOWN, NAMESPACE, VALUE, ROOT, YOUNGEST, PARTITION, IMPLIED
    names = ("namespace", "value", "root", "youngest", "partition", "implied")
    NAMESPACE, VALUE, ROOT, YOUNGEST, PARTITION, IMPLIED = places_of(known, names)
    KNOWN = known


cdef unsigned char ROW[ROOM]
cdef unsigned char DATA[ROOM]


cdef uint8_t* put_str(uint8_t* to, str value) except NULL:
    cdef Py_ssize_t size
    cdef const char* at = PyUnicode_AsUTF8AndSize(value, &size)
    return put_text(to, at, size)


cdef const uint8_t* checked(Bytes* at, Py_ssize_t longest, Py_ssize_t* size) except NULL:
    """The string that is next, known to be UTF-8."""
    cdef Py_ssize_t n = length(at, longest), i
    cdef uint8_t high = 0
    cdef const uint8_t* s = at.p
    for i in range(n):
        high |= s[i]
    if high > 127:
        PyUnicode_DecodeUTF8(<const char*>s, n, NULL)
    at.p += n
    size[0] = n
    return s


cdef inline bint is_blank(const uint8_t* s, Py_ssize_t size) noexcept:
    """Whether a character that text.trimmed takes off may begin here."""
    if s[0] < 0xC2:
        return s[0] <= 0x20
    if s[0] == 0xC2:
        return size > 1 and s[1] in (0x85, 0xA0, 0xAB, 0xAD, 0xBB)  # quotes, too
    if size < 3:
        return False
    return (s[0] == 0xE1 and s[1] == 0x9A) or (s[0] == 0xE2 and s[1] in (0x80, 0x81)) or (
        s[0] == 0xE3 and s[1] == 0x80
    ) or (s[0] == 0xEF and s[1] == 0xBB)


cdef int in_order(const uint8_t* s, Py_ssize_t size, int care) except -1:
    """Raises for a text that `tidy` may change."""
    cdef Py_ssize_t i
    cdef bytes folded
    if size == 0 or care == NEVER or is_blank(s, size):
        raise Unusual
    i = size - 1
    while i > 0 and size - i < 4 and s[i] & 0xC0 == 0x80:
        i -= 1
    if is_blank(s + i, size - i):
        raise Unusual
    if care == LOWER:
        for i in range(size):
            if s[i] > 127 or 65 <= s[i] <= 90:
                raise Unusual
    elif care == UPPER:
        for i in range(size):
            if not 65 <= s[i] <= 90:
                raise Unusual
    elif care == KEY:
        if s[0] in b"<\"'`%" or s[size - 1] in b">\"'`" or (size > 2 and memcmp(s + size - 3, b"%22", 3) == 0):
            raise Unusual
        if size <= LONGEST_PLACEHOLDER:
            folded = s[:size]
            if folded.lower() in NOTHING:
                raise Unusual
    return 0


cdef uint8_t* put_value(uint8_t* to, Bytes* at, Node* node) except NULL:
    """A field's value, as msgpack. What isn't plain, or not in order yet, is for Python."""
    cdef int64_t value
    cdef Py_ssize_t size, n, i
    cdef const uint8_t* s
    cdef uint64_t bits
    if node.kind == TEXT:
        s = checked(at, LONGEST_TEXT, &size)
        if node.care != AS_IT_IS:
            in_order(s, size, node.care)
        return put_text(to, s, size)
    if node.kind == NUMBER:
        number(at, &value)
        if node.care == POSITIVE and value <= 0:
            raise Unusual
        return put_integer(to, value)
    if node.kind == DOUBLE:
        if at.end - at.p < 8 or not isfinite(PyFloat_Unpack8(<const char*>at.p, 1)):
            raise Unusual
        if node.care == POSITIVE and not PyFloat_Unpack8(<const char*>at.p, 1) > 0:
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
        if n > LONGEST_LIST:
            raise Unusual
        to = put_array(to, n)
        for i in range(n):
            s = checked(at, LONGEST_ITEM, &size)
            if node.care != AS_IT_IS:
                in_order(s, size, node.care)
            to = put_text(to, s, size)
        if n and block(at) != 0:
            raise Unusual
        return to
    if node.kind == ARRAY and node.inner.kind == RECORD and not node.inner.nullable:
        return put_items(to, at, node.inner)
    raise Unusual


cdef uint8_t* put_items(uint8_t* to, Bytes* at, Node* item) except NULL:
    """Several products, each as a map of what is kept of it."""
    cdef Py_ssize_t n = block(at), i, f
    cdef uint8_t* head
    cdef Node* node
    cdef Bytes before
    if n > LONGEST_LIST:
        raise Unusual
    to = put_array(to, n)
    for i in range(n):
        head = to
        head[0] = 0x80
        to += 1
        for f in range(item.count):
            node = &item.inner[f]
            if not present(at, node):
                continue
            if node.care == NEVER:
                step_over(at, node)
                continue
            head[0] += 1
            to = put_str(to, <str>node.name)
            before = at[0]
            to = put_value(to, at, node)
            if node.kind == TEXT and at.p - before.p > LONGEST_ITEM:
                raise Unusual
        if head[0] == 0x80:
            raise Unusual
    if n and block(at) != 0:
        raise Unusual
    return to


cdef uint8_t* put_flags(uint8_t* to, Bytes* at) except NULL:
    """A map of booleans. No name comes twice."""
    cdef Py_ssize_t n = block(at), i, j
    cdef const uint8_t* names[FLAGS]
    cdef Py_ssize_t sizes[FLAGS]
    if n > FLAGS:
        raise Unusual
    to = put_entries(to, n)
    for i in range(n):
        names[i] = checked(at, LONGEST_ITEM, &sizes[i])
        for j in range(i):
            if sizes[i] == sizes[j] and memcmp(names[i], names[j], sizes[i]) == 0:
                raise Unusual
        to = put_text(to, names[i], sizes[i])
        to[0] = 0xC2 + octet(at, 1)
        to += 1
    if n and block(at) != 0:
        raise Unusual
    return to


cdef class Open:
    """A row that is packed but for its root, which the graph has to be asked for. `ids`: at first all that its event
    carries, then what the graph accepts: flat [namespace, value, ...].
    """

    cdef public str root
    cdef public list ids
    cdef readonly str type
    cdef readonly int64_t offset, occurred_at, received_at
    cdef bytes event_id, rest
    cdef uint64_t fingerprint

    def packed(self):
        """msgpack of a `Row`."""
        cdef uint8_t* to = put_head(
            ROW, self.offset, self.root, self.type, self.occurred_at, self.received_at,
            PyBytes_AS_STRING(self.event_id), PyBytes_GET_SIZE(self.event_id), self.fingerprint,
        )
        to = put_array(to, len(self.ids))
        for each in self.ids:
            to = put_str(to, each)
        to = put(to, PyBytes_AS_STRING(self.rest), PyBytes_GET_SIZE(self.rest))
        return PyBytes_FromStringAndSize(<char*>ROW, to - ROW)


cdef uint8_t* put_head(
    uint8_t* to, int64_t offset, str root, str name, int64_t occurred_at, int64_t received_at, const void* event_id,
    Py_ssize_t id_size, uint64_t fingerprint,
) except NULL:
    """A row up to its ids."""
    to[0] = 0x9A
    to = put_integer(to + 1, offset)
    to = put_str(to, root)
    to = put_str(to, name)
    to = put_integer(put_integer(to, occurred_at), received_at)
    to = put_text(to, event_id, id_size)
    if fingerprint >> 63:
        return put_big(to, 0xCF, fingerprint, 8)
    return put_integer(to, <int64_t>fingerprint)


cdef list whose(Bytes* at, dict known, identify):
    """The identifiers of an event, as `routes.Known`, the strongest first."""
    cdef Py_ssize_t n = block(at), i
    cdef dict told = {}
    for i in range(n):
        namespace = key(at, LONGEST_IDENTIFIER)
        value = text(at, LONGEST_IDENTIFIER)
        if i == 0 and n == 1:
            by_value = known.get(namespace)
            one = None if by_value is None else (<dict?>by_value).get(value)
            if one is not None:
                if block(at) != 0:
                    raise Unusual
                return [one]
        PyDict_SetItem(told, namespace, value)
    if not n or len(told) != n or block(at) != 0:
        raise Unusual
    return identify(told)


cdef struct Told:
    int64_t told_at, received_at
    Py_ssize_t partition  # of the row's root; -1: it has none yet


cdef object route(
    Reader reader, bytes value, trace, int64_t offset, int64_t floor, int64_t appended, int64_t latest, dict known,
    identify, with_implied, list asked, Told* told,
):
    """A record's row, as bytes; or `Open`, and what to ask the graph about goes to `asked` with it."""
    cdef Bytes at
    cdef Node* node
    cdef int64_t occurred_at, received_at
    cdef Py_ssize_t id_size, size, i, fields = 0
    cdef const uint8_t* event_id
    cdef const char* s
    cdef uint8_t* to
    cdef uint8_t* data_end
    cdef uint64_t fingerprint
    cdef bint spare = False, lacking = True, implies = False
    cdef str root = None
    cdef list ids
    cdef Open row
    if PyBytes_GET_SIZE(value) > reader.longest or reader.skip > PyBytes_GET_SIZE(value):
        raise Unusual
    at.p = <const uint8_t*>PyBytes_AS_STRING(value)
    at.end = at.p + PyBytes_GET_SIZE(value)
    at.p += reader.skip
    event_id = checked(&at, LONGEST_ID, &id_size)
    if not id_size:
        raise Unusual
    number(&at, &occurred_at)
    number(&at, &told.told_at)
    if not (EARLIEST <= occurred_at <= LATEST and EARLIEST <= told.told_at <= LATEST) or told.told_at > latest:
        raise Unusual
    told.told_at = min(told.told_at, appended)
    occurred_at = min(occurred_at, told.told_at)
    received_at = told.received_at = max(told.told_at, floor)

    ids = whose(&at, known, identify)
    if len(ids) > 4:
        raise Unusual
    to = put(DATA, event_id, id_size)
    for each in ids:
        if type(each) is not KNOWN:
            raise Unusual
        for part in (get(each, NAMESPACE), get(each, VALUE)):
            to[0] = 0
            s = PyUnicode_AsUTF8AndSize(part, &size)
            to = put(to + 1, s, size)
        implies |= get(each, IMPLIED) is not None
    name = PyBytes_FromStringAndSize(<char*>DATA, to - DATA)
    fingerprint = <uint64_t>xxh3_64_intdigest(name)

    if implies:
        ids = with_implied(ids)
        if len(ids) > 4:
            raise Unusual
    one = ids[0]
    root = get(one, ROOT)
    if root is not None:
        for each in ids:
            if get(each, ROOT) != root or received_at <= <int64_t>get(each, YOUNGEST):
                root = None
                break
    told.partition = -1 if root is None else get(one, PARTITION)

    # From here on no other thread gets a turn: ROW and DATA are everybody's.
    to = DATA
    if present(&at, &reader.context):
        if not reader.contexts:
            step_over(&at, &reader.context)
        else:
            for i in range(reader.context.count):
                node = &reader.context.inner[i]
                if not present(&at, node):
                    continue
                if node.skipped:
                    step_over(&at, node)
                    continue
                fields += 1
                to = put_str(to, <str>node.handed)
                to = put_value(to, &at, node)
    if present(&at, &reader.consent):
        if reader.consents:
            fields += 1
            to = put_flags(put_str(to, <str>CONSENT), &at)
        else:
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
    if root is not None:
        to = put_head(to, offset, root, reader.name, occurred_at, received_at, event_id, id_size, fingerprint)
        to = put_array(to, 2 * len(ids))
        for each in ids:
            to = put_str(put_str(to, get(each, NAMESPACE)), get(each, VALUE))
    to = put_entries(to, fields)
    to = put(to, DATA, data_end - DATA)
    if trace is None:
        to[0] = 0xC0
        to += 1
    else:
        to = put_str(to, <str>trace)
    made = PyBytes_FromStringAndSize(<char*>ROW, to - ROW)
    if root is not None:
        return made
    row = Open.__new__(Open)
    row.root, row.type, row.offset = "", reader.name, offset
    row.occurred_at, row.received_at = occurred_at, received_at
    row.event_id, row.fingerprint, row.rest = event_id[:id_size], fingerprint, made
    row.ids = [part for each in ids for part in (each.namespace, each.value)]
    asked.append((row, ids))
    return row


def take(
    records, dict readers, dict known, identify, with_implied, trace_of, slow, int64_t high, int64_t disorder,
    int64_t ahead, list rows, list partitions, list kinds, list late, list asked,
):
    """Rows of a batch's plain records, `ports.In` or what has the same attributes, in order; `slow(record, high)`, which
    returns `high` anew, is called for the others in their turn.

    `readers`: schema id -> Reader. `known`: namespace -> value -> `routes.Known` or None; `identify`: identifiers -> list
    of `routes.Known`; `with_implied`: such a list -> the same with what they name besides. `trace_of`: headers ->
    traceparent or None. `high`: the largest time of receipt so far; returned as it is then. A record is received `disorder` before it at the least,
    and when it was appended at the most; one that says over `ahead` more is for `slow`.

    Filled are: `rows` with bytes or `Open`, `partitions` with those of their roots or -1, `kinds` with event types,
    `late` with those of what came later than the disorder allows, `asked` with (row, what to ask the graph about).
    """
    cdef Told told
    cdef const uint8_t* head
    cdef int64_t appended, latest, offset
    cdef Reader reader
    cdef bytes value
    for record in records:
        try:
            if PyTuple_Check(record) and PyTuple_GET_SIZE(record) == 5:  # ports.In itself
                offset = <object>PyTuple_GET_ITEM(record, 0)
                appended = <object>PyTuple_GET_ITEM(record, 1)
                value = <object>PyTuple_GET_ITEM(record, 3)
                headers = <object>PyTuple_GET_ITEM(record, 4)
            else:  # as aiokafka parses it
                offset, appended, value, headers = record.offset, record.timestamp, record.value, record.headers
            trace = trace_of(headers) if headers else None
            if value is None or PyBytes_GET_SIZE(value) < 5 or value[0] != 0:
                raise Unusual
            head = <const uint8_t*>PyBytes_AS_STRING(value)
            reader = readers[<int64_t>head[1] << 24 | head[2] << 16 | head[3] << 8 | head[4]]
            latest = appended + ahead
            if appended <= 0:
                appended = latest = INT64_MAX
            row = route(
                reader, value, trace, offset, high - disorder, appended, latest, known, identify, with_implied, asked,
                &told,
            )
        except Exception:  # of many kinds; whatever it is, `slow` tells it
            high = slow(record, high)
            continue
        rows.append(row)
        partitions.append(told.partition)
        kinds.append(reader.name)
        if told.told_at > high:
            high = told.told_at
        elif told.received_at != told.told_at:
            late.append(reader.name)
    return high


def deal(rows, list places, list to, other):
    """See compiled.plain_deal."""
    cdef Py_ssize_t place, n = len(to), i = 0
    if len(rows) != len(places):
        raise ValueError(f"{len(rows)} rows, {len(places)} places")
    for row in rows:
        place = places[i]
        i += 1
        if place < 0:
            other(row)
        elif place < n:
            (<list?>to[place]).append(row)
        else:
            raise IndexError(place)
