# From parsed JSON to an event, where all is told in the form that is expected. Included by _reader.pyx.
#
# What is read where comes from tables that Python makes of its own (pipeline/events/calls.py); whatever isn't in order
# raises, and Python reads the whole once more.

from datetime import date

cdef enum:
    REMEMBERED = 4096  # names that senders made up

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
    """The names of an object's parts. `odd`: whether some other name means one of them."""

    cdef dict known  # name -> whether it is odd
    cdef object odd

    def __init__(self, names, odd):
        self.known = dict.fromkeys(names, False)
        self.odd = odd

    cdef int check(self, dict told) except -1:
        for name, value in told.items():
            found = self.known.get(name)
            if found is None:
                if type(name) is not str:
                    raise Unusual
                found = bool(self.odd(name))
                if len(self.known) < REMEMBERED:
                    self.known[name] = found
            if found is True and value is not None:
                raise Unusual
        return 0


cdef class Row:
    """A field, and how it is read."""

    cdef object field, plain, convert
    cdef tuple names
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
            row.field, row.names, row.plain, row.convert = intern(field), tuple(map(intern, given)), plain, convert
            row.checked, row.inner = checked, inner
            self.rows.append(row)

    cdef int read(self, dict told, dict to) except -1:
        cdef Row row
        if not told:
            return 0
        self.names.check(told)
        for each in self.rows:
            row = <Row>each
            for name in row.names:
                value = told.get(name)
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


cdef class Calls:
    """Reads events. See pipeline/events/calls.py for the tables, whose names its arguments have."""

    cdef Names names
    cdef str kind, event, event_id, context, stamp, original, sent, received
    cdef dict plans, met
    cdef object meet, read_time, iso, as_text, envelope_of, event_class
    cdef list whose, envelope
    cdef tuple beyond

    def __init__(
        self, *, Names names not None, fields, dict plans not None, meet, whose, envelope, beyond, envelope_of, as_text,
        read_time, str iso not None,
    ):
        self.names, self.plans, self.met, self.meet = names, plans, {}, meet
        self.kind, self.event, self.event_id, self.context = fields[:4]
        self.stamp, self.original, self.sent, self.received = fields[4:]
        self.whose, self.envelope, self.beyond = list(whose), list(envelope), tuple(beyond)
        self.envelope_of, self.as_text, self.read_time, self.iso = envelope_of, as_text, read_time, iso
        self.event_class = Event

    def read(self, told, received_now):
        """The event in one object; None: it isn't plain. `received_now`: UTC ms, or None where it tells that itself."""
        try:
            return self.plain(told, received_now)
        except Exception:  # of many kinds
            return None

    cdef object plain(self, object obj, object received_now):
        cdef dict told, context, body, identifiers
        cdef Plan plan
        cdef int64_t occurred_at, received_at
        if type(obj) is not dict:
            raise Unusual
        told = <dict>obj
        self.names.check(told)
        plan = self.plans[told[self.kind]]
        name = None
        if plan is None:
            name = told[self.event]
            plan = self.plan_of(name)
        context = object_of(told.get(self.context))
        self.times(told, received_now, &occurred_at, &received_at)
        event_id = told[self.event_id]
        if type(event_id) is not str or PyUnicode_GET_LENGTH(event_id) > LONGEST_ID:
            raise Unusual
        meaning(event_id)
        identifiers = self.identifiers(told)
        body = plan.body(self, told, context, name)
        around = self.envelope_in(context) if context else None
        sound(body)
        sound(around)
        return self.event_class(
            plan.type, event_id, occurred_at, received_at, identifiers, body, around, None, False, ()
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

    cdef int times(self, dict told, object received_now, int64_t* occurred_at, int64_t* received_at) except -1:
        """As times.event_times."""
        cdef int64_t stamp = 0, original = 0, sent = 0, received = 0, corrected
        cdef bint has_stamp = self.time(told, self.stamp, &stamp)
        cdef bint has_original = self.time(told, self.original, &original)
        cdef bint has_sent = self.time(told, self.sent, &sent)
        cdef bint has_received
        if received_now is None:
            has_received = self.time(told, self.received, &received)
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

    cdef bint time(self, dict told, str name, int64_t* at) except -1:
        """Whether it is told."""
        value = told.get(name)
        if value is None:
            return False
        if type(value) is not str:
            raise Unusual
        if usual_time(<str>value, at):
            return True
        reading = self.read_time(value)
        if reading is None:
            if PyUnicode_GET_LENGTH(value):
                raise Unusual
            return False
        if reading[1] != self.iso:
            raise Unusual
        at[0] = reading[0]
        return True

    cdef dict identifiers(self, dict told):
        cdef dict found = {}, part
        for namespace, steps, name, names in self.whose:
            if namespace in found:
                continue
            part = told
            for step in <tuple>steps:
                part = object_of(part.get(step))
            if names is not None:
                (<Names>names).check(part)
            value = part.get(name)
            if value is None:
                continue
            if type(value) is not str or PyUnicode_GET_LENGTH(value) > LONGEST_IDENTIFIER:
                raise Unusual
            if PyUnicode_GET_LENGTH(value):
                sound(value)
                PyDict_SetItem(found, namespace, value)
        return found

    cdef object envelope_in(self, dict context):
        cdef dict found = {}, part
        for name in self.beyond:
            if context.get(name) is not None:
                return self.envelope_of(context)
        for field, several in self.envelope:
            text = None
            for step, names in <tuple>several:
                part = context if step is None else object_of(context.get(step))
                value = None
                for name in <tuple>names:
                    if name in part:
                        value = part[name]
                        break
                if value is None:
                    continue
                if type(value) is not str:
                    return self.envelope_of(context)
                if PyUnicode_GET_LENGTH(value):
                    text = value if text is None else <str>text + " " + <str>value
            if text is not None:
                PyDict_SetItem(found, field, text)
        return found or None


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
