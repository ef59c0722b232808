"""snowplow-tracker through its whole repertoire: every call, POST and GET, base64 and plain, batches, flush.

.clients/bin/python tests/clients/snowplow_python.py BASE KEY SEED    # prints what it was asked to send

It has no key: Snowplow's protocol knows none. The application's id is KEY.
"""

import json
import logging
import sys
import time
import warnings
from urllib.parse import urlsplit

from snowplow_tracker import AsyncEmitter, Emitter, SelfDescribingJson, Subject, Tracker
from snowplow_tracker._version import __version__
from snowplow_tracker.events import PagePing, PageView, ScreenView, SelfDescribing, StructuredEvent

warnings.simplefilter("ignore", DeprecationWarning)  # of the shop calls, which have no other way yet
logging.disable(logging.WARNING)
base, key, seed = sys.argv[1:]
address = urlsplit(base)
asked, sent = [], []


class Remembering:
    """Stands between tracker and emitter: the id that an event got is told by no other way for all of the calls."""

    def __init__(self, emitter):
        self.emitter, self.ids = emitter, []

    def input(self, payload):
        self.ids.append(payload["eid"])
        self.emitter.input(payload)


def told(events):
    sent.extend(event["eid"] for event in events)


def tell(emitter, person, base64):
    """What a visitor does, in Snowplow's words."""
    device, user = f"device-{person}", f"user-{person}"
    remembering = Remembering(emitter)
    tracker = Tracker(namespace="shop", emitters=remembering, app_id=key, encode_base64=base64)
    visitor = Subject().set_platform("web").set_domain_user_id(device).set_lang("de-DE").set_timezone("Europe/Berlin")
    start = int(time.time() * 1000) - 60_000

    def ask(call, event, count=1):
        at = start + 1000 * (len(asked) % 60)
        before = len(remembering.ids)
        event(at)
        assert len(remembering.ids) == before + count, (call, remembering.ids[before:])
        for part, eid in enumerate(remembering.ids[before:]):
            asked.append({"call": call, "part": part, "eid": eid, "timestamp": at, "device": device, "user": known})

    def track(call, kind, *what, **more):
        ask(call, lambda at: tracker.track(kind(*what, **more, event_subject=visitor, true_timestamp=at)))

    def shop(call, *what, count=1):
        """The tracker's older calls, which have no class."""
        method = getattr(tracker, f"track_{call}")
        ask(call, lambda at: method(*what, tstamp=at, event_subject=visitor), count)

    def own(name, data):
        return SelfDescribingJson(f"iglu:com.shop/{name}/jsonschema/1-0-0", data)

    known = None
    page, referrer = "https://shop.example/tents?colour=grün", "https://search.example/"
    name = "Zelt „Größe 2“ 🏕"
    odd = {"text": 'a "quoted" \\ line\n', "yes": True, "number": 1234567890123, "none": None, "list": [1, "b", None]}
    more = [own("campaign", {"name": "spring"})]
    item = {"sku": "tent", "price": 249.5, "quantity": 2, "name": name, "category": "shelter", "currency": "EUR"}
    where = ("Berlin", "BE", "DE", "EUR")

    track("page_view", PageView, page, "Tents", referrer, context=more)
    track("page_ping", PagePing, page, "Tents", referrer, 0, 10, 0, 200)
    tent = {"product_id": "tent", "name": name, "price": 249.5}
    track("self_describing", SelfDescribing, own("product_viewed", tent), context=more)
    shop("add_to_cart", "tent", 2, name, "shelter", 249.5, "EUR")
    shop("remove_from_cart", "tent", 1, name, "shelter", 249.5, "EUR")
    known = user
    visitor.set_user_id(user)
    track("struct", StructuredEvent, "shop", "Feature Tried", "tent", "size", 2.5)
    track("odd", SelfDescribing, own("feature_tried", {**odd, "part": {"depth": 2}}))
    track("screen_view", ScreenView, "screen-1", "Basket")
    shop("link_click", page, "buy", ["big"])
    shop("site_search", ["zelt", "grün"], None, 3, 1)
    shop("form_change", "f1", "name", "INPUT", "x")
    shop("form_submit", "f1", ["big"])
    shop("ecommerce_transaction", f"order-{person}", 499.0, "shop", 79.67, 4.9, *where, [item], count=2)
    tracker.flush()
    emitter.sync_flush()


def emitter(kind=Emitter, **how):
    return kind(address.hostname, protocol="http", port=address.port, on_success=told, request_timeout=10, **how)


tell(emitter(batch_size=5), f"{seed}-post", True)
tell(emitter(method="get"), f"{seed}-get", False)
tell(emitter(AsyncEmitter, batch_size=4), f"{seed}-async", False)
deadline = time.monotonic() + 30
while len(set(sent)) < len(asked) and time.monotonic() < deadline:  # what failed waits for a timer of the emitter's
    time.sleep(0.1)
failed = sorted({event["eid"] for event in asked} - set(sent))
print(json.dumps({"client": f"snowplow-tracker {__version__}", "asked": asked, "failed": failed}))
