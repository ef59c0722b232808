package peer;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/**
 * Flink: one keyed function with a profile in ValueState and event-time timers, in a local MiniCluster, parallelism 1, a
 * checkpoint every ten seconds. STATE says where the profiles lie: `hashmap` (the heap) or `rocksdb`. The source makes a
 * watermark a partition and takes their minimum, less the disorder that the other peers wait for.
 *
 * Each line on standard input, `application-id triggers-topic`, is one pass over the whole topic from an empty state:
 * the JVM needs half a million events until its code is compiled. Ends with standard input.
 */
public final class FlinkPeer {
    private static final Duration DISORDER = Duration.ofSeconds(5);
    private static MappedByteBuffer progress;
    private static long done; // one task runs the function

    public static void main(String[] args) throws Exception {
        try (FileChannel file = FileChannel.open(Path.of(System.getenv("PROGRESS")), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            progress = file.map(FileChannel.MapMode.READ_WRITE, 0, 8);
        }
        progress.order(ByteOrder.nativeOrder());
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        JobClient job = null;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (job != null) job.cancel().get();
            done = 0;
            String[] words = line.split(" ");
            job = start(words[0], words[1]);
        }
        if (job != null) job.cancel().get();
        System.exit(0); // threads of the MiniCluster linger
    }

    private static JobClient start(String application, String triggers) throws Exception {
        String state = System.getenv("STATE"), broker = System.getenv("BROKER");
        Configuration conf = new Configuration();
        conf.set(StateBackendOptions.STATE_BACKEND, state);
        conf.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, state.equals("rocksdb"));
        conf.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        conf.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY,
                new File(System.getenv("STATE_DIR"), application).getAbsoluteFile().toURI().toString());
        conf.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(256));
        conf.set(PipelineOptions.OBJECT_REUSE, true);
        conf.set(PipelineOptions.GENERIC_TYPES, false); // no silent Kryo

        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(1, conf);
        env.enableCheckpointing(10_000, CheckpointingMode.AT_LEAST_ONCE);
        KafkaSource<Event> source = KafkaSource.<Event>builder()
                .setBootstrapServers(broker)
                .setTopics(System.getenv("TOPIC"))
                .setGroupId(application)
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setDeserializer(new AvroEvents(System.getenv("REGISTRY")))
                .build();
        KafkaSink<byte[]> sink = KafkaSink.<byte[]>builder()
                .setBootstrapServers(broker)
                .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
                .setRecordSerializer(KafkaRecordSerializationSchema.<byte[]>builder()
                        .setTopic(triggers)
                        .setValueSerializationSchema(new AsItIs())
                        .build())
                .build();
        env.fromSource(source, WatermarkStrategy.<Event>forBoundedOutOfOrderness(DISORDER)
                        .withTimestampAssigner((e, kafka) -> e.time()), "events")
                .keyBy(Event::identity)
                .process(new Carts())
                .sinkTo(sink);
        return env.executeAsync(application);
    }

    private static final class AsItIs implements SerializationSchema<byte[]> { // of a lambda Flink can't tell the type
        @Override
        public byte[] serialize(byte[] bytes) {
            return bytes;
        }
    }

    private static final class AvroEvents implements KafkaRecordDeserializationSchema<Event> {
        private final String registry;
        private transient EventDecoder avro;

        AvroEvents(String registry) {
            this.registry = registry;
        }

        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Event> out) {
            if (avro == null) avro = new EventDecoder(registry);
            out.collect(avro.deserialize(record.topic(), record.value()));
        }

        @Override
        public TypeInformation<Event> getProducedType() {
            return TypeInformation.of(Event.class);
        }
    }

    private static final class Carts extends KeyedProcessFunction<String, Event, byte[]> {
        private transient ValueState<Profile> state;

        @Override
        public void open(OpenContext context) {
            state = getRuntimeContext().getState(new ValueStateDescriptor<>("profile", new ProfileSerializer()));
        }

        @Override
        public void processElement(Event e, Context ctx, Collector<byte[]> out) throws IOException {
            Profile profile = state.value();
            if (profile == null) profile = new Profile();
            profile.apply(e, effects(profile, ctx, out));
            state.update(profile);
            progress.putLong(0, ++done);
        }

        @Override
        public void onTimer(long due, OnTimerContext ctx, Collector<byte[]> out) throws IOException {
            Profile profile = state.value();
            boolean changed = false;
            for (String cartId : profile.due(due)) changed |= profile.onTimer(cartId, due, effects(profile, ctx, out));
            if (changed) state.update(profile);
        }

        private static Profile.Effects effects(Profile profile, Context ctx, Collector<byte[]> out) {
            return new Profile.Effects() {
                @Override
                public void arm(String cartId, long due) {
                    ctx.timerService().registerEventTimeTimer(due);
                }

                @Override
                public void disarm(String cartId, long due) {
                    for (String other : profile.due(due)) if (!other.equals(cartId)) return; // one timer for both
                    ctx.timerService().deleteEventTimeTimer(due);
                }

                @Override
                public void trigger(String cartId, Profile.Cart cart) {
                    out.collect(Trigger.json(ctx.getCurrentKey(), cartId, cart));
                }
            };
        }
    }

    /** As the profile's own binary form, after its length. */
    public static final class ProfileSerializer extends TypeSerializerSingleton<Profile> {
        @Override
        public boolean isImmutableType() {
            return false;
        }

        @Override
        public Profile createInstance() {
            return new Profile();
        }

        @Override
        public Profile copy(Profile from) {
            return Profile.fromBytes(from.toBytes());
        }

        @Override
        public Profile copy(Profile from, Profile reuse) {
            return copy(from);
        }

        @Override
        public int getLength() {
            return -1;
        }

        @Override
        public void serialize(Profile profile, DataOutputView target) throws IOException {
            byte[] bytes = profile.toBytes();
            target.writeInt(bytes.length);
            target.write(bytes);
        }

        @Override
        public Profile deserialize(DataInputView source) throws IOException {
            byte[] bytes = new byte[source.readInt()];
            source.readFully(bytes);
            return Profile.fromBytes(bytes);
        }

        @Override
        public Profile deserialize(Profile reuse, DataInputView source) throws IOException {
            return deserialize(source);
        }

        @Override
        public void copy(DataInputView source, DataOutputView target) throws IOException {
            int length = source.readInt();
            target.writeInt(length);
            target.write(source, length);
        }

        @Override
        public TypeSerializerSnapshot<Profile> snapshotConfiguration() {
            return new Snapshot();
        }

        public static final class Snapshot extends SimpleTypeSerializerSnapshot<Profile> {
            public Snapshot() {
                super(ProfileSerializer::new);
            }
        }
    }
}
