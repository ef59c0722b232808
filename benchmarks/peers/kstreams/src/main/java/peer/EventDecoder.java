package peer;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.util.Utf8;
import org.apache.kafka.common.serialization.Deserializer;

/**
 * Confluent-framed Avro (0x00, int32 schema id, body) to an Event. Decodes the whole record, generically, with the
 * schema it was written with: what Confluent's own deserializer does, without a package from outside Maven Central.
 */
public final class EventDecoder implements Deserializer<Event> {
    private static final int HEADER = 5;
    private static final Utf8 ANONYMOUS_ID = new Utf8("anonymous_id");

    /** A writer's schema, ready to read, and where its fields stand (-1: it has no such field). */
    private record Known(
            Event.Kind kind, GenericDatumReader<GenericRecord> reader, int id, int time, int identifiers, int context,
            int url, int body, int cart, int product, int quantity, int price) {}

    private final String registry;
    private final Map<Integer, Known> known = new HashMap<>();
    private final GenericData model = new GenericData();
    private BinaryDecoder decoder;

    public EventDecoder(String registry) {
        this.registry = registry;
        model.setFastReaderEnabled(true);
    }

    @Override
    public Event deserialize(String topic, byte[] bytes) {
        if (bytes[0] != 0) throw new IllegalArgumentException(topic + ": not a framed Avro record");
        int schema = ByteBuffer.wrap(bytes).getInt(1);
        Known of = known.computeIfAbsent(schema, this::fetch);
        GenericRecord record;
        try {
            decoder = DecoderFactory.get().binaryDecoder(bytes, HEADER, bytes.length - HEADER, decoder);
            record = of.reader.read(null, decoder);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        GenericRecord context = (GenericRecord) record.get(of.context);
        GenericRecord body = (GenericRecord) record.get(of.body);
        Object quantity = of.quantity < 0 ? null : body.get(of.quantity);
        Object price = of.price < 0 ? null : body.get(of.price);
        return new Event(
                schema, of.kind, text(record, of.id), (Long) record.get(of.time),
                ((Map<?, ?>) record.get(of.identifiers)).get(ANONYMOUS_ID).toString(),
                context == null ? null : text(context, of.url),
                text(body, of.cart), text(body, of.product),
                quantity == null ? 1 : (Double) quantity, price == null ? 0 : (Double) price);
    }

    private static String text(GenericRecord record, int field) {
        Object value = field < 0 ? null : record.get(field);
        return value == null ? null : value.toString();
    }

    private Known fetch(int number) {
        Schema schema;
        try {
            HttpRequest ask = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + number)).build();
            String answer = HttpClient.newHttpClient().send(ask, HttpResponse.BodyHandlers.ofString()).body();
            schema = new Schema.Parser().parse(new ObjectMapper().readTree(answer).get("schema").asText());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
        Event.Kind kind = Event.Kind.named(schema.getName());
        boolean cart = kind == Event.Kind.ProductAdded || kind == Event.Kind.OrderCompleted;
        boolean product = kind == Event.Kind.ProductAdded || kind == Event.Kind.ProductViewed;
        Schema context = schema.getField("context").schema().getTypes().get(1);
        Schema body = schema.getField("body").schema();
        return new Known(
                kind, new GenericDatumReader<>(schema, schema, model), place(schema, "event_id"),
                place(schema, "occurred_at"), place(schema, "identifiers"), place(schema, "context"),
                place(context, "url"), place(schema, "body"), cart ? place(body, "cart_id") : -1,
                product ? place(body, "product_id") : -1, product ? place(body, "quantity") : -1,
                product ? place(body, "price") : -1);
    }

    private static int place(Schema schema, String field) {
        Schema.Field found = schema.getField(field);
        return found == null ? -1 : found.pos();
    }
}
