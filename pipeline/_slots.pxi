# Fields of a class that has slots for them: CPython keeps these at fixed places in the object. Included by compiled
# modules.

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF

from types import MemberDescriptorType

cdef extern from "Python.h":
    ctypedef struct PyMemberDef:
        Py_ssize_t offset
    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member


cdef list places_of(of, names):
    """Where these fields lie, its own and those of what it is made of, for `get` and `put_into`. Raises TypeError where
    they are no slots.
    """
    cdef list places = []
    for name in names:
        slot = getattr(of, name, None)
        if type(slot) is not MemberDescriptorType:
            raise TypeError(f"{of.__qualname__}.{name} is no slot but {slot!r}")
        places.append((<PyMemberDescrObject*> slot).d_member.offset)
    return places


cdef inline object get(object of, Py_ssize_t place):
    cdef PyObject* found = (<PyObject**> (<char*> <PyObject*> of + place))[0]
    return <object> found if found != NULL else None


cdef inline void put_into(object of, Py_ssize_t place, object value) noexcept:
    cdef PyObject** at = <PyObject**> (<char*> <PyObject*> of + place)
    cdef PyObject* old = at[0]
    Py_INCREF(value)
    at[0] = <PyObject*> value
    Py_XDECREF(old)
