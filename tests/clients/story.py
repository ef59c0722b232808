"""What a visitor does, as calls of Segment's specification; the same for every client (story.json)."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

TEXT = Path(__file__).with_name("story.json").read_text()
MINUTE = 60_000
# Fields of the specification -> what the Python clients call them.
ARGUMENTS = {
    "anonymousId": "anonymous_id",
    "userId": "user_id",
    "previousId": "previous_id",
    "groupId": "group_id",
    "messageId": "message_id",
}


def story(person, first, seed, some=slice(None)):
    """The calls of one `person` (or `some` of them), with ids (`seed` and a number from `first` on) and times in ms."""
    start = int(time.time() * 1000) - MINUTE
    calls = json.loads(TEXT.replace("{person}", person))[some]
    return [
        {**call, "messageId": f"{seed}-{first + number}", "timestamp": start + 1000 * number}
        for number, call in enumerate(calls)
    ]


def ask(client, call):
    """Let a client of Segment's or RudderStack's make the call."""
    what = {ARGUMENTS.get(name, name): value for name, value in json.loads(json.dumps(call)).items()}
    what["timestamp"] = datetime.fromtimestamp(what["timestamp"] / 1000, UTC)
    taken, message = getattr(client, what.pop("type"))(**what)
    assert taken, message


def run(client, key, base, seed):
    """A client's whole repertoire: every call, plain and gzip, batches, shutdown flush, and a call that waits for its
    answer. Returns what it was asked to send.
    """
    asked = []

    def tell(sender, person, some=slice(None)):
        for call in story(person, len(asked), seed, some):
            ask(sender, call)
            asked.append(call)

    plain = client(key, host=base, gzip=False, upload_size=4, upload_interval=0.2)
    tell(plain, f"{seed}-plain")
    plain.shutdown()
    packed = client(key, host=base, gzip=True, upload_interval=0.2)
    tell(packed, f"{seed}-gzip")
    packed.shutdown()
    tell(client(key, host=base, gzip=False, sync_mode=True), f"{seed}-single", slice(1, 2))
    return asked
