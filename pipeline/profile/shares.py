"""What is counted of each person of a household (identity/graph.py), apart from the others.

A household's profile keeps an `About` a name: of each user id, and of whoever came into it without one. A person's is
what stands under any of their identifiers. Packed, a map from names (triggers/devices.py) to packed Abouts.
"""

from __future__ import annotations

from functools import reduce

import msgspec

from pipeline.profile import about as profile_about
from pipeline.profile.about import EMPTY, About
from pipeline.triggers import devices
from pipeline.triggers.person import Person

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode


def unpack(packed: bytes) -> dict[str, bytes]:
    """Name -> packed About."""
    return {name: bytes(share) for name, share in _decode(packed).items()} if packed else {}


def pack(shares: dict[str, bytes]) -> bytes:
    """What `unpack` reads; nothing where there are none."""
    return _encode({name: msgspec.Raw(share) for name, share in sorted(shares.items())}) if shares else b""


def merged(shares: list[bytes]) -> About:
    """All of them as one."""
    return reduce(profile_about.merge, map(profile_about.unpack, shares)) if shares else profile_about.unpack(EMPTY)


def of(shares: dict[str, bytes], person: Person) -> About:
    """One person's."""
    return merged([share for name, share in shares.items() if name and person.has(*devices.split(name))])


def joined(some: dict[str, bytes], others: dict[str, bytes]) -> dict[str, bytes]:
    """Those of two households that turn out to be one."""
    out = {**some, **others}
    for name in some.keys() & others.keys():
        out[name] = profile_about.pack(merged([some[name], others[name]]))
    return out
