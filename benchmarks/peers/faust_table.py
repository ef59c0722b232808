"""Idiomatic Faust: profile in a Table (RocksDB or memory, changelog on), timers in a heap rebuilt from the Table."""
import heapq
from collections import defaultdict
import faust
from job import *

app = faust.App(f"ft-{RUN}", broker=f"kafka://{BROKER}", datadir=STATE_DIR, web_enabled=False, topic_disable_leader=True,
                store=os.environ.get("STORE", "rocksdb://"), topic_partitions=4)
source = app.topic(TOPIC, key_serializer="raw", value_serializer="raw")
out = app.topic(TRIGGERS, key_serializer="raw", value_serializer="json")
profiles = app.Table("profiles", partitions=4)
due = defaultdict(list)  # partition -> heap of (due, identity, cart); the profile says which are still armed


@profiles.on_recover
async def rebuild():
    import zlib
    due.clear()
    for who, p in profiles.items():
        for cid, cart in p["carts"].items():
            if cart["due"]:
                heapq.heappush(due[zlib.crc32(who.encode()) % 4], (cart["due"], who, cid))


@app.agent(source)
async def events(stream):
    async for event in stream.events():
        e, heap = decode(event.value), due[event.message.partition]
        who, now = e["identifiers"]["anonymous_id"], e["t"]
        while heap and heap[0][0] < now - DISORDER:
            _, w, cid = heapq.heappop(heap)
            p = profiles.get(w)
            if trig := fire(p, w, cid, now - DISORDER):
                profiles[w] = p
                await out.send(key=w.encode(), value=trig)
        p = profiles.get(who) or new_profile()
        trig, timer = update(p, who, e)
        profiles[who] = p
        if trig:
            await out.send(key=who.encode(), value=trig)
        if timer and timer[1]:
            heapq.heappush(heap, (timer[1], who, timer[0]))
        progress.tick()


if __name__ == "__main__":
    app.main()
