"""Naive: Faust agent, profile as one JSON value in Redis, timers in a ZSET per partition."""
import faust, msgspec
import redis.asyncio as redis
from job import *

app = faust.App(f"fr-{RUN}", broker=f"kafka://{BROKER}", datadir=STATE_DIR, web_enabled=False, topic_disable_leader=True)
source = app.topic(TOPIC, key_serializer="raw", value_serializer="raw")
out = app.topic(TRIGGERS, key_serializer="raw", value_serializer="json")
db = redis.Redis.from_url(REDIS)
dec, enc = msgspec.json.decode, msgspec.json.encode
CHECK_MS = int(os.environ.get("CHECK_MS", "1000"))  # event time between two looks at the ZSET; 0 = at each event


async def fire_due(part, now):
    for member in await db.zrangebyscore(f"timers:{part}", "-inf", f"({now}"):
        who, cid = member.decode().split("|")
        p = dec(await db.get(f"profile:{who}"))
        if trig := fire(p, who, cid, now):
            await out.send(key=who.encode(), value=trig)
            await db.set(f"profile:{who}", enc(p))
        await db.zrem(f"timers:{part}", member)


@app.agent(source)
async def events(stream):
    checked = {}
    async for event in stream.events():
        e, part = decode(event.value), event.message.partition
        who = e["identifiers"]["anonymous_id"]
        if e["t"] - checked.get(part, 0) >= CHECK_MS:
            checked[part] = e["t"]
            await fire_due(part, e["t"] - DISORDER)
        raw = await db.get(f"profile:{who}")
        p = dec(raw) if raw else new_profile()
        trig, timer = update(p, who, e)
        if trig:
            await out.send(key=who.encode(), value=trig)
        await db.set(f"profile:{who}", enc(p))
        if timer:
            cid, due = timer
            if due:
                await db.zadd(f"timers:{part}", {f"{who}|{cid}": due})
            else:
                await db.zrem(f"timers:{part}", f"{who}|{cid}")
        progress.tick()


if __name__ == "__main__":
    app.main()
