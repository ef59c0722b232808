"""Bytewax. Two stateful steps: timers keyed by Kafka partition (event time, in order), then profiles keyed by identity.
notify_at is wall clock, so the timers are a heap by hand. Recovery: run with -r, as run.py does."""
import heapq, pickle
import bytewax.operators as op
import msgspec
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from job import *


class Timers(op.StatefulLogic):
    """One Kafka partition: its heap of (due, identity, cart) and which due time each cart is armed with."""
    def __init__(self, state):
        self.heap, self.armed = pickle.loads(state) if state else ([], {})

    def on_item(self, e):
        who, now, kind, due = e["identifiers"]["anonymous_id"], e["t"], [], None
        while self.heap and self.heap[0][0] < now - DISORDER:
            due, w, cid = heapq.heappop(self.heap)
            if self.armed.get(cid) == due:
                del self.armed[cid]
                kind.append((w, {"type": "timer", "cart_id": cid, "t": now - DISORDER}))
        if e["type"] == "ProductAdded":
            self.armed[e["body"]["cart_id"]] = now + HOUR
            heapq.heappush(self.heap, (now + HOUR, who, e["body"]["cart_id"]))
        elif e["type"] == "OrderCompleted":
            self.armed.pop(e["body"]["cart_id"], None)
        kind.append((who, e))
        return kind, self.RETAIN

    def snapshot(self):
        return pickle.dumps((self.heap, self.armed))


class Profile(op.StatefulLogic):
    def __init__(self, state):
        self.p = msgspec.json.decode(state) if state else new_profile()

    def on_item(self, item):
        who, e = item
        if e["type"] == "timer":
            trig = fire(self.p, who, e["cart_id"], e["t"])
        else:
            trig, _ = update(self.p, who, e)
            progress.tick()
        return (trig,) if trig else (), self.RETAIN

    def snapshot(self):
        return msgspec.json.encode(self.p)


flow = Dataflow("bw")
msgs = op.input("in", flow, KafkaSource([BROKER], [TOPIC], tail=True, batch_size=int(os.environ.get("BATCH", "1000"))))
parts = op.map("decode", msgs, lambda m: (str(m.partition), decode(m.value)))
timed = op.stateful("timers", parts, Timers)
byid = op.map("by_identity", timed, lambda kv: (kv[1][0], kv[1]))
trigs = op.stateful("profile", byid, Profile)
kop.output("out", op.map("enc", trigs, lambda kv: KafkaSinkMessage(kv[0].encode(), msgspec.json.encode(kv[1]))), brokers=[BROKER], topic=TRIGGERS)
