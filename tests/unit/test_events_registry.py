"""A registry that says no is not a registry that doesn't answer: over HTTP, against a small server of the same API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from pipeline.errors import InvalidEvent, RegistryUnavailable
from pipeline.events import schemas
from pipeline.events.codec import HEADER, Decoder, Encoder
from pipeline.events.registry import FORGET_SECONDS, Registry, connect
from tests.registry import RegistryServer
from tests.servers import HOST, free_port
from tests.unit.event_samples import sample


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        yield running


Client = Callable[[], Registry]


@pytest.fixture
def client(server: RegistryServer) -> Iterator[Client]:
    """Makes new clients of the server, which have nothing in common."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(connect(server.url, timeout=2, retries=0))


def writer(registry: Registry) -> Encoder:
    """Of e-mails, whose schema it registers first."""
    registry.register(schemas.subject("events.email", "email_sent"), schemas.text("email_sent"))
    return Encoder(registry)


def asked(server: RegistryServer) -> list[tuple[str, str]]:
    return [request for request in server.requests if request[1].startswith("/schemas/ids/")]


def test_a_producer_and_a_consumer_meet_at_the_registry(server: RegistryServer, client: Client) -> None:
    encoder = writer(client())
    values = [encoder.encode("events.email", sample("email_sent")) for _ in range(3)]
    decoder = Decoder(client())
    assert [decoder.decode(value) for value in values] == [sample("email_sent")] * 3
    assert asked(server) == [("GET", "/schemas/ids/1")]  # cached by id from then on


def test_its_own_404_makes_the_record_bad_and_is_believed_for_a_while(server: RegistryServer, client: Client) -> None:
    now = [1000.0]
    registry = Registry(client().client, server.url, clock=lambda: now[0])
    decoder = Decoder(registry)
    value = HEADER.pack(0, 7) + b"x"
    for _ in range(5):
        with pytest.raises(InvalidEvent, match="unknown_schema"):
            decoder.decode(value)
    assert asked(server) == [("GET", "/schemas/ids/7")]

    now[0] += FORGET_SECONDS + 1
    with pytest.raises(InvalidEvent, match="unknown_schema"):
        decoder.decode(value)
    assert len(asked(server)) == 2


def test_an_id_that_no_registry_gives_is_not_asked_for(server: RegistryServer, client: Client) -> None:
    """Apicurio answers such a question with a 404 that isn't its own: a partition would wait for ever."""
    decoder = Decoder(client())
    server.answer_with(404, '{"error_code": 0, "message": "RESTEASY003870: Unable to extract parameter"}')
    for schema_id in (1 << 31, (1 << 32) - 1):
        with pytest.raises(InvalidEvent, match="unknown_schema"):
            decoder.decode(HEADER.pack(0, schema_id) + b"x")
    assert asked(server) == []
    with pytest.raises(RegistryUnavailable):
        decoder.decode(HEADER.pack(0, (1 << 31) - 1) + b"x")


def test_a_schema_registered_later_is_found_once_the_404_is_forgotten(server: RegistryServer, client: Client) -> None:
    now = [1000.0]
    decoder = Decoder(Registry(client().client, server.url, clock=lambda: now[0]))
    with pytest.raises(InvalidEvent, match="unknown_schema"):
        decoder.decode(HEADER.pack(0, 1) + b"x")
    value = writer(client()).encode("events.email", sample("email_sent"))
    now[0] += FORGET_SECONDS + 1
    assert decoder.decode(value) == sample("email_sent")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "<html>no such page</html>"),
        (404, '{"error_code": 404, "message": "HTTP 404 Not Found"}'),
        (404, '{"message": "no Route matched with those values"}'),
        (401, '{"error_code": 40101, "message": "Unauthorized"}'),
        (500, '{"error_code": 50001, "message": "Error in the backend data store"}'),
        (503, ""),
        (200, "<html>log in first</html>"),
        (200, "{}"),
    ],
)
def test_anything_else_it_says_is_no_answer(server: RegistryServer, client: Client, status: int, body: str) -> None:
    value = writer(client()).encode("events.email", sample("email_sent"))
    decoder = Decoder(client())
    server.answer_with(status, body)
    for _ in range(2):
        with pytest.raises(RegistryUnavailable, match=server.url):
            decoder.decode(value)
    with pytest.raises(RegistryUnavailable, match=r"events\.email-behavioural\.events\.EmailSent"):
        Encoder(client()).encode("events.email", sample("email_sent"))

    server.answer_with(None)
    assert decoder.decode(value) == sample("email_sent")  # nothing was lost, nothing has to be restarted


def test_a_registry_that_is_down_and_comes_back(server: RegistryServer, client: Client) -> None:
    value = writer(client()).encode("events.email", sample("email_sent"))
    decoder = Decoder(client())
    server.stop()
    with pytest.raises(RegistryUnavailable):
        decoder.decode(value)
    server.start()
    assert decoder.decode(value) == sample("email_sent")


def test_nobody_listens() -> None:
    url = f"http://{HOST}:{free_port()}"
    with connect(url, timeout=2, retries=0) as registry, pytest.raises(RegistryUnavailable, match=url):
        Decoder(registry).decode(HEADER.pack(0, 1) + b"x")


def test_what_is_cached_needs_no_registry(server: RegistryServer, client: Client) -> None:
    encoder, decoder = writer(client()), Decoder(client())
    decoder.decode(encoder.encode("events.email", sample("email_sent")))
    server.stop()
    assert decoder.decode(encoder.encode("events.email", sample("email_sent"))) == sample("email_sent")


def test_a_schema_in_another_language_is_a_wrong_schema(server: RegistryServer, client: Client) -> None:
    server.schemas.append(('syntax = "proto3"; message Searched { string query = 1; }', "PROTOBUF"))
    server.schemas.append(('{"type": "object"}', "JSON"))
    decoder = Decoder(client())
    for schema_id in (1, 2):
        with pytest.raises(InvalidEvent, match="wrong_schema"):
            decoder.decode(HEADER.pack(0, schema_id) + b"x")


def test_the_in_process_registry_is_shared_by_its_address() -> None:
    value = Encoder(connect("mock://shared")).encode("t", sample("searched"))
    assert Decoder(connect("mock://shared")).decode(value) == sample("searched")
    with pytest.raises(InvalidEvent, match="unknown_schema"):
        Decoder(connect("mock://another")).decode(value)
