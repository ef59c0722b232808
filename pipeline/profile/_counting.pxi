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
    """One more of `key` in a map of counts. Of too many keys in ascending order the first goes for a higher one. False:
    there is no place for another key, or it is no such map.
    """
    cdef Py_ssize_t n = entries(old), i
    cdef Cursor begin = old[0]
    cdef const uint8_t* value = NULL
    cdef const uint8_t* behind = NULL
    cdef const uint8_t* second = old.at
    cdef int64_t counted = 0, found, last = 0
    cdef bint ascending = True
    for i in range(n):
        if old.bad:
            return False
        if i == 1:
            second = old.at
        found = integer(old)
        if i and found <= last:
            ascending = False
        last = found
        if found == key and value == NULL:
            value = old.at
            counted = integer(old)
            behind = old.at
        else:
            skip(old)
    if old.bad:
        return False
    if value == NULL and n >= most:
        if n > most or n < 2 or not ascending or key <= last:
            return False
        out[0] = put_entries(out[0], n)
        out[0] = put(out[0], second, old.at - second)
        out[0] = put_integer(out[0], key)
        out[0] = put_integer(out[0], 1)
        return True
    if value != NULL:
        out[0] = put_entries(out[0], n)
        out[0] = put(out[0], begin.at, value - begin.at)
        out[0] = put_integer(out[0], bounded(counted, 1))
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
        out[0] = put_integer(out[0], bounded(my_views, 1))
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
    if kept.bad or n > MESSAGES:
        return False
    out[0] = put(out[0], start, at - start)
    if n == MESSAGES:
        if not exchanged(first, kept, out, n, name, status, second):
            return False
    else:
        out[0] = put_entries(out[0], n + 1)
        out[0] = put(out[0], first, kept.at - first)
        out[0] = put_message(out[0], name, status, second)
    out[0] = put(out[0], kept.at, kept.end - kept.at)
    return True


cdef inline uint8_t* put_message(uint8_t* to, Text name, int status, int64_t second) noexcept:
    cdef int s
    to = put_text(to, name.at, name.size)
    to[0] = 0x90 | <uint8_t> STATUSES
    to += 1
    for s in range(STATUSES):
        to = put_integer(to, second if s == status else 0)
    return to


cdef inline int compared(Text a, Text b) noexcept:
    """As Python compares texts: by code point, which is by byte in UTF-8."""
    cdef int order = memcmp(a.at, b.at, min(a.size, b.size))
    return order if order else (a.size > b.size) - (a.size < b.size)


cdef bint exchanged(
    const uint8_t* first, Cursor kept, uint8_t** out, Py_ssize_t n, Text name, int status, int64_t second
) noexcept:
    """All messages, from `first` up to where `kept` stands, and a new one, but for the one that was heard of last longest
    ago. False: they aren't sorted by name.
    """
    cdef Cursor c = kept
    cdef Py_ssize_t i
    cdef int s
    cdef int64_t last, oldest_last = second
    cdef Text each, before, oldest_name = name
    cdef const uint8_t* at
    cdef const uint8_t* oldest = NULL
    cdef const uint8_t* behind_oldest = NULL
    cdef const uint8_t* place = NULL
    before.at, before.size = first, 0
    c.at, c.end = first, kept.at
    for i in range(n):
        at = c.at
        each = text(&c)
        if array(&c) != STATUSES:
            return False
        last = 0
        for s in range(STATUSES):
            last = max(last, integer(&c))
        if c.bad or (i and compared(before, each) >= 0):
            return False
        before = each
        if place == NULL and compared(each, name) > 0:
            place = at
        if last < oldest_last or (last == oldest_last and compared(each, oldest_name) < 0):
            oldest, behind_oldest, oldest_last, oldest_name = at, c.at, last, each
    if place == NULL:
        place = c.at
    out[0] = put_entries(out[0], n)
    if oldest == NULL:  # the new one itself
        out[0] = put(out[0], first, c.at - first)
    elif oldest < place:
        out[0] = put(out[0], first, oldest - first)
        out[0] = put(out[0], behind_oldest, place - behind_oldest)
        out[0] = put_message(out[0], name, status, second)
        out[0] = put(out[0], place, c.at - place)
    else:
        out[0] = put(out[0], first, place - first)
        out[0] = put_message(out[0], name, status, second)
        out[0] = put(out[0], place, oldest - place)
        out[0] = put(out[0], behind_oldest, c.at - behind_oldest)
    return True


cdef bint timeline(Cursor* c, uint8_t** out, const uint8_t* entry, Text label) noexcept:
    """`recent`, `labels`, `older` with a new entry. False: it's for Python."""
    cdef Text recent = binary(c), labels = binary(c), older = binary(c)
    cdef uint8_t aged[AGED]
    cdef const uint8_t* oldest = recent.at  # what leaves the timeline, where it is full
    cdef Py_ssize_t at = recent.size, label_at = labels.size, gone = 0, label_gone = 0
    cdef bint full = recent.size == TIMELINE * ENTRY
    cdef uint8_t* to = out[0]
    if recent.size > TIMELINE * ENTRY or older.size > OLDER * AGED:
        return False
    if at and memcmp(entry, recent.at + at - ENTRY, ENTRY) < 0:
        at = label_at = 0
        while memcmp(recent.at + at, entry, ENTRY) < 0:  # ends: the last one is not smaller
            label_at += recent.at[at + ENTRY - 1]
            at += ENTRY
    if full and at:
        gone, label_gone = ENTRY, oldest[ENTRY - 1]
    if label_at > labels.size or label_gone > label_at:
        return False
    if full and not at:  # it is the oldest itself
        oldest = entry
        to = put(put_binary_head(to, recent.size), recent.at, recent.size)
        to = put(put_binary_head(to, labels.size), labels.at, labels.size)
    else:
        to = put_binary_head(to, recent.size + ENTRY - gone)
        to = put(put(to, recent.at + gone, at - gone), entry, ENTRY)
        to = put(to, recent.at + at, recent.size - at)
        to = put_binary_head(to, labels.size + label.size - label_gone)
        to = put(put(to, labels.at + label_gone, label_at - label_gone), label.at, label.size)
        to = put(to, labels.at + label_at, labels.size - label_at)
    if not full:
        out[0] = put(put_binary_head(to, older.size), older.at, older.size)
        return True
    age(oldest, aged)
    at = older.size
    if at and memcmp(aged, older.at + at - AGED, AGED) < 0:
        at = 0
        while memcmp(older.at + at, aged, AGED) < 0:
            at += AGED
    gone = AGED if older.size == OLDER * AGED else 0
    if gone and not at:
        to = put(put_binary_head(to, older.size), older.at, older.size)
    else:
        to = put_binary_head(to, older.size + AGED - gone)
        to = put(put(to, older.at + gone, at - gone), aged, AGED)
        to = put(to, older.at + at, older.size - at)  # it holds whole entries: `count` has seen to it
    out[0] = to
    return True


cdef inline void age(const uint8_t* entry, uint8_t* aged) noexcept:
    """`about._aged`."""
    cdef uint64_t received = big(entry, 4) + big(entry + 10, 3)
    cdef int at
    for at in range(4):
        aged[at] = received >> 8 * (3 - at) & 255
    memcpy(aged + 4, entry + 4, 6)


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
    look = c
    recent = binary(&look)
    binary(&look)
    older = binary(&look)
    if look.bad or recent.size % ENTRY or older.size % AGED:
        return None
    if holds(recent, ENTRY, entry + 4) or holds(older, AGED, entry + 4):
        return packed
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
