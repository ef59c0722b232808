package peer;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The rolling profile of one identity and its abandoned-cart rule, as in benchmarks/peers/job.py; its binary form. */
public final class Profile {
    static final long DAY = 86_400_000L;
    /** How long a cart is left alone, ms: an hour. */
    static final long WAIT = Long.parseLong(System.getenv().getOrDefault("WAIT_MS", "3600000"));
    private static final int DAYS = 30, VISITS = 20, PRODUCTS = 50;

    public record Visit(int schema, long time, String url) {}

    public record Line(double quantity, double price) {}

    public static final class Cart {
        String anchor; // event id of the addition that set the timer
        long due; // 0: no timer is set
        final Map<String, Line> lines = new LinkedHashMap<>();
    }

    /** What a profile asks of the framework it lives in. */
    public interface Effects {
        void arm(String cartId, long due);

        void disarm(String cartId, long due);

        void trigger(String cartId, Cart cart);
    }

    private long views, first, last;
    private final TreeMap<Integer, Integer> days = new TreeMap<>();
    private final Map<String, Cart> carts = new HashMap<>(4);
    private final ArrayDeque<Visit> timeline = new ArrayDeque<>(VISITS + 1);
    private final LinkedHashMap<String, Integer> products = new LinkedHashMap<>();

    public void apply(Event e, Effects effects) {
        if (first == 0) first = e.time();
        last = Math.max(last, e.time());
        timeline.addLast(new Visit(e.schema(), e.time(), e.url()));
        if (timeline.size() > VISITS) timeline.pollFirst();
        switch (e.kind()) {
            case PageViewed -> {
                views++;
                days.merge((int) (e.time() / DAY), 1, Integer::sum);
                if (days.size() > DAYS) days.pollFirstEntry();
            }
            case ProductViewed -> {
                Integer seen = products.remove(e.productId()); // re-insert: the map is in order of the last view
                products.put(e.productId(), seen == null ? 1 : seen + 1);
                if (products.size() > PRODUCTS) products.remove(products.keySet().iterator().next());
            }
            case ProductAdded -> {
                Cart cart = carts.computeIfAbsent(e.cartId(), id -> new Cart());
                settle(e.cartId(), cart, e.time(), effects);
                cart.lines.merge(e.productId(), new Line(e.quantity(), e.price()),
                        (had, more) -> new Line(had.quantity + more.quantity, more.price));
                cart.anchor = e.id();
                cart.due = e.time() + WAIT;
                effects.arm(e.cartId(), cart.due);
            }
            case OrderCompleted -> {
                Cart cart = carts.remove(e.cartId());
                if (cart != null) settle(e.cartId(), cart, e.time(), effects);
            }
            case Other -> {}
        }
    }

    /** A timer ends; one that is past at this event, though not yet come up (it waits for disorder), fires first. */
    private static void settle(String cartId, Cart cart, long now, Effects effects) {
        if (cart.due == 0) return;
        effects.disarm(cartId, cart.due);
        if (now > cart.due) effects.trigger(cartId, cart);
        cart.due = 0;
    }

    /** A timer came up; true if it was still the cart's own (the profile changed). */
    public boolean onTimer(String cartId, long due, Effects effects) {
        Cart cart = carts.get(cartId);
        if (cart == null || cart.due != due) return false;
        effects.trigger(cartId, cart);
        cart.due = 0;
        return true;
    }

    /** The carts whose timer is set to that moment. */
    public List<String> due(long at) {
        List<String> found = new ArrayList<>(1);
        carts.forEach((id, cart) -> {
            if (cart.due == at) found.add(id);
        });
        return found;
    }

    public byte[] toBytes() {
        Wire w = new Wire(new byte[2048]);
        w.putLong(views);
        w.putLong(first);
        w.putLong(last);
        w.putLong(days.size());
        days.forEach((day, n) -> {
            w.putLong(day);
            w.putLong(n);
        });
        w.putLong(carts.size());
        carts.forEach((id, cart) -> {
            w.putString(id);
            w.putString(cart.anchor);
            w.putLong(cart.due);
            w.putLong(cart.lines.size());
            cart.lines.forEach((product, line) -> {
                w.putString(product);
                w.putDouble(line.quantity);
                w.putDouble(line.price);
            });
        });
        w.putLong(timeline.size());
        for (Visit visit : timeline) {
            w.putLong(visit.schema);
            w.putLong(visit.time);
            w.putString(visit.url);
        }
        w.putLong(products.size());
        products.forEach((product, n) -> {
            w.putString(product);
            w.putLong(n);
        });
        return w.toBytes();
    }

    public static Profile fromBytes(byte[] bytes) {
        Wire r = new Wire(bytes);
        Profile p = new Profile();
        p.views = r.getLong();
        p.first = r.getLong();
        p.last = r.getLong();
        for (int n = r.getInt(); n > 0; n--) p.days.put(r.getInt(), r.getInt());
        for (int n = r.getInt(); n > 0; n--) {
            Cart cart = new Cart();
            p.carts.put(r.getString(), cart);
            cart.anchor = r.getString();
            cart.due = r.getLong();
            for (int m = r.getInt(); m > 0; m--) cart.lines.put(r.getString(), new Line(r.getDouble(), r.getDouble()));
        }
        for (int n = r.getInt(); n > 0; n--) p.timeline.addLast(new Visit(r.getInt(), r.getLong(), r.getString()));
        for (int n = r.getInt(); n > 0; n--) p.products.put(r.getString(), r.getInt());
        return p;
    }
}
