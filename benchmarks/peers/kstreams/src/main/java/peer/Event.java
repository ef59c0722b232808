package peer;

/**
 * What the job keeps of one event. `schema` is the id of the schema it was written with, which stands for its type in
 * stored profiles; `cartId` and below are set for the types whose body the job looks into.
 */
public record Event(
        int schema, Kind kind, String id, long time, String identity, String url,
        String cartId, String productId, double quantity, double price) {

    /** The types that the job treats apart; every other one only enters the timeline. */
    public enum Kind {
        PageViewed, ProductViewed, ProductAdded, OrderCompleted, Other;

        static Kind named(String record) {
            for (Kind kind : values()) if (kind.name().equals(record)) return kind;
            return Other;
        }
    }
}
