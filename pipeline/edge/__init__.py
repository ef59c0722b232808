"""The collector: events get in over HTTP, from the clients that people already use.

server.py      requests and answers: paths, CORS, limits, what a client is told
families.py    what each family of clients sends, and which answers it takes    pure
bodies.py      bytes of a request -> JSON, within bounds                        pure
intake.py      JSON -> records for Kafka, and what is refused                   pure
keys.py        who may send what, and how much                                  pure
delivery.py    records -> Kafka, acknowledged
echo.py        the same without Kafka, to try things out
gate.py        how long a connection may take
processes.py   several processes, one address, one set of metrics
"""
