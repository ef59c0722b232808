# From parsed JSON to an event, where all is told in the form that is expected. Included by _reader.pyx.
#
# What is read where comes from tables that Python makes of its own (pipeline/events/calls.py); whatever isn't in order
# raises, and Python reads the whole once more.

from datetime import date

cdef enum:
    REMEMBERED = 4096  # names that senders made up,
    LONGEST_NAME = 64  # of so many characters at most
    MOST_NAMES = 64
    MOST_PLACES = 8
    OTHER = -1  # a name that means nothing to us
    ODD = -2    # one that means another

cdef int64_t DAY = 86_400_000
cdef int64_t FIRST_DAY = date(1970, 1, 1).toordinal()
cdef int[13] BEFORE = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]  # days of a year before each month
cdef dict EMPTY = {}

# Whether some placeholder begins with that character, in lower case, and is so long.
cdef bint MAYBE[128][64]


cdef int note_placeholders() except -1:
    for word in PLACEHOLDERS:
        if not word.isascii() or len(word) >= 64:
            raise ImportError(f"the compiled reader has no room for the placeholder {word!r}")
        if word:
            MAYBE[<int>ord(word[0])][<int>len(word)] = True
    return 0

note_placeholders()


def refuse(what, detail):
    """Takes a remark: what is remarked upon isn't in order."""
    raise Unusual


cdef class Rows
cdef class Calls


cdef class Names:
    """The names of an object's parts, each with its place. `odd`: whether some other name means one of them."""

    cdef dict places
    cdef object odd
    cdef Py_ssize_t count

    def __init__(self, names, odd):
        self.places = {intern(name): place for place, name in enumerate(names)}
        self.odd = odd
        self.count = len(self.places)
        if self.count > MOST_NAMES:
            raise ValueError(f"{self.count} names, and the compiled reader has room for {MOST_NAMES}")

    cdef int spread(self, dict told, PyObject** parts) except -1:
        """Each part to its place in `parts`; NULL where it isn't told. Raises for names that mean another."""
        cdef int place
        memset(parts, 0, self.count * sizeof(PyObject*))
        for name, value in told.items():
            found = self.places.get(name)
            if found is None:
                if type(name) is not str:
                    raise Unusual
                found = ODD if self.odd(name) else OTHER
                if len(self.places) < REMEMBERED and PyUnicode_GET_LENGTH(name) <= LONGEST_NAME:
                    self.places[name] = found
            place = found
            if place >= 0:
                parts[place] = <PyObject*>value
            elif place == ODD and value is not None:
                raise Unusual
        return 0


cdef inline object part_of(PyObject** parts, int place):
    return None if parts[place] == NULL else <object>parts[place]


cdef class Row:
    """A field, and how it is read."""

    cdef object field, plain, convert
    cdef int places[MOST_PLACES]
    cdef int count
    cdef bint checked
    cdef Rows inner

    cdef object value(self, object told):
        kind = type(told)
        made = None
        if kind is self.plain:
            if kind is float and not isfinite(<double>told):
                raise Unusual
            if kind is int:
                if not -INT64_MAX <= <int64_t>told <= INT64_MAX:
                    raise Unusual
            made = told
        elif self.plain is float and kind is int:
            made = float(told)
        elif self.inner is not None and kind is list and <list>told:
            made = self.items(<list>told)
        else:
            made = self.convert(told, "", refuse)
            if made is None:
                raise Unusual
        if self.checked:
            meaning(made)
        return made

    cdef list items(self, list told):
        cdef list found = []
        cdef dict made
        for each in told:
            if type(each) is not dict:
                raise Unusual
            made = {}
            self.inner.read(<dict>each, made)
            if not made:
                raise Unusual
            PyList_Append(found, made)
        return found


cdef class Rows:
    """The fields that are read of an object's parts.

    `rows`: (field, names of the parts that may tell it, best first; type of what counts as it stands, or None; what
    makes a value of anything else, as `segment_fields.Kind.read`; whether it must not be a word that stands for
    nothing; the Rows of the items of a list, or None).
    """

    cdef Names names
    cdef list rows

    def __init__(self, Names names not None, rows):
        cdef Row row
        self.names = names
        self.rows = []
        for field, given, plain, convert, checked, inner in rows:
            row = Row.__new__(Row)
            row.field, row.plain, row.convert, row.checked, row.inner = intern(field), plain, convert, checked, inner
            row.count = len(given)
            if row.count > MOST_PLACES:
                raise ValueError(f"{field}: {row.count} names, and the compiled reader has room for {MOST_PLACES}")
            for i, name in enumerate(given):
                row.places[i] = names.places[name]
            self.rows.append(row)

    cdef int read(self, dict told, dict to) except -1:
        cdef PyObject* parts[MOST_NAMES]
        cdef Row row
        cdef int i
        if not told:
            return 0
        self.names.spread(told, parts)
        for each in self.rows:
            row = <Row>each
            for i in range(row.count):
                value = part_of(parts, row.places[i])
                if value is None or (type(value) is str and PyUnicode_GET_LENGTH(value) == 0):
                    continue
                PyDict_SetItem(to, row.field, row.value(value))
                break
        return 0


cdef class Plan:
    """What the body of one kind of event is made of.

    `part`: the part of an object that tells it, or, if that lacks and `elsewhere`, the same part of its context.
    `rows`: what is read there; `around`: a part of the context of which the same is read, where the first tells nothing.
    `fixed`: (field, value) that holds where nothing else is told. `texts`: the field that takes all of the part as texts.
    `called`: the field that takes the event's name. `title`: (field, part of the object), and whether it counts `first`.
    `settle`: what has the last word where `settled` is among the fields, as `segment_names.Tracked.settle`.
    """

    cdef str type, part, around, texts, called, settled
    cdef bint elsewhere, first
    cdef Rows rows
    cdef tuple fixed, title
    cdef object settle

    def __init__(
        self, str type not None, str part not None, *, bint elsewhere=False, Rows rows=None, str around=None, fixed=(),
        str texts=None, str called=None, tuple title=None, bint first=False, settle=None, str settled=None,
    ):
        self.type, self.part, self.around, self.texts, self.called = intern(type), part, around, texts, called
        self.elsewhere, self.rows, self.fixed, self.title, self.first = elsewhere, rows, tuple(fixed), title, first
        self.settle, self.settled = settle, settled

    cdef dict body(self, Calls calls, dict told, dict context, object name):
        cdef dict found = {}, part, all_texts
        value = told.get(self.part)
        if value is None and self.elsewhere:
            value = context.get(self.part)
        part = object_of(value)
        for field, fixed in self.fixed:
            PyDict_SetItem(found, field, fixed)
        if self.called is not None:
            PyDict_SetItem(found, self.called, name)
        if self.texts is not None:
            all_texts = {}
            for key, value in part.items():
                if type(key) is not str:
                    raise Unusual
                if type(value) is not str:
                    value = calls.as_text(value)
                    if value is None:
                        continue
                PyDict_SetItem(all_texts, key, value)
            PyDict_SetItem(found, self.texts, all_texts)
        if self.around is not None:
            self.rows.read(object_of(context.get(self.around)), found)
        if self.rows is not None:
            self.rows.read(part, found)
        if self.title is not None and (self.first or self.title[0] not in found):
            value = told.get(self.title[1])
            if type(value) is str:
                if PyUnicode_GET_LENGTH(value):
                    PyDict_SetItem(found, self.title[0], value)
            elif value is not None:
                raise Unusual
        if self.settle is not None and self.settled in found:
            kind, found = self.settle(found, no)
            if kind != self.type:
                raise Unusual
        return found


def no():
    return False


cdef dict object_of(object told):
    if told is None:
        return EMPTY
    if type(told) is not dict:
        raise Unusual
    return <dict>told


cdef class Whose:
    """Where an identifier is told: a part of the call, or of the context, by its place; or of an object there."""

    cdef object namespace, name
    cdef int place, inner
    cdef bint around  # of the context
    cdef Names names


cdef class Text:
    """A text of the context, or of an object there: the first of `names` that is there, or of `places`."""

    cdef int step
    cdef tuple names, places


cdef class Calls:
    """Reads events. See pipeline/events/calls.py for the tables, whose names its arguments have."""

    cdef Names names, around
    cdef int kind, event, event_id, context, stamp, original, sent, received
    cdef dict plans, met
    cdef object meet, read_time, iso, as_text, envelope_of, event_class
    cdef list whose, envelope, beyond

    def __init__(
        self, *, Names names not None, Names around not None, fields, dict plans not None, meet, whose, envelope, beyond,
        envelope_of, as_text, read_time, str iso not None,
    ):
        self.names, self.around, self.plans, self.met, self.meet = names, around, plans, {}, meet
        places = [names.places[field] for field in fields]
        self.kind, self.event, self.event_id, self.context = places[:4]
        self.stamp, self.original, self.sent, self.received = places[4:]
        self.whose = [self.path_of(space, path, inner) for space, path, inner in whose]
        self.envelope = [(intern(field), [self.text_of(step, given) for step, given in several]) for field, several in envelope]
        self.beyond = [around.places[name] for name in beyond]
        self.envelope_of, self.as_text, self.read_time, self.iso = envelope_of, as_text, read_time, iso
        self.event_class = Event

    cdef Whose path_of(self, namespace, path, Names names):
        cdef Whose found = Whose.__new__(Whose)
        cdef Names first = self.names
        found.namespace, found.names, found.inner = intern(namespace), names, -1
        path = list(path)
        if first.places[path[0]] == self.context:
            found.around, first = True, self.around
            del path[0]
        found.place = first.places[path[0]]
        if len(path) == 2:
            found.name = intern(path[1])
            found.inner = OTHER if names is None else names.places[path[1]]
        elif len(path) != 1:
            raise ValueError(f"{namespace}: the compiled reader goes no deeper than into an object of the context")
        return found

    cdef Text text_of(self, step, names):
        cdef Text found = Text.__new__(Text)
        found.step = OTHER if step is None else self.around.places[step]
        found.names = tuple(map(intern, names))
        found.places = tuple([self.around.places[name] for name in names]) if step is None else ()
        return found

    def read(self, told, received_now):
        """The event in one object; None: it isn't plain. `received_now`: UTC ms, or None where it tells that itself."""
        try:
            return self.plain(told, received_now)
        except Exception:  # of many kinds
            return None

    cdef object plain(self, object obj, object received_now):
        cdef PyObject* parts[MOST_NAMES]
        cdef PyObject* around[MOST_NAMES]
        cdef dict context, body, identifiers
        cdef Plan plan
        cdef int64_t occurred_at, received_at
        if type(obj) is not dict:
            raise Unusual
        self.names.spread(<dict>obj, parts)
        context = object_of(part_of(parts, self.context))
        self.around.spread(context, around)
        plan = self.plans[part_of(parts, self.kind)]
        name = None
        if plan is None:
            name = part_of(parts, self.event)
            plan = self.plan_of(name)
        self.times(parts, received_now, &occurred_at, &received_at)
        event_id = part_of(parts, self.event_id)
        meaning(event_id)
        if PyUnicode_GET_LENGTH(event_id) > LONGEST_ID:
            raise Unusual
        identifiers = self.identifiers(parts, around)
        body = plan.body(self, <dict>obj, context, name)
        envelope = self.envelope_in(context, around) if context else None
        sound(body)
        sound(envelope)
        return self.event_class(
            plan.type, event_id, occurred_at, received_at, identifiers, body, envelope, None, False, ()
        )

    cdef Plan plan_of(self, object name):
        found = self.met.get(name, UNMET)
        if found is UNMET:
            if type(name) is not str:
                raise Unusual
            found = self.meet(name)
            if len(self.met) < REMEMBERED and PyUnicode_GET_LENGTH(name) <= LONGEST_ID:
                self.met[name] = found
        if found is None:
            raise Unusual
        return <Plan?>found

    cdef int times(self, PyObject** parts, object received_now, int64_t* occurred_at, int64_t* received_at) except -1:
        """As times.event_times."""
        cdef int64_t stamp = 0, original = 0, sent = 0, received = 0, corrected
        cdef bint has_stamp = self.time(part_of(parts, self.stamp), &stamp)
        cdef bint has_original = self.time(part_of(parts, self.original), &original)
        cdef bint has_sent = self.time(part_of(parts, self.sent), &sent)
        cdef bint has_received
        if received_now is None:
            has_received = self.time(part_of(parts, self.received), &received)
        else:
            received, has_received = received_now, True
            if not has_original:
                original, has_original = stamp, has_stamp
        if has_received and not EARLIEST <= received <= LATEST:
            raise Unusual
        if has_received and has_sent and has_original:
            corrected = received - (sent - original)
            if EARLIEST <= corrected <= LATEST:
                stamp, has_stamp = corrected, True
        if not has_stamp:
            if has_original:
                stamp = original
            elif has_sent:
                stamp = sent
            elif has_received:
                stamp = received
            else:
                raise Unusual
        if not has_received:
            received = stamp
        occurred_at[0], received_at[0] = min(stamp, received), received
        return 0

    cdef bint time(self, object told, int64_t* at) except -1:
        """Whether it is told."""
        if told is None:
            return False
        if type(told) is not str:
            raise Unusual
        if usual_time(<str>told, at):
            return True
        reading = self.read_time(told)
        if reading is None:
            if PyUnicode_GET_LENGTH(told):
                raise Unusual
            return False
        if reading[1] != self.iso:
            raise Unusual
        at[0] = reading[0]
        return True

    cdef dict identifiers(self, PyObject** parts, PyObject** around):
        cdef PyObject* inner[MOST_NAMES]
        cdef dict found = {}
        cdef Whose each
        for one in self.whose:
            each = <Whose>one
            value = part_of(around if each.around else parts, each.place)
            if value is None or each.namespace in found:
                continue
            if each.name is not None:
                value = object_of(value)
                if each.names is None:
                    value = (<dict>value).get(each.name)
                else:
                    each.names.spread(<dict>value, inner)
                    value = part_of(inner, each.inner)
                if value is None:
                    continue
            if type(value) is not str or PyUnicode_GET_LENGTH(value) > LONGEST_IDENTIFIER:
                raise Unusual
            if PyUnicode_GET_LENGTH(value):
                sound(value)
                PyDict_SetItem(found, each.namespace, value)
        return found

    cdef object envelope_in(self, dict context, PyObject** around):
        cdef dict found = {}
        cdef Text text
        for place in self.beyond:
            if part_of(around, place) is not None:
                return self.envelope_of(context)
        for field, several in self.envelope:
            made = None
            for each in <list>several:
                text = <Text>each
                value = None
                if text.step == OTHER:
                    for place in text.places:
                        if around[<int>place] != NULL:
                            value = <object>around[<int>place]
                            break
                elif around[text.step] != NULL:
                    value = object_of(<object>around[text.step]).get(text.names[0])
                if value is None:
                    continue
                if type(value) is not str:
                    return self.envelope_of(context)
                if PyUnicode_GET_LENGTH(value):
                    made = value if made is None else <str>made + " " + <str>value
            if made is not None:
                PyDict_SetItem(found, field, made)
        return found or None


cdef object NEW = tuple.__new__


cdef class Sealing:
    """Events of plain calls as records of one sender, with what is known of whoever asks.

    `calls`: reads them. `meet`: type of an event -> (topic, head, Writer), or None: not of this sender. `record`: a named
    tuple of (topic, None, key, value, headers). `keyed_by`: namespaces, of which the first that is told gives a record's
    key; `blocked`: values that don't; `key_of`: what tells the key of any event. `allowed`: namespaces, or None for all.
    `purpose`: what has to be agreed to, or None.

    `known_better`: fields of the context that only whoever sees the sender can tell, or nobody; () where it is believed.
    `unproven`: the field that names the namespaces, of a sender that proves nothing. `judged`: (a field of the context,
    what tells whether a text there is so, the field that says it).
    """

    cdef Calls calls
    cdef dict ways
    cdef object meet, record, key_of, judge, allowed, blocked
    cdef str purpose, unproven, judged, verdict
    cdef tuple keyed_by, known_better

    def __init__(
        self, Calls calls not None, meet, record, *, keyed_by, blocked, key_of, allowed, str purpose, known_better,
        str unproven, tuple judged not None,
    ):
        self.calls, self.meet, self.record, self.ways = calls, meet, record, {}
        self.keyed_by, self.blocked, self.key_of, self.allowed = tuple(keyed_by), blocked, key_of, allowed
        self.purpose, self.known_better, self.unproven = purpose, tuple(known_better), unproven
        self.judged, self.judge, self.verdict = judged

    def seal(self, list items not None, now, seen, call_of, list events not None, list records not None, slow):
        """Fill `events` and `records`, in the order of `items`; `slow(place, item)` is called for what isn't plain, in
        its turn. `now`: UTC ms. `seen`: of `known_better`, (field, value). `call_of`: makes a call of an item, or None.
        """
        cdef Py_ssize_t place = 0
        for item in items:
            try:
                event = self.calls.plain(item if call_of is None else call_of(item), now)
                record = self.sealed(event, seen)
            except Exception:  # of many kinds; whatever it is, `slow` tells it
                slow(place, item)
            else:
                events.append(event)
                records.append(record)
            place += 1

    cdef object sealed(self, object event, seen):
        cdef dict identifiers = get(event, IDENTIFIERS)
        cdef dict context = get(event, EVENT_CONTEXT)
        kind = get(event, EVENT_TYPE)
        way = self.ways.get(kind)
        if way is None:
            way = self.meet(kind)
            if way is None:
                raise Unusual
            self.ways[kind] = way
        topic, head, writer = way
        if self.allowed is not None:
            for namespace in identifiers:
                if namespace not in self.allowed:
                    raise Unusual
        if self.purpose is not None and (context is None or context[CONSENT][self.purpose] is not True):
            raise Unusual
        if self.known_better or self.unproven is not None:
            context = {} if context is None else context.copy()
            if self.unproven is not None and identifiers:
                context[self.unproven] = sorted(identifiers)
            for field in self.known_better:
                context.pop(field, None)
            for field, value in seen:
                context[field] = value
        if context is not None:
            agent = context.get(self.judged)
            if agent is not None and self.judge(agent):
                context = {**context, self.verdict: True}
        put_into(event, EVENT_CONTEXT, context if context else None)
        value = (<Writer?>writer).written(head, event)
        return NEW(self.record, (topic, None, self.key(event, identifiers), value, []))

    cdef object key(self, object event, dict identifiers):
        cdef const uint8_t* s
        cdef Py_ssize_t n, i
        for namespace in self.keyed_by:
            value = identifiers.get(namespace)
            if value is None:
                continue
            if not PyUnicode_IS_ASCII(value):
                break
            n = PyUnicode_GET_LENGTH(value)
            s = <const uint8_t*>PyUnicode_DATA(value)
            if n == 0:
                break
            for i in range(n):
                if not (48 <= s[i] <= 57 or 97 <= s[i] <= 122 or (0 < i < n - 1 and s[i] in b"-_.")):
                    break
            else:
                if value in self.blocked:
                    break
                return PyBytes_FromStringAndSize(<const char*>s, n)
            break
        key = self.key_of(event)
        if key is None:
            raise Unusual
        return key


cdef int meaning(object value) except -1:
    """Raises for what may be a word that stands for nothing (text.stands_for_nothing), however it is quoted."""
    cdef Py_ssize_t n
    cdef const uint8_t* s
    cdef uint8_t first
    if type(value) is not str or not PyUnicode_IS_ASCII(value):
        raise Unusual
    n = PyUnicode_GET_LENGTH(value)
    s = <const uint8_t*>PyUnicode_DATA(value)
    if n == 0 or not is_alphanumeric(s[0]) or not is_alphanumeric(s[n - 1]):
        raise Unusual
    if n > 2 and s[n - 3] == 37:  # %22
        raise Unusual
    first = s[0] | 32 if s[0] > 57 else s[0]
    if n < 64 and MAYBE[first][n] and (<str>value).lower() in PLACEHOLDERS:
        raise Unusual
    return 0


cdef inline bint is_alphanumeric(uint8_t c) noexcept:
    return 48 <= c <= 57 or 97 <= c <= 122 or 65 <= c <= 90


cdef int sound(object node) except -1:
    """Raises where something in it has to be left out, as `checks` tells."""
    cdef Py_ssize_t size
    kind = type(node)
    if kind is str:
        if PyUnicode_IS_ASCII(node):
            size = PyUnicode_GET_LENGTH(node)
        else:
            PyUnicode_AsUTF8AndSize(node, &size)
        if size > LONGEST_TEXT:
            raise Unusual
    elif kind is float:
        if not isfinite(<double>node):
            raise Unusual
    elif kind is dict:
        for name, value in (<dict>node).items():
            sound(name)
            sound(value)
    elif kind is list:
        for value in <list>node:
            sound(value)
    elif node is not None and kind is not int and kind is not bool:
        raise Unusual
    return 0


cdef inline int digits(const uint8_t* s, int number) noexcept:
    """The number that so many digits write; below zero where they are none."""
    cdef int found = 0, i
    for i in range(number):
        if not 48 <= s[i] <= 57:
            return -1 << 20
        found = 10 * found + s[i] - 48
    return found


cdef bint usual_time(str told, int64_t* at) noexcept:
    """2026-11-22T19:00:00.000Z, which nearly all send. False: it is another form, or no time that we take."""
    cdef const uint8_t* s
    cdef int year, month, day, hour, minute, second, ms, before, leap
    if not PyUnicode_IS_ASCII(told) or PyUnicode_GET_LENGTH(told) != 24:
        return False
    s = <const uint8_t*>PyUnicode_DATA(told)
    if s[4] != 45 or s[7] != 45 or s[10] != 84 or s[13] != 58 or s[16] != 58 or s[19] != 46 or s[23] != 90:
        return False
    year, month, day = digits(s, 4), digits(s + 5, 2), digits(s + 8, 2)
    hour, minute, second, ms = digits(s + 11, 2), digits(s + 14, 2), digits(s + 17, 2), digits(s + 20, 3)
    if year < 1 or not 1 <= month <= 12 or day < 1:
        return False
    if not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 59 or ms < 0:
        return False
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > (31 if month == 12 else BEFORE[month + 1] - BEFORE[month]) + (leap and month == 2):
        return False
    before = year - 1
    at[0] = 365 * before + before // 4 - before // 100 + before // 400 + BEFORE[month] + (leap and month > 2) + day
    at[0] = (at[0] - FIRST_DAY) * DAY + ((hour * 60 + minute) * 60 + second) * 1000 + ms
    return EARLIEST <= at[0] <= LATEST
