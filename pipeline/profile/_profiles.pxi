# Many profiles in one go: rows taken in, and what changed encoded. Included by _packed.pyx.
#
# A profile's fields are slots, which CPython keeps at a fixed place in the object: `bind` looks these places up.

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
    UNKNOWN = -1  # profile.UNKNOWN

cdef object PROFILE = None
cdef Py_ssize_t ABOUT, PERSONS, ROWS, WAITING, FIRST, DUE, WAKES, ONE, FRESH, TIMER, QUIET, SHARES


def bind(profile):
    """Tell what class profiles are of. Raises TypeError where its fields are no slots."""
    global PROFILE, ABOUT, PERSONS, ROWS, WAITING, FIRST, DUE, WAKES, ONE, FRESH, TIMER, QUIET, SHARES
    names = (
        "packed_about", "packed_persons", "packed_rows", "waiting", "first", "due", "wakes", "one", "fresh", "timer",
        "quiet", "packed_shares",
    )
    places = []
    for name in names:
        slot = profile.__dict__.get(name)
        if type(slot) is not MemberDescriptorType:
            raise TypeError(f"{profile.__qualname__}.{name} is no slot but {slot!r}")
        places.append((<PyMemberDescrObject*> slot).d_member.offset)
    ABOUT, PERSONS, ROWS, WAITING, FIRST, DUE, WAKES, ONE, FRESH, TIMER, QUIET, SHARES = places
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
        if PyBytes_GET_SIZE(<bytes> get(state, SHARES)):
            elsewhere(row)
            continue
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
                or row.occurred_at >= <int64_t> get(state, QUIET)
                or row.type in concerned
            ):
                took(state, row, after)
            else:
                put_into(state, ABOUT, after)
        PyDict_SetItem(changed, row.root, state)
    return duplicates


cdef bytes encoded(object profile):
    cdef bytes about = get(profile, ABOUT), persons = get(profile, PERSONS), rows = get(profile, ROWS), made
    cdef bytes shares = get(profile, SHARES)
    cdef list fresh = get(profile, FRESH)
    cdef Py_ssize_t waiting = get(profile, WAITING), size
    cdef uint8_t* to
    cdef uint8_t head[5]
    cdef uint8_t* head_end = put_array(head, waiting) if waiting < 1 << 16 else put_big(head, 0xDD, waiting, 4)
    size = 1 + PyBytes_GET_SIZE(about) + PyBytes_GET_SIZE(persons) + (head_end - head) + PyBytes_GET_SIZE(rows)
    size += PyBytes_GET_SIZE(shares)
    if fresh is not None:
        for row in fresh:
            size += PyBytes_GET_SIZE(row)
    made = PyBytes_FromStringAndSize(NULL, size)
    to = <uint8_t*> PyBytes_AS_STRING(made)
    to[0] = 0x94 if PyBytes_GET_SIZE(shares) else 0x93
    to = put(to + 1, PyBytes_AS_STRING(about), PyBytes_GET_SIZE(about))
    to = put(to, PyBytes_AS_STRING(persons), PyBytes_GET_SIZE(persons))
    to = put(to, head, head_end - head)
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


def settle(dict changed, int64_t clock, Py_ssize_t unfolded, wakes_at, look, encode_other, dict states, dict timers):
    """See profile.settle."""
    cdef object at, due, wakes, timer
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
        timer = get(state, TIMER)
        if at is not None and (timer is None or <int64_t> at < <int64_t> timer):
            put_into(state, TIMER, at)
            PyDict_SetItem(timers, root, at)
        PyDict_SetItem(states, root, encoded(state))
