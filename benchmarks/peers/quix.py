"""Quix Streams. Profile in the key's State; timers in per-second buckets under one extra state prefix per partition
(Quix has no timers, and its public State shows the current key only, so this asks the checkpoint for the transaction)."""
from quixstreams import Application, message_context
from job import *

app = Application(broker_address=BROKER, consumer_group=f"qx-{RUN}", auto_offset_reset="earliest", state_dir=STATE_DIR, loglevel="WARNING")
source = app.topic(TOPIC, key_deserializer="str", value_deserializer="bytes")
out = app.topic(TRIGGERS, key_serializer="str", value_serializer="json")
sdf = app.dataframe(source)


def on_event(raw, who, timestamp, headers, state):
    e = decode(raw)
    now, triggers = e["t"] - DISORDER, []
    tx = sdf.processing_context.checkpoint.get_store_transaction(stream_id=sdf.stream_id, partition=message_context().partition)
    timers = tx.as_state(prefix="__timers__", timestamp=timestamp)
    second, seen = now // 1000, timers.get("seen")
    if seen is None or second > seen:
        for s in range(seen or second, second):
            for w, cid in timers.get(f"s{s}", ()):
                other = tx.as_state(prefix=w, timestamp=timestamp)
                p = other.get("profile")
                if trig := fire(p, w, cid, now):
                    other.set("profile", p)
                    triggers.append(trig)
            timers.delete(f"s{s}")
        timers.set("seen", second)
    p = state.get("profile") or new_profile()
    trig, timer = update(p, who, e)
    state.set("profile", p)
    if trig:
        triggers.append(trig)
    if timer and timer[1]:
        bucket = f"s{timer[1] // 1000}"
        timers.set(bucket, timers.get(bucket, []) + [[who, timer[0]]])
    progress.tick()
    return triggers


sdf = sdf.apply(on_event, stateful=True, expand=True, metadata=True)
sdf = sdf.to_topic(out, key=lambda trig: trig["identity"])

if __name__ == "__main__":
    app.run()
