package peer;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Arrays;

/** Growable binary writer and reader: varints, doubles and length-prefixed UTF-8 (length 0 is null, n + 1 otherwise). */
public final class Wire {
    private byte[] buf;
    private int pos;

    public Wire(byte[] buf) {
        this.buf = buf;
    }

    public byte[] toBytes() {
        return Arrays.copyOf(buf, pos);
    }

    private void room(int n) {
        if (buf.length - pos < n) buf = Arrays.copyOf(buf, Math.max(buf.length * 2, pos + n));
    }

    public void putLong(long v) {
        room(10);
        while ((v & ~0x7FL) != 0) {
            buf[pos++] = (byte) (v | 0x80);
            v >>>= 7;
        }
        buf[pos++] = (byte) v;
    }

    public void putDouble(double v) {
        room(8);
        long bits = Double.doubleToRawLongBits(v);
        for (int i = 0; i < 8; i++, bits >>>= 8) buf[pos++] = (byte) bits;
    }

    public void putString(String s) {
        if (s == null) {
            putLong(0);
            return;
        }
        byte[] b = s.getBytes(UTF_8);
        putLong(b.length + 1);
        room(b.length);
        System.arraycopy(b, 0, buf, pos, b.length);
        pos += b.length;
    }

    public long getLong() {
        long v = 0;
        for (int shift = 0; ; shift += 7) {
            byte b = buf[pos++];
            v |= (long) (b & 0x7F) << shift;
            if (b >= 0) return v;
        }
    }

    public int getInt() {
        return (int) getLong();
    }

    public double getDouble() {
        long bits = 0;
        for (int i = 0; i < 8; i++) bits |= (buf[pos++] & 0xFFL) << (8 * i);
        return Double.longBitsToDouble(bits);
    }

    public String getString() {
        int n = getInt() - 1;
        if (n < 0) return null;
        String s = new String(buf, pos, n, UTF_8);
        pos += n;
        return s;
    }
}
