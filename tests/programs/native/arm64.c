/* One function for each way in which an argument is passed on arm64. It is never run here, so it needs no library. */
struct pair { long x; int y; };
struct wide { long values[5]; };
struct doubles { double a, b; };

extern volatile long sink;
volatile long sink;

__attribute__((noinline)) long other(long n) { sink += n; return n ^ 5; }
__attribute__((noinline)) long leaf(long a, int b, signed char c) { return a * 3 + b + c; }
__attribute__((noinline)) long keeps(long a, const char *text) { long n = other(a); return n + text[0] + a; }
__attribute__((noinline)) long many(long a, long b, long c, long d, long e, long f, long g, long h, long i, int j) {
    return other(a + b) + c + d + e + f + g + h + i + j;
}
__attribute__((noinline)) long by_value(struct wide w, struct pair p, int after) { return other(w.values[0]) + p.x + p.y + after; }
__attribute__((noinline)) long floats(double a, long n, struct doubles d, float f) { return (long)(a + d.b + (double)f) + n; }
__attribute__((noinline)) struct pair small(long x, int y) { struct pair p = {other(x), y}; return p; }
__attribute__((noinline)) struct wide large(long x) { struct wide w = {{other(x), 2, 3, 4, 5}}; return w; }
__attribute__((noinline)) long early(long a, struct pair *p) {
    if (!p) return a;
    return other(p->x) * other(a) + p->y;
}
__attribute__((noinline)) long loops(long n) {
    while (n > 100) n -= n / 3;
    return n;
}
__attribute__((noinline)) long writes(long *p, long v) {
    *p = v;
    return v > 3 ? other(v) : *p;
}

int start(void) {
    struct pair p = {1, 2};
    struct wide w = {{1, 2, 3, 4, 5}};
    struct doubles d = {1, 2};
    long n = leaf(sink, 2, 3) + keeps(sink, "a") + many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10) + by_value(w, p, 3) + floats(1, 2, d, 3);
    n += small(1, 2).x + large(sink).values[1] + early(n, &p) + loops(n) + writes(&p.x, n);
    return (int)n;
}
