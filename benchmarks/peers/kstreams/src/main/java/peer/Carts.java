package peer;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * The job. Two stores: "profiles" by identity; "timers" in due order (key: int64 due, then identity, 0x00, cart id).
 * Each partition is a task with its own stream time, the latest event time it has read.
 */
final class Carts implements Processor<byte[], Event, String, byte[]> {
    /** Events of different people stand up to four seconds out of order: a timer waits for them. */
    private static final long DISORDER = 5_000;
    /** Event time between two looks at the timers. What is past by then fires at the next look, or the cart's next event. */
    private static final Duration TICK =
            Duration.ofMillis(Long.parseLong(System.getenv().getOrDefault("TICK_MS", "10000")));
    private static final byte[] NOTHING = {};

    private final Runnable tick;
    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<String, Profile> profiles;
    private KeyValueStore<byte[], byte[]> timers;
    private long fired; // every timer due before this has come up

    /** `tick` runs after each event. */
    Carts(Runnable tick) {
        this.tick = tick;
    }

    @Override
    public void init(ProcessorContext<String, byte[]> context) {
        this.context = context;
        profiles = context.getStateStore("profiles");
        timers = context.getStateStore("timers");
        context.schedule(TICK, PunctuationType.STREAM_TIME, now -> fireDue(now - DISORDER));
    }

    @Override
    public void process(Record<byte[], Event> record) {
        Event e = record.value();
        Profile profile = profiles.get(e.identity());
        if (profile == null) profile = new Profile();
        profile.apply(e, effects(e.identity()));
        profiles.put(e.identity(), profile);
        tick.run();
    }

    private void fireDue(long before) {
        List<byte[]> due = new ArrayList<>();
        try (KeyValueIterator<byte[], byte[]> found = timers.range(bigEndian(fired), bigEndian(before))) {
            while (found.hasNext()) {
                KeyValue<byte[], byte[]> next = found.next();
                due.add(next.key);
            }
        }
        for (byte[] key : due) {
            String[] ids = new String(key, 8, key.length - 8, UTF_8).split("\0", 2);
            Profile profile = profiles.get(ids[0]);
            long at = ByteBuffer.wrap(key).getLong();
            if (profile != null && profile.onTimer(ids[1], at, effects(ids[0]))) profiles.put(ids[0], profile);
            timers.delete(key);
        }
        fired = Math.max(fired, before);
    }

    private Profile.Effects effects(String identity) {
        return new Profile.Effects() {
            @Override
            public void arm(String cartId, long due) {
                timers.put(timerKey(due, identity, cartId), NOTHING);
            }

            @Override
            public void disarm(String cartId, long due) {
                timers.delete(timerKey(due, identity, cartId));
            }

            @Override
            public void trigger(String cartId, Profile.Cart cart) {
                // Not the event's time: the broker's retention would delete a recording's triggers within minutes.
                context.forward(new Record<>(identity, Trigger.json(identity, cartId, cart), context.currentSystemTimeMs()));
            }
        };
    }

    private static byte[] bigEndian(long time) {
        return ByteBuffer.allocate(8).putLong(time).array();
    }

    private static byte[] timerKey(long due, String identity, String cartId) {
        byte[] id = (identity + '\0' + cartId).getBytes(UTF_8);
        return ByteBuffer.allocate(8 + id.length).putLong(due).put(id).array();
    }
}
