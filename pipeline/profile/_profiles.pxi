# Many profiles in one go: rows taken in, and what changed encoded. Included by _packed.pyx.

include "../_slots.pxi"

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define prefetch(at) __builtin_prefetch(at)
    #else
    #define prefetch(at) ((void) (at))
    #endif
    """
    void prefetch(const void* at) noexcept

cdef enum:
    UNKNOWN = -1  # profile.UNKNOWN
    TIME = 8  # bytes of a time of repeats.py
    REPEATS_WAITING = 64  # repeats.WAITING

cdef object PROFILE = None
cdef Py_ssize_t ABOUT, PERSONS, ROWS, WAITING, FIRST, DUE, WAKES, SOONEST, MOVED, FIRED, ONE, FRESH, TIMER, QUIET
cdef Py_ssize_t LOGGED, SHARES, REPEATS, EARLY
cdef object pack_repeats = None
cdef object NEVER = 1 << 62  # profile.NEVER


def bind(profile, packing):
    """Tell what class profiles are of, and what packs their repeated logins. Raises TypeError where its fields are no
    slots.
    """
    global PROFILE, ABOUT, PERSONS, ROWS, WAITING, FIRST, DUE, WAKES, SOONEST, MOVED, FIRED, ONE, FRESH, TIMER, QUIET
    global LOGGED, SHARES, REPEATS, EARLY, pack_repeats
    names = (
        "packed_about", "packed_persons", "packed_rows", "waiting", "first", "due", "wakes", "soonest", "moved",
        "fired", "one", "fresh", "timer", "quiet", "logged", "packed_shares",
        "repeats", "packed_early",
    )
    (
        ABOUT, PERSONS, ROWS, WAITING, FIRST, DUE, WAKES, SOONEST, MOVED, FIRED, ONE, FRESH, TIMER, QUIET, LOGGED, SHARES,
        REPEATS, EARLY,
    ) = places_of(profile, names)
    PROFILE, pack_repeats = profile, packing


# Of thousands of profiles each is met when it has left the processor's caches. So memory is asked ahead for the next
# ones: what does not depend on each other is fetched at the same time.
cdef enum:
    AHEAD = 4
    LINE = 64


cdef inline void fetch_object(PyObject* profile) noexcept:
    prefetch(profile)
    prefetch(<char*> profile + LINE)
    prefetch(<char*> profile + 2 * LINE)


cdef inline void fetch_bytes(PyObject* profile, Py_ssize_t place) noexcept:
    """The beginning of what a field holds; the processor itself sees to the rest."""
    cdef char* at = (<char**> (<char*> profile + place))[0]
    prefetch(at)
    prefetch(at + LINE)
    prefetch(at + 2 * LINE)


cdef bint keep(object profile, PackedRow row, dict plain) except -1:
    """What `profile._took` does with an event that ties nobody and that the fold must see. False: it's for Python."""
    cdef PyObject* found = PyDict_GetItemWithError(plain, row.type)
    cdef Cursor data, value
    cdef int64_t occurred_at = row.occurred_at, at = 0, first
    cdef bint wakes = False, closes, order, lists
    cdef Py_ssize_t waiting = get(profile, WAITING)
    cdef object until = get(profile, WAKES), soonest, opens
    if found == NULL:
        return False
    if until is None or <int64_t> until != UNKNOWN:
        opens, closes, order, lists = <tuple> <object> found
        if opens is not None:
            wakes, at = True, occurred_at + <int64_t> opens
        if lists:
            data.at, data.end, data.bad = row.data, row.at + row.size, False
            closes |= find(data, PRODUCTS_LISTED, &value)
        if closes:
            if order:
                occurred_at = 0
            soonest = get(profile, SOONEST)
            if soonest is not None and <int64_t> soonest == UNKNOWN:
                return False
            if occurred_at <= <int64_t> get(profile, FIRED):
                wakes, at = True, row.received_at
            elif soonest is not None and occurred_at <= <int64_t> get(profile, MOVED):
                first = soonest
                if not wakes or first < at:
                    wakes, at = True, first
        if wakes:
            at = max(at, row.received_at)
            if until is None or at < <int64_t> until:
                put_into(profile, WAKES, at)
        if not waiting or row.received_at < <int64_t> get(profile, FIRST):
            put_into(profile, FIRST, row.received_at)
    if get(profile, FRESH) is None:
        put_into(profile, FRESH, [row.kept])
    else:
        (<list> get(profile, FRESH)).append(row.kept)
    put_into(profile, WAITING, waiting + 1)
    return True


cdef bint held(bytes persons, Text namespace, Text value) noexcept:
    """Whether an identifier is known to be one of the packed persons'. What can't be read holds nothing."""
    cdef Cursor c, ids
    cdef Py_ssize_t person, fields, names, values
    c.at = <const uint8_t*> PyBytes_AS_STRING(persons)
    c.end = c.at + PyBytes_GET_SIZE(persons)
    c.bad = False
    for person in range(array(&c)):
        fields = array(&c)
        ids = c
        names = entries(&ids)
        while names and not ids.bad:
            names -= 1
            if not same(text(&ids), namespace):
                skip(&ids)
                continue
            for values in range(array(&ids)):
                if same(text(&ids), value):
                    return not ids.bad
            break
        while fields and not c.bad:
            fields -= 1
            skip(&c)
    return False


cdef bint meet(object profile, PackedRow row) except -1:
    """What `profile._took` does with an event that carries one identifier, and that the fold needn't see. False: it's
    for Python.
    """
    cdef bytes persons = get(profile, PERSONS)
    cdef Cursor ids
    cdef Text namespace, value
    cdef const uint8_t* second
    cdef uint8_t* to
    ids.at, ids.end, ids.bad = row.ids_at, row.ids_at + row.ids_size, False
    if array(&ids) != 2 or row.ids_at[0] != 0x92 or get(profile, LOGGED) is not None:
        return False
    namespace = text(&ids)
    second = ids.at
    value = text(&ids)
    if ids.bad:
        return False
    if PyBytes_GET_SIZE(persons) > 1:
        if not held(persons, namespace, value):
            return False
    else:  # nobody yet: [[{namespace: [value]}]], a person's, but for what isn't known
        made = PyBytes_FromStringAndSize(NULL, row.ids_size + 3)
        to = put_entries(put_array(put_array(<uint8_t*> PyBytes_AS_STRING(made), 1), 1), 1)
        to = put_array(put(to, row.ids_at + 1, second - row.ids_at - 1), 1)
        put(to, second, ids.at - second)
        put_into(profile, PERSONS, made)
    put_into(profile, ONE, row.ids)
    put_into(profile, QUIET, NEVER)
    return True


cdef bint repeat(object profile, bytes ids, PackedRow row) except -1:
    """A login that the fold needn't see (profile/repeats.py), if it is one."""
    cdef object logged = get(profile, LOGGED), repeats, entries
    cdef PyObject* found
    cdef Py_ssize_t size
    cdef uint8_t* to
    cdef int i
    if logged is None or PyDict_GetItemWithError(logged, ids) == NULL:
        return True
    repeats = get(profile, REPEATS)
    if repeats is None:
        repeats = {}
        put_into(profile, REPEATS, repeats)
    found = PyDict_GetItemWithError(repeats, ids)
    if found == NULL:
        entries = bytearray()
        PyDict_SetItem(repeats, ids, entries)
    else:
        entries = <object> found
    size = PyByteArray_GET_SIZE(entries)
    PyByteArray_Resize(entries, size + 2 * TIME)
    to = <uint8_t*> PyByteArray_AS_STRING(entries) + size
    for i in range(TIME):
        to[i] = <uint64_t> row.occurred_at >> 8 * (TIME - 1 - i) & 255
        to[TIME + i] = <uint64_t> row.received_at >> 8 * (TIME - 1 - i) & 255
    return True


cdef bint many(object profile, int64_t clock) except -1:
    """See repeats.many."""
    cdef object repeats = get(profile, REPEATS)
    cdef Py_ssize_t size = 0
    cdef const uint8_t* at
    cdef uint64_t received
    cdef int i
    cdef bint past = False
    if repeats is None:
        return False
    for entries in (<dict> repeats).values():
        size += PyByteArray_GET_SIZE(entries)
        at = <const uint8_t*> PyByteArray_AS_STRING(entries) + TIME
        received = 0
        for i in range(TIME):
            received = received << 8 | at[i]
        past |= <int64_t> received < clock
    return past and size > REPEATS_WAITING * 2 * TIME


def receive(
    list rows, dict profiles, dict changed, concerned, dict plain, by_python, asked, took, again, elsewhere
):
    """See profile.receive_all. `by_python`, `took` and `again` do what isn't the good case; `asked`, unless it is None,
    what no event is taken into compiled.
    """
    cdef PackedRow row
    cdef PyObject* found
    cdef object state, before, after, one
    cdef Py_ssize_t duplicates = 0, i, n = len(rows)
    cdef bint known, done
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
            state = <object> found if found != NULL else None
            if type(state) is not PROFILE:
                state = elsewhere(row)
                if state is None:
                    continue
        if PyBytes_GET_SIZE(<bytes> get(state, SHARES)):
            elsewhere(row)
            continue
        before = get(state, ABOUT)
        after = counted(before, row)
        if after is None:
            after = by_python(before, row)
        elif asked is not None and after is not before:
            after = asked(after, row)
        if after is before:
            again(state, row)
            duplicates += 1
        else:
            one = get(state, ONE)
            known = (
                one is not None
                and row.ids_size == PyBytes_GET_SIZE(one)
                and memcmp(row.ids_at, PyBytes_AS_STRING(one), row.ids_size) == 0
                and row.occurred_at < <int64_t> get(state, QUIET)
            )
            if row.type in concerned:
                done = (known or not row.several) and keep(state, row, plain)
            else:
                if known and row.several:
                    done = repeat(state, one, row)
                else:
                    done = known or (not row.several and meet(state, row))
            if done:
                put_into(state, ABOUT, after)
            else:
                took(state, row, after)
        PyDict_SetItem(changed, row.root, state)
    return duplicates


cdef bytes encoded(object profile):
    cdef bytes about = get(profile, ABOUT), persons = get(profile, PERSONS), rows = get(profile, ROWS), made
    cdef bytes shares = get(profile, SHARES), early = get(profile, EARLY), repeats = b""
    cdef list fresh = get(profile, FRESH)
    cdef Py_ssize_t waiting = get(profile, WAITING), size
    cdef uint8_t* to
    cdef uint8_t head[5]
    cdef uint8_t* head_end
    if get(profile, REPEATS) is not None:
        repeats = pack_repeats(get(profile, REPEATS))
        waiting += PyDict_Size(get(profile, REPEATS))
    head_end = put_array(head, waiting) if waiting < 1 << 16 else put_big(head, 0xDD, waiting, 4)
    size = 1 + PyBytes_GET_SIZE(about) + PyBytes_GET_SIZE(persons) + (head_end - head) + PyBytes_GET_SIZE(rows)
    size += PyBytes_GET_SIZE(shares) + PyBytes_GET_SIZE(repeats)
    if fresh is not None:
        for row in fresh:
            size += PyBytes_GET_SIZE(row)
    if PyBytes_GET_SIZE(early):
        shares = (shares or b"\x80") + early
        size += PyBytes_GET_SIZE(shares) - PyBytes_GET_SIZE(<bytes> get(profile, SHARES))
    made = PyBytes_FromStringAndSize(NULL, size)
    to = <uint8_t*> PyBytes_AS_STRING(made)
    to[0] = 0x95 if PyBytes_GET_SIZE(early) else 0x94 if PyBytes_GET_SIZE(shares) else 0x93
    to = put(to + 1, PyBytes_AS_STRING(about), PyBytes_GET_SIZE(about))
    to = put(to, PyBytes_AS_STRING(persons), PyBytes_GET_SIZE(persons))
    to = put(to, head, head_end - head)
    to = put(to, PyBytes_AS_STRING(repeats), PyBytes_GET_SIZE(repeats))
    to = put(to, PyBytes_AS_STRING(rows), PyBytes_GET_SIZE(rows))
    if fresh is not None:
        for row in fresh:
            to = put(to, PyBytes_AS_STRING(row), PyBytes_GET_SIZE(row))
    put(to, PyBytes_AS_STRING(shares), PyBytes_GET_SIZE(shares))
    return made


def encode(profile):
    """See profile.encode_profile; of a profile, not of what has moved."""
    if type(profile) is not PROFILE:
        raise TypeError(f"not a profile: {profile!r}")
    return encoded(profile)


cdef inline object wakes_then(object profile, by_python):
    """See profile.wakes_at."""
    cdef object wakes = get(profile, WAKES), due = get(profile, DUE)
    if wakes is not None and <int64_t> wakes == UNKNOWN:
        return by_python(profile)
    return due if wakes is None or (due is not None and <int64_t> due < <int64_t> wakes) else wakes


def settle(dict changed, int64_t clock, Py_ssize_t unfolded, wakes_at, look, encode_other, dict states, dict timers):
    """See profile.settle."""
    cdef object at, timer
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
        at = wakes_then(state, wakes_at)
        if (at is not None and <int64_t> at < clock) or (
            <Py_ssize_t> get(state, WAITING) > unfolded and <int64_t> get(state, FIRST) < clock
        ) or many(state, clock):
            look(root, state)
            at = wakes_then(state, wakes_at)
        timer = get(state, TIMER)
        if at is not None and (timer is None or <int64_t> at < <int64_t> timer):
            put_into(state, TIMER, at)
            PyDict_SetItem(timers, root, at)
        PyDict_SetItem(states, root, encoded(state))
