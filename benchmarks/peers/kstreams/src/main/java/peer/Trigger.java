package peer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.LinkedHashMap;
import java.util.Map;

/** What the job says of a cart that was left behind, as JSON. */
final class Trigger {
    private static final ObjectMapper JSON = new ObjectMapper();

    static byte[] json(String identity, String cartId, Profile.Cart cart) {
        Map<String, double[]> lines = new LinkedHashMap<>();
        cart.lines.forEach((product, line) -> lines.put(product, new double[] {line.quantity(), line.price()}));
        Map<String, Object> trigger = new LinkedHashMap<>();
        trigger.put("rule", "abandoned_cart");
        trigger.put("identity", identity);
        trigger.put("cart_id", cartId);
        trigger.put("anchor_event_id", cart.anchor);
        trigger.put("lines", lines);
        try {
            return JSON.writeValueAsBytes(trigger);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    private Trigger() {}
}
