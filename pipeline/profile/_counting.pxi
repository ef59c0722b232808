# An event is counted in a packed `About` as it stands. Included by _packed.pyx.
#
# What is done with an event of each type is a list of steps that the parts declare (part.Step): one for each state that
# it may change, by the primitive that keeps it, and `copy` for what lies between. Here is how each primitive does it; what
# it means stands in parts/primitives.py and parts/timeline.py, and is the same.

cdef enum:
    TAKEN = 0
    KNOWN = 1  # nothing changes: the event was counted before
    PYTHON = 2  # it isn't the good case

cdef struct Value:
    Text name
    Cursor at


cdef struct Event:
    Cursor data
    Value values[INDEXED]  # the first of its data
    Py_ssize_t indexed
    int64_t occurred_at, received_at, second
    uint64_t fingerprint
    uint8_t* head  # where the first byte of an `About` is written
    bint extended  # whether it has `more`
    Py_ssize_t owed  # so many values, not copied yet, come before the next step's


cdef bint index(Event* event) noexcept:
    """Note where each field of an event stands: several steps may ask for some. False: it's for Python."""
    cdef Cursor at = event.data
    cdef Py_ssize_t n = entries(&at)
    cdef Value* value = &event.values[0]
    if n > INDEXED:
        return False
    event.indexed = n
    while n > 0:
        n -= 1
        value.name = text(&at)
        value.at = at
        skip(&at)
        value += 1
    return not at.bad


cdef inline bint tells(Event* event, Text field, Cursor* value) noexcept:
    """Where a field of an event's data stands, unless it is absent or null."""
    cdef Py_ssize_t i
    for i in range(event.indexed):
        if same(event.values[i].name, field):
            value[0] = event.values[i].at
            return value.at[0] != 0xC0
    return False


cdef Text first_text(Event* event, const Text* fields, bint* bad) noexcept:
    """The first of these fields that holds a text which isn't empty. `size` 0: none does."""
    cdef Cursor value
    cdef Text found
    cdef int n
    for n in range(NAMES):
        if fields[n].at == NULL:
            break
        if tells(event, fields[n], &value):
            found = text(&value)
            if value.bad:
                bad[0] = True
                break
            if found.size:
                return found
    found.at, found.size = event.data.at, 0
    return found


cdef inline uint8_t* put_binary_head(uint8_t* to, Py_ssize_t size) noexcept:
    if size < 1 << 8:
        return put_big(to, 0xC4, size, 1)
    return put_big(to, 0xC5, size, 2)


cdef inline int64_t bounded(int64_t sum, int64_t more) noexcept:
    """`part.bounded` of the sum."""
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


cdef bint tally(Cursor* old, uint8_t** out, Step* step, Event* event) noexcept:
    """primitives.Tally. False: it's for Python."""
    cdef bint bad = False
    cdef Text name = first_text(event, step.fields, &bad)
    cdef Cursor kept = old[0]
    cdef const uint8_t* start = kept.at
    cdef const uint8_t* first
    cdef const uint8_t* oldest = NULL
    cdef const uint8_t* behind_oldest = NULL
    cdef const uint8_t* mine = NULL
    cdef const uint8_t* behind_mine = NULL
    cdef const uint8_t* at_entry
    cdef const uint8_t* values
    cdef Py_ssize_t n, i, most = step.numbers[0]
    cdef Text each, oldest_name
    cdef int64_t events, last, my_events = 0, my_last = event.second, oldest_last = 0
    if bad:
        return False
    if name.size == 0:
        return copied(old, out, 1)
    n = entries(&kept)
    first = kept.at
    oldest_name.at, oldest_name.size = first, 0
    for i in range(n):
        at_entry = kept.at
        each = text(&kept)
        if array(&kept) != 2 or kept.bad:
            return False
        values = kept.at
        events, last = integer(&kept), integer(&kept)
        if kept.bad:
            return False
        if mine == NULL and same(each, name):
            mine, behind_mine, my_events, my_last = values, kept.at, events, max(last, event.second)
        if oldest == NULL or last < oldest_last or (last == oldest_last and compared(each, oldest_name) < 0):
            oldest, behind_oldest, oldest_last, oldest_name = at_entry, kept.at, last, each
    if kept.bad or n > most:
        return False
    old[0] = kept
    if mine != NULL:
        out[0] = put(out[0], start, mine - start)
        out[0] = put_integer(out[0], bounded(my_events, 1))
        out[0] = put_integer(out[0], my_last)
        out[0] = put(out[0], behind_mine, kept.at - behind_mine)
        return True
    if n == most:  # one has to go: it may be the new one itself
        if event.second < oldest_last or (event.second == oldest_last and compared(name, oldest_name) < 0):
            out[0] = put(out[0], start, kept.at - start)
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
    out[0] = put_integer(out[0], event.second)
    return True


cdef bint earliest_of_each(Cursor* old, uint8_t** out, Step* step, Event* event) noexcept:
    """primitives.EarliestOfEach. False: it's for Python."""
    cdef Cursor value, times, kept = old[0]
    cdef Text name, each
    cdef const uint8_t* start = kept.at
    cdef const uint8_t* first
    cdef Py_ssize_t n, i, slot = step.numbers[0], width = step.numbers[1], most = step.numbers[2], s
    cdef int64_t earliest
    name.at, name.size = start, 0
    if tells(event, step.unless[0], &value):
        if same(text(&value), step.unless[1]) and not value.bad:
            return copied(old, out, 1)
        if value.bad:
            return False
    if tells(event, step.fields[0], &value):
        name = text(&value)
        if value.bad:
            return False
    if name.size == 0:
        return copied(old, out, 1)
    n = entries(&kept)
    first = kept.at
    for i in range(n):
        each = text(&kept)
        if kept.bad:
            return False
        if not same(each, name):
            skip(&kept)
            continue
        if array(&kept) != width:
            return False
        for s in range(slot):
            integer(&kept)
        times = kept
        earliest = integer(&kept)
        if kept.bad:
            return False
        if earliest == 0 or event.second < earliest:
            earliest = event.second
        out[0] = put(out[0], start, times.at - start)
        out[0] = put_integer(out[0], earliest)
        old[0] = kept
        event.owed = width - slot - 1 + 2 * (n - i - 1)
        return True
    if kept.bad or n > most:
        return False
    old[0] = kept
    if n == most:
        return exchanged(first, kept, out, n, name, step, event.second)
    out[0] = put_entries(out[0], n + 1)
    out[0] = put(out[0], first, kept.at - first)
    out[0] = put_times(out[0], name, step, event.second)
    return True


cdef inline uint8_t* put_times(uint8_t* to, Text name, Step* step, int64_t second) noexcept:
    cdef Py_ssize_t s
    to = put_array(put_text(to, name.at, name.size), step.numbers[1])
    for s in range(step.numbers[1]):
        to = put_integer(to, second if s == step.numbers[0] else 0)
    return to


cdef inline int compared(Text a, Text b) noexcept:
    """As Python compares texts: by code point, which is by byte in UTF-8."""
    cdef int order = memcmp(a.at, b.at, min(a.size, b.size))
    return order if order else (a.size > b.size) - (a.size < b.size)


cdef bint exchanged(
    const uint8_t* first, Cursor kept, uint8_t** out, Py_ssize_t n, Text name, Step* step,
    int64_t second,
) noexcept:
    """All entries, from `first` up to where `kept` stands, and a new one, but for the one that was heard of last longest
    ago. False: they aren't sorted by name.
    """
    cdef Cursor c = kept
    cdef Py_ssize_t i
    cdef Py_ssize_t s
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
        if array(&c) != step.numbers[1]:
            return False
        last = 0
        for s in range(step.numbers[1]):
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
        out[0] = put_times(out[0], name, step, second)
        out[0] = put(out[0], place, c.at - place)
    else:
        out[0] = put(out[0], first, place - first)
        out[0] = put_times(out[0], name, step, second)
        out[0] = put(out[0], place, oldest - place)
        out[0] = put(out[0], behind_oldest, c.at - behind_oldest)
    return True


cdef inline uint64_t unsigned(Cursor* c) noexcept:
    if c.at < c.end and c.at[0] == 0xCF:
        c.at += 1
        return sized(c, 8)
    return <uint64_t> integer(c)


cdef inline uint8_t* put_told(uint8_t* to, Cursor value, const uint8_t* behind, Event* event) noexcept:
    """[value, occurred_at, fingerprint]"""
    to = put(put_array(to, 3), value.at, behind - value.at)
    to = put_integer(to, event.occurred_at)
    if event.fingerprint >> 63:
        return put_big(to, 0xCF, event.fingerprint, 8)
    return put_integer(to, <int64_t> event.fingerprint)


cdef bint newest(Cursor* old, uint8_t** out, Step* step, Event* event) noexcept:
    """primitives.Newest. False: it's for Python."""
    cdef Cursor told, kept = old[0]
    cdef Cursor values[TOLD]
    cdef Text names[TOLD]
    cdef const uint8_t* behind[TOLD]
    cdef bint had[TOLD]
    cdef const uint8_t* entry
    cdef const uint8_t* value
    cdef Py_ssize_t n, m, i, j, added
    cdef Text each
    cdef int64_t at
    cdef uint64_t fingerprint
    if not tells(event, step.fields[0], &told):
        return copied(old, out, 1)
    m = entries(&told)
    if m > TOLD or told.bad:
        return False
    for j in range(m):
        names[j] = text(&told)
        values[j] = told
        skip(&told)
        behind[j], had[j] = told.at, False
    n = entries(&kept)
    if told.bad or kept.bad:
        return False
    added = m
    old[0] = kept
    for i in range(n):
        each = text(&kept)
        skip(&kept)
        for j in range(m):
            if not kept.bad and same(each, names[j]):
                if had[j]:
                    return False
                had[j] = True
                added -= 1
                break
    if kept.bad or n + added > step.numbers[0]:
        return False
    out[0] = put_entries(out[0], n + added)
    for i in range(n):
        entry = old.at
        each = text(old)
        value = old.at
        if array(old) != 3:
            return False
        skip(old)
        at, fingerprint = integer(old), unsigned(old)
        if old.bad:
            return False
        for j in range(m):
            if had[j] and same(each, names[j]):
                break
        else:
            j = m
        if j < m and (at < event.occurred_at or (at == event.occurred_at and fingerprint < event.fingerprint)):
            out[0] = put_told(put(out[0], entry, value - entry), values[j], behind[j], event)
        else:
            out[0] = put(out[0], entry, old.at - entry)
    for j in range(m):
        if not had[j]:
            out[0] = put_told(put_text(out[0], names[j].at, names[j].size), values[j], behind[j], event)
    return True


cdef inline bint made(uint8_t* entry, Text* label, Step* step, Event* event) noexcept:
    """A line of the timeline. False: it's for Python."""
    cdef bint bad = False
    cdef int64_t lag = event.received_at // 1000 - event.second
    cdef Py_ssize_t characters = 0
    cdef int i
    label[0] = first_text(event, step.fields, &bad)
    if bad or lag < 0 or event.received_at < 0:
        return False
    if label.size > step.numbers[3]:  # in UTF-8 a character begins with every byte but 10xxxxxx
        for i in range(label.size):
            if label.at[i] & 0xC0 != 0x80:
                characters += 1
                if characters > step.numbers[3]:
                    label.size = i
                    break
    lag = min(lag, LAG) << 8 | step.numbers[0]
    for i in range(4):
        entry[i] = event.second >> 8 * (3 - i) & 255
        entry[10 + i] = lag >> 8 * (3 - i) & 255
    for i in range(6):
        entry[4 + i] = event.fingerprint >> 8 * (5 - i) & 255
    entry[14] = <uint8_t> label.size
    return True


cdef int timeline(Cursor* c, uint8_t** out, Step* step, Event* event) noexcept:
    """timeline.Timeline."""
    cdef Text recent = binary(c), labels = binary(c), older = binary(c), label
    cdef Py_ssize_t kept = step.numbers[1], remembered = step.numbers[2]
    cdef uint8_t entry[ENTRY]
    cdef uint8_t aged[AGED]
    cdef const uint8_t* oldest = recent.at  # what leaves the timeline, where it is full
    cdef Py_ssize_t at = recent.size, label_at = labels.size, gone = 0, label_gone = 0
    cdef bint full = recent.size == kept * ENTRY
    cdef uint8_t* to = out[0]
    if c.bad or recent.size % ENTRY or older.size % AGED or recent.size > kept * ENTRY or older.size > remembered * AGED:
        return PYTHON
    if not made(entry, &label, step, event):
        return PYTHON
    if holds(recent, ENTRY, entry + 4) or holds(older, AGED, entry + 4):
        return KNOWN
    if at and memcmp(entry, recent.at + at - ENTRY, ENTRY) < 0:
        at = label_at = 0
        while memcmp(recent.at + at, entry, ENTRY) < 0:  # ends: the last one is not smaller
            label_at += recent.at[at + ENTRY - 1]
            at += ENTRY
    if full and at:
        gone, label_gone = ENTRY, oldest[ENTRY - 1]
    if label_at > labels.size or label_gone > label_at:
        return PYTHON
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
        return TAKEN
    age(oldest, aged)
    at = older.size
    if at and memcmp(aged, older.at + at - AGED, AGED) < 0:
        at = 0
        while memcmp(older.at + at, aged, AGED) < 0:
            at += AGED
    gone = AGED if older.size == remembered * AGED else 0
    if gone and not at:
        to = put(put_binary_head(to, older.size), older.at, older.size)
    else:
        to = put_binary_head(to, older.size + AGED - gone)
        to = put(put(to, older.at + gone, at - gone), aged, AGED)
        to = put(to, older.at + at, older.size - at)
    out[0] = to
    return TAKEN


cdef inline void age(const uint8_t* entry, uint8_t* aged) noexcept:
    """`timeline._aged`."""
    cdef uint64_t received = big(entry, 4) + big(entry + 10, 3)
    cdef int at
    for at in range(4):
        aged[at] = received >> 8 * (3 - at) & 255
    memcpy(aged + 4, entry + 4, 6)


cdef inline bint copied(Cursor* old, uint8_t** out, Py_ssize_t n) noexcept:
    """The next `n` values as they are."""
    cdef const uint8_t* start = old.at
    while n:
        n -= 1
        skip(old)
    out[0] = put(out[0], start, old.at - start)
    return not old.bad


cdef bint concerns(Step* tag, Event* event) noexcept:
    """Whether an event may change what is tagged so."""
    cdef Step* step
    cdef Cursor told
    cdef Py_ssize_t i
    for i in range(tag.numbers[1]):
        step = tag + 1 + i
        if step.does == NEWEST:
            if tells(event, step.fields[0], &told) and (entries(&told) or told.bad):
                return True
        elif step.does != ARRAY and step.does != COPY:
            return True
    return False


cdef int walked(Step* step, Py_ssize_t n, Cursor* old, uint8_t** out, Event* event) noexcept:
    """These steps, one after the other."""
    cdef Step* end = step + n
    cdef Cursor value
    cdef int64_t number
    cdef int done
    while step < end:
        if event.owed and step.does != MORE:  # that one sees to it itself, where it has to
            copied(old, out, event.owed)
            event.owed = 0
        if step.does == COPY:
            copied(old, out, step.numbers[0])
        elif step.does == ARRAY:
            if array(old) != step.numbers[0]:
                return PYTHON
            out[0] = put_array(out[0], step.numbers[0])
        elif step.does == TOP:
            number = array(old)
            event.head, event.extended = out[0], number > step.numbers[0]
            if number - step.numbers[0] not in (0, 1):
                return PYTHON
            out[0] = put_array(out[0], number)
        elif step.does == MORE:
            return more(step, old, out, event)
        elif step.does == EARLIEST:
            number = integer(old)
            out[0] = put_integer(out[0], event.occurred_at if event.occurred_at < number or number == 0 else number)
        elif step.does == LATEST:
            out[0] = put_integer(out[0], max(integer(old), event.occurred_at))
        elif step.does == SUM:
            number = integer(old)
            if tells(event, step.fields[0], &value):
                number = bounded(number, integer(&value))
                if value.bad:
                    return PYTHON
            out[0] = put_integer(out[0], number)
        elif step.does == COUNT:
            if not add_to(old, out, step.numbers[0], step.numbers[1]):
                return PYTHON
        elif step.does == SPAN:
            if not add_to(old, out, event.occurred_at // step.numbers[0], step.numbers[1]):
                return PYTHON
        elif step.does == TIMELINE:
            done = timeline(old, out, step, event)
            if done != TAKEN:
                return done
        elif step.does == TALLY:
            if not tally(old, out, step, event):
                return PYTHON
        elif step.does == EACH:
            if not earliest_of_each(old, out, step, event):
                return PYTHON
        elif step.does == NEWEST:
            if not newest(old, out, step, event):
                return PYTHON
        step += 1
    return PYTHON if old.bad else TAKEN


cdef int more(Step* step, Cursor* old, uint8_t** out, Event* event) noexcept:
    """What is tagged, all else being done: `step`, and those that follow it, say which may change."""
    cdef Step* tags[TAGS]
    cdef bint concerned[TAGS]
    cdef bint met[TAGS]
    cdef Step* tag = step + 1
    cdef Cursor look
    cdef Text name
    cdef const uint8_t* start
    cdef uint8_t* begin
    cdef Py_ssize_t n = 0, i, k, some = 0, most = step.numbers[1]
    cdef int done
    for i in range(most):
        tags[i], met[i], concerned[i] = tag, False, concerns(tag, event)
        some += concerned[i]
        tag += 1 + tag.numbers[1]
    if not some:  # nearly always
        return TAKEN
    copied(old, out, event.owed + step.numbers[0])
    event.owed = 0
    if event.extended:
        n = entries(old)
    look = old[0]
    for k in range(n):
        name = text(&look)
        skip(&look)
        for i in range(most):
            if not look.bad and concerned[i] and same(name, tags[i].fields[0]):
                if met[i]:
                    return PYTHON
                met[i] = True
                some -= 1
    if look.bad:
        return PYTHON
    out[0] = put_entries(out[0], n + some)
    for k in range(n):
        start = old.at
        name = text(old)
        for i in range(most):
            if concerned[i] and same(name, tags[i].fields[0]):
                break
        else:
            i = most
        if i == most:
            skip(old)
            out[0] = put(out[0], start, old.at - start)
            continue
        out[0] = put(out[0], start, old.at - start)
        if array(old) != 2 or integer(old) != tags[i].numbers[0] or old.bad:
            return PYTHON
        out[0] = put_integer(put_array(out[0], 2), tags[i].numbers[0])
        done = walked(tags[i] + 1, tags[i].numbers[1], old, out, event)
        if done != TAKEN:
            return done
        copied(old, out, event.owed)
        event.owed = 0
    for i in range(most):
        if concerned[i] and not met[i]:
            name = tags[i].fields[0]
            out[0] = put_integer(put_array(put_text(out[0], name.at, name.size), 2), tags[i].numbers[0])
            begin = out[0]
            look.at, look.end, look.bad = tags[i].empty.at, tags[i].empty.at + tags[i].empty.size, False
            done = walked(tags[i] + 1, tags[i].numbers[1], &look, out, event)
            if done != TAKEN:
                return done
            copied(&look, out, event.owed)
            event.owed = 0
            if out[0] - begin == tags[i].empty.size and memcmp(begin, tags[i].empty.at, tags[i].empty.size) == 0:
                return PYTHON  # it still knows nothing, and isn't written
    if not event.extended:
        event.head[0] += 1
    return PYTHON if old.bad else TAKEN


def count(bytes packed, PackedRow row):
    """`about.count`, byte for byte; None: it's for Python."""
    return counted(packed, row)


def taken(bytes packed, PackedRow row, list steps):
    """The same by steps of one's own: how tests look at each primitive."""
    cdef Step* own = _steps(steps)
    try:
        return stepped(packed, row, own, len(steps))
    finally:
        PyMem_Free(own)


cdef inline object counted(bytes packed, PackedRow row):
    if row.code < 0 or kinds[row.code].steps == NULL:
        return None
    return stepped(packed, row, kinds[row.code].steps, kinds[row.code].count)


cdef object stepped(bytes packed, PackedRow row, Step* steps, Py_ssize_t n):
    global scratch, scratch_size
    cdef Cursor old
    cdef Event event
    cdef uint8_t* out
    cdef uint8_t* grown
    cdef Py_ssize_t size
    cdef int done
    if row.occurred_at < 0:
        return None
    event.data.at, event.data.end, event.data.bad = row.data, row.at + row.size, False
    event.occurred_at, event.received_at, event.second = row.occurred_at, row.received_at, row.occurred_at // 1000
    event.fingerprint, event.owed, event.extended, event.head = row.fingerprint, 0, False, NULL
    if not index(&event):
        return None
    old.at = <const uint8_t*> PyBytes_AS_STRING(packed)
    old.end = old.at + PyBytes_GET_SIZE(packed)
    old.bad = False
    size = PyBytes_GET_SIZE(packed) + row.size + ROOM
    if size > scratch_size:
        grown = <uint8_t*> PyMem_Realloc(scratch, 2 * size)
        if grown == NULL:
            raise MemoryError
        scratch, scratch_size = grown, 2 * size
    out = scratch
    done = walked(steps, n, &old, &out, &event)
    if done != TAKEN:
        return packed if done == KNOWN else None
    out = put(out, old.at, old.end - old.at)
    return PyBytes_FromStringAndSize(<char*> scratch, out - scratch)
