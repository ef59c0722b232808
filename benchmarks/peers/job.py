"""What every peer runs: Avro decode, the profile, the cart timer rule, and a progress counter that the driver reads.

One job, one rule, no identities, no second hop: much less than the pipeline does with the same events.
"""
import io, json, mmap, os, urllib.request
import fastavro

BROKER = os.environ.get("BROKER", "127.0.0.1:9092")
REGISTRY = os.environ.get("REGISTRY", "http://127.0.0.1:8081")
REDIS = os.environ.get("REDIS", "redis://127.0.0.1:6379/0")
TOPIC = os.environ.get("TOPIC", "bench.events")
TRIGGERS = os.environ.get("TRIGGERS", "bench.peer")
RUN = os.environ.get("RUN", "dev")
STATE_DIR = os.environ.get("STATE_DIR", "state")
HOUR, DAY = int(os.environ.get("WAIT_MS", "3600000")), 86_400_000
DISORDER = 5_000  # events of different people stand up to four seconds out of order: a timer waits for them

schemas = {}  # schema id -> (event type, parsed schema)


def schema_of(number: int):
    if number not in schemas:
        with urllib.request.urlopen(f"{REGISTRY}/schemas/ids/{number}") as answer:
            schema = fastavro.parse_schema(json.loads(json.load(answer)["schema"]))
        schemas[number] = schema["name"].rsplit(".", 1)[-1], schema
    return schemas[number]


def decode(raw: bytes) -> dict:
    kind, schema = schema_of(int.from_bytes(raw[1:5], "big"))
    e = fastavro.schemaless_reader(io.BytesIO(raw[5:]), schema)
    e["type"] = kind
    e["t"] = round(e["occurred_at"].timestamp() * 1000)  # timestamp-millis reads as datetime
    return e


def new_profile() -> dict:
    return {"views": 0, "days": {}, "first": None, "last": 0, "carts": {}, "timeline": [], "products": {}}


def trigger(who, cid, cart):
    return {"rule": "abandoned_cart", "identity": who, "cart_id": cid,
            "anchor_event_id": cart["anchor"], "lines": dict(cart["lines"])}


def update(p, who, e):
    """Apply one event; returns (trigger or None, (cart_id, due or None) or None when no timer changed)."""
    t, kind, body, fired, timer = e["t"], e["type"], e["body"], None, None
    if p["first"] is None:
        p["first"] = t
    p["last"] = max(p["last"], t)
    p["timeline"].append([kind, t, e["context"] and e["context"]["url"]])
    del p["timeline"][:-20]
    if kind == "PageViewed":
        p["views"] += 1
        days, day = p["days"], str(t // DAY)
        days[day] = days.get(day, 0) + 1
        if len(days) > 30:
            del days[min(days)]
    elif kind == "ProductViewed":
        products, pid = p["products"], body["product_id"]
        products[pid] = products.pop(pid, 0) + 1  # re-insert: dict order is recency
        if len(products) > 50:
            del products[next(iter(products))]
    elif kind == "ProductAdded":
        cid = body["cart_id"]
        cart = p["carts"].setdefault(cid, {"lines": {}, "anchor": None, "due": None})
        if cart["due"] is not None and t > cart["due"]:
            fired = trigger(who, cid, cart)
        line = cart["lines"].setdefault(body["product_id"], [0, 0.0])
        line[0] += body["quantity"] or 1
        line[1] = body["price"]
        cart["anchor"], cart["due"] = e["event_id"], t + HOUR
        timer = cid, t + HOUR
    elif kind == "OrderCompleted":
        cart = p["carts"].pop(body["cart_id"], None)
        if cart:
            if cart["due"] is not None and t > cart["due"]:
                fired = trigger(who, body["cart_id"], cart)
            timer = body["cart_id"], None
    return fired, timer


def fire(p, who, cid, now):
    """A timer came up: the trigger if that cart is still armed and past due at event time `now`, else None."""
    cart = p and p["carts"].get(cid)
    if cart and cart["due"] is not None and now > cart["due"]:
        cart["due"] = None
        return trigger(who, cid, cart)


class Progress:
    """Events done, in 8 bytes of shared memory: the driver samples /proc against it."""
    def __init__(self):
        path = os.environ.get("PROGRESS")
        self.view = memoryview(mmap.mmap(os.open(path, os.O_RDWR), 8) if path else bytearray(8)).cast("q")

    def tick(self, n=1):
        self.view[0] += n


progress = Progress()
