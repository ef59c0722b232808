package peer;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.AutoOffsetReset;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams as it comes: persistent stores (RocksDB) with changelogs, one thread, no setting changed that costs or
 * saves anything. Record caches are off, as the builder of stores has them; CACHED=1 turns them on at their default
 * size (10 MB), as the DSL has them.
 *
 * Each line on standard input, `application-id triggers-topic`, is one pass over the whole topic from an empty state:
 * the JVM needs half a million events until its code is compiled. Ends with standard input.
 */
public final class KafkaStreamsPeer {
    private static final boolean CACHED = "1".equals(System.getenv("CACHED"));

    public static void main(String[] args) throws IOException {
        MappedByteBuffer progress;
        try (FileChannel file = FileChannel.open(Path.of(System.getenv("PROGRESS")), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            progress = file.map(FileChannel.MapMode.READ_WRITE, 0, 8);
        }
        progress.order(ByteOrder.nativeOrder());
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        KafkaStreams streams = null;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (streams != null) streams.close(Duration.ofSeconds(60));
            String[] words = line.split(" ");
            streams = new KafkaStreams(topology(words[1], progress), settings(words[0]));
            streams.setUncaughtExceptionHandler(error -> {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
                return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
            });
            streams.start();
        }
        if (streams != null) streams.close(Duration.ofSeconds(20));
    }

    private static Properties settings(String application) {
        Properties p = new Properties();
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BROKER"));
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        p.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("STATE_DIR"));
        String guarantee = System.getenv("GUARANTEE");
        if (guarantee != null) p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        return p;
    }

    private static Topology topology(String triggers, MappedByteBuffer progress) {
        Serde<Profile> profiles = Serdes.serdeFrom(
                (topic, p) -> p == null ? null : p.toBytes(), (topic, b) -> b == null ? null : Profile.fromBytes(b));
        long[] done = {0};
        Runnable tick = () -> progress.putLong(0, ++done[0]); // one stream thread runs all tasks
        return new Topology()
                .addSource(AutoOffsetReset.earliest(), "events", (record, before) -> ((Event) record.value()).time(),
                        Serdes.ByteArray().deserializer(), new EventDecoder(System.getenv("REGISTRY")), System.getenv("TOPIC"))
                .addProcessor("carts", () -> new Carts(tick), "events")
                .addStateStore(store("profiles", Serdes.String(), profiles), "carts")
                .addStateStore(store("timers", Serdes.ByteArray(), Serdes.ByteArray()), "carts")
                .addSink("triggers", triggers, Serdes.String().serializer(), Serdes.ByteArray().serializer(), "carts");
    }

    private static <K, V> StoreBuilder<KeyValueStore<K, V>> store(String name, Serde<K> key, Serde<V> value) {
        StoreBuilder<KeyValueStore<K, V>> builder = Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(name), key, value);
        return CACHED ? builder.withCachingEnabled() : builder;
    }
}
