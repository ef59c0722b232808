"""posthog through its whole repertoire: every call, plain and gzip, batches, shutdown flush, and one that waits.

.clients/bin/python tests/clients/posthog_python.py BASE KEY SEED    # prints what it was asked to send
"""

import json
import sys
import time
import uuid
from datetime import UTC, datetime

from posthog import Posthog
from posthog.version import VERSION

base, key, seed = sys.argv[1:]
asked = []


def tell(client, person, short=False):
    """What a visitor does, in PostHog's words; each call is remembered with its uuid and time."""
    device, user = f"device-{person}", f"user-{person}"
    start = int(time.time() * 1000) - 60_000

    def ask(method, call, told, *args, **named):
        number = len(asked)
        eid, at = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{seed}-{number}")), start + 1000 * (number % 60)
        given = getattr(client, method)(*args, **named, uuid=eid, timestamp=datetime.fromtimestamp(at / 1000, UTC))
        assert given == eid, given
        asked.append({"call": call, "uuid": eid, "timestamp": at, **told})

    def capture(event, distinct_id, properties):
        told = {"event": event, "distinct_id": distinct_id, "properties": properties}
        ask("capture", "capture", told, event, distinct_id=distinct_id, properties=properties)

    tent = {"product_id": "tent", "name": "Zelt „Größe 2“ 🏕", "price": 249.5, "currency": "EUR"}
    capture("Product Viewed", device, tent)
    if short:
        return
    page = {"$current_url": "https://shop.example/tents?colour=grün", "$pathname": "/tents", "title": "Tents"}
    capture("$pageview", device, page)
    capture("Product Added", device, {**tent, "cart_id": f"cart-{person}", "quantity": 2})
    capture("$identify", user, {"$anon_distinct_id": device, "$set": {"email": f"{user}@example.org", "name": "Änne"}})
    odd = {"text": 'a "quoted" \\ line\n', "yes": True, "number": 1234567890123, "none": None, "list": [1, "b", None]}
    capture("Feature Tried", user, {**odd, "part": {"depth": 2}})
    order = {"order_id": f"order-{person}", "total": 499, "currency": "EUR", "products": [{**tent, "quantity": 2}]}
    capture("Order Completed", user, order)
    capture("$screen", user, {"$screen_name": "Basket"})
    traits = {"plan": "gold"}
    for method in ("set", "set_once"):
        told = {"distinct_id": user, "properties": traits}
        ask(method, method, told, distinct_id=user, properties=traits)
    group = {"group_type": "club", "group_key": f"club-{person}", "properties": {"name": "Climbers"}}
    ask("group_identify", "group_identify", {"distinct_id": user, **group}, **group, distinct_id=user)
    ask("alias", "alias", {"previous_id": f"old-{person}", "distinct_id": user}, f"old-{person}", user)
    ask("capture_exception", "exception", {"distinct_id": user}, ValueError("no tent"), distinct_id=user)


plain = Posthog(key, host=base, flush_at=4, flush_interval=0.2)
tell(plain, f"{seed}-plain")
plain.flush()
plain.shutdown()
packed = Posthog(key, host=base, gzip=True, flush_interval=0.2)
tell(packed, f"{seed}-gzip")
packed.shutdown()
single = Posthog(key, host=base, sync_mode=True)
tell(single, f"{seed}-single", short=True)
single.shutdown()
print(json.dumps({"client": f"posthog {VERSION}", "asked": asked}))
