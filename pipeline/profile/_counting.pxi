# `about.count`, compiled: an event is counted in a packed `About` as it stands. Included by _packed.pyx.

cdef inline uint8_t* put_binary_head(uint8_t* to, Py_ssize_t size) noexcept:
    if size < 1 << 8:
        return put_big(to, 0xC4, size, 1)
    return put_big(to, 0xC5, size, 2)


cdef inline int64_t bounded(int64_t sum, int64_t more) noexcept:
    """`about._bounded` of the sum."""
    if more > 0 and sum > LONGEST - more:
        return LONGEST
    if more < 0 and sum < -LONGEST - more:
        return -LONGEST
    return sum + more


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
    if array(&kept) != 3:
        return False
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
    if array(&kept) != 3:
        return False
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
            engaged = bounded(engaged, integer(&value))
        if value.bad:
            return None
        if find(data, ABSOLUTE, &value):
            absolute = bounded(absolute, integer(&value))
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
