"""The whole way as a worker goes it: events written in Avro, read by the compiled reader where it can, both hops."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.events.codec import Decoder, Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.profile.fields import handed_fields, wanted_fields
from pipeline.runtime.first_hop import SourcePartition
from pipeline.topology.model import Topology
from tests.property.hops import Hops, now

REGISTRY = connect("mock://encoded")
ENCODER = Encoder(REGISTRY)


class EncodedHops(Hops):
    """Hops over a log of Avro. `compiled` False: as where nothing could be compiled."""

    def __init__(
        self, topology: Topology, log: Sequence[Sequence[Event]], resolved: int, *, compiled: bool = True
    ) -> None:
        super().__init__(topology, log, resolved)
        decoder = Decoder(REGISTRY, wanted=wanted_fields(self.book), handed=handed_fields(self.book))
        for partition in range(len(log)):
            records = self.log.partitions["s", partition]
            for i, record in enumerate(records):
                if record.value is not None:
                    value = ENCODER.encode("s", self.events[int(record.value)])
                    decoder.decode(value)  # its schema is known
                    records[i] = record._replace(value=value)
        takers = decoder.takers if compiled else {}
        self.sources = [
            SourcePartition(self.topology, self.intake, self.graph, self.log, decoder.decode, "s", p, takers)
            for p in range(len(log))
        ]
        for source in self.sources:
            now(source.claim())
