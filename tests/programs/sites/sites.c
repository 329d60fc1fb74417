/* One function for each way in which a compiler begins one. The program calls them with values that it cannot foresee and
 * says of each call what it passed and what came back; "run NAME" on standard input calls NAME, "done" ends the answer.
 */
#include <alloca.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTSIDE __attribute__((noinline, visibility("default")))
#define ROUNDS 6

struct pair { long x, y; };
struct wide { long values[5]; const char *name; };
struct node { long value; struct node *next; };

static volatile long sink;
static volatile uint64_t seed;

OUTSIDE long other(long n) { sink += n; return n ^ 5; }
OUTSIDE void nothing(void) { sink++; }

OUTSIDE long leaf(long a, long b) { return a * 3 + b; }
OUTSIDE long constant(long a) { (void)a; return 7; }
OUTSIDE void empty(long a) { (void)a; }
OUTSIDE long keeps(long a, const char *text) { long n = other(a); return n + text[0] + a; }
OUTSIDE long calls_first(long a, long b) { nothing(); return a - b; }
OUTSIDE long swaps(long a, long b) { return leaf(b, a) + 1; }
OUTSIDE long tail_call(long a, long b) { return leaf(b, a); }
OUTSIDE long early(long a, struct node *list) {
    if (!list) return a;
    long sum = 0, low = a, high = -a;
    for (; list; list = list->next) {
        sum += other(list->value) + low + other(high);
        low ^= sum;
        high += low;
    }
    return sum + low + high;
}
OUTSIDE long early_twice(long a, long b, long c) {
    if (a < 0) return b;
    if (b > 100) return c;
    long sum = 0;
    for (long i = 0; i < 3; i++) sum += other(a + i) * other(b - i) + other(c);
    return sum;
}
OUTSIDE unsigned long loop_head(unsigned long n) {
    while (n > 100) n -= n / 3;
    return n;
}
OUTSIDE long tail_recursive(long n, long total) { return n <= 0 ? total : tail_recursive(n - 1, total + n); }
OUTSIDE long recursive(long n) { return n <= 0 ? 1 : recursive(n - 1) + other(n); }
OUTSIDE long many(long a, long b, long c, long d, long e, long f, long g, long h) {
    return other(a + b) + c + d + e + f + g + other(h);
}
OUTSIDE long by_value(struct wide w, int after) {
    w.values[1] += after;
    return other(w.values[0]) + w.values[1];
}
OUTSIDE long small_value(struct pair p, int after) { return other(p.x) + p.y + after; }
OUTSIDE struct wide returns_wide(long a, long b) {
    struct wide w = {{a, b, a ^ b, other(a), 4}, "wide"};
    return w;
}
OUTSIDE long variadic(int count, ...) {
    va_list given;
    long sum = 0;
    va_start(given, count);
    for (int i = 0; i < count; i++) sum += va_arg(given, long);
    va_end(given);
    return sum;
}
OUTSIDE long sized(int n, long b) {
    char *room = alloca((size_t)n);
    memset(room, n, (size_t)n);
    sink += room[n / 2];
    return other(b) + room[0];
}
OUTSIDE long large_frame(int n, long b) {
    volatile long room[4000];
    room[n] = b;
    return other(room[n]) + n;
}
OUTSIDE long frame_only(long a, long b) {
    volatile long room[3] = {a, b, 9};
    nothing();
    return room[0] + room[1] + room[2];
}
OUTSIDE long writes_first(struct pair *p, long v) {
    p->x = v;
    if (v > 3) p->y = other(v);
    return p->y;
}
OUTSIDE long writes_through(long *p, long v, long w) {
    *p = w;
    return v > w ? other(*p) : v;
}
OUTSIDE int narrow(signed char a, unsigned short b, unsigned char c, int d) {
    return a == 5 ? b : c > 9 ? (int)other(d) : a + d;
}
OUTSIDE long text(const char *s) {
    long n = 0;
    while (*s) n += *s++;
    return n;
}
OUTSIDE long chosen(int n, long b) {
    switch (n) {
    case 0: return other(b);
    case 1: return b * 2;
    case 2: nothing(); return b;
    case 3: return other(b) - 1;
    case 4: return b % 7;
    case 5: nothing(); nothing(); return -b;
    default: return 0;
    }
}
OUTSIDE double floats(double a, long n) { return n > 2 ? a * (double)other(n) : a; }
OUTSIDE long clobbers(long a, long b, long c) {
    a = b + c;
    b = a * c;
    return a > b ? other(a) : b;
}

static long any(void) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (long)(seed >> 33) % 41 - 20;
}

/* A call that no optimiser can leave out, work out beforehand or give another convention. */
#define VIA(function) ({ __typeof__(&function) volatile through = &function; through; })
#define BEGIN(...) do { printf("{\"arguments\": {"); printf(__VA_ARGS__); } while (0)
#define END(...) do { printf("}, \"result\": "); printf(__VA_ARGS__); printf("}\n"); } while (0)
#define CALLED(name) (!strcmp(asked, #name))

static void run(const char *asked) {
    seed = 42;
    for (int round = 0; round < ROUNDS; round++) {
        long a = any(), b = any(), c = any(), d = any();
        struct node second = {c, NULL}, first = {b, &second};
        struct pair p = {a, b};
        struct wide w = {{a, b, c, d, 5}, "wide name"};
        static const char *const texts[] = {"", "a", "hello", "several words of it", "x", "yz"};
        const char *t = texts[round];
        if (CALLED(leaf)) { long r = VIA(leaf)(a, b); BEGIN("\"a\": %ld, \"b\": %ld", a, b); END("%ld", r); }
        if (CALLED(constant)) { long r = VIA(constant)(a); BEGIN("\"a\": %ld", a); END("%ld", r); }
        if (CALLED(empty)) { VIA(empty)(a); BEGIN("\"a\": %ld", a); END("null"); }
        if (CALLED(keeps)) { long r = VIA(keeps)(a, t); BEGIN("\"a\": %ld, \"text\": \"%s\"", a, t); END("%ld", r); }
        if (CALLED(calls_first)) { long r = VIA(calls_first)(a, b); BEGIN("\"a\": %ld, \"b\": %ld", a, b); END("%ld", r); }
        if (CALLED(swaps)) { long r = VIA(swaps)(a, b); BEGIN("\"a\": %ld, \"b\": %ld", a, b); END("%ld", r); }
        if (CALLED(tail_call)) { long r = VIA(tail_call)(a, b); BEGIN("\"a\": %ld, \"b\": %ld", a, b); END("%ld", r); }
        if (CALLED(early)) {
            struct node *list = round % 2 ? &first : NULL;
            long r = VIA(early)(a, list);
            BEGIN("\"a\": %ld, \"list\": ", a);
            if (list) printf("{\"value\": %ld, \"next\": {\"value\": %ld, \"next\": null}}", b, c); else printf("null");
            END("%ld", r);
        }
        if (CALLED(early_twice)) { long r = VIA(early_twice)(a, b * 20, c); BEGIN("\"a\": %ld, \"b\": %ld, \"c\": %ld", a, b * 20, c); END("%ld", r); }
        if (CALLED(loop_head)) { unsigned long n = (unsigned long)(a * a * 9), r = VIA(loop_head)(n); BEGIN("\"n\": %lu", n); END("%lu", r); }
        if (CALLED(tail_recursive)) {
            VIA(tail_recursive)(round * 3, b);
            for (long n = round * 3, total = b; n >= 0; total += n--) { BEGIN("\"n\": %ld, \"total\": %ld", n, total); END("null"); }
        }
        if (CALLED(recursive)) { if (round == 0) { VIA(recursive)(7); for (long n = 7; n >= 0; n--) { BEGIN("\"n\": %ld", n); END("null"); } } }
        if (CALLED(many)) {
            long r = VIA(many)(a, b, c, d, a + 1, b + 1, c + 1, d + 1);
            BEGIN("\"a\": %ld, \"b\": %ld, \"c\": %ld, \"d\": %ld, \"e\": %ld, \"f\": %ld, \"g\": %ld, \"h\": %ld", a, b, c, d, a + 1, b + 1, c + 1, d + 1);
            END("%ld", r);
        }
        if (CALLED(by_value)) {
            long r = VIA(by_value)(w, (int)c);
            BEGIN("\"w\": {\"values\": [%ld, %ld, %ld, %ld, 5], \"name\": \"wide name\"}, \"after\": %ld", a, b, c, d, c);
            END("%ld", r);
        }
        if (CALLED(small_value)) { long r = VIA(small_value)(p, (int)c); BEGIN("\"p\": {\"x\": %ld, \"y\": %ld}, \"after\": %ld", a, b, c); END("%ld", r); }
        if (CALLED(returns_wide)) {
            struct wide r = VIA(returns_wide)(a, b);
            BEGIN("\"a\": %ld, \"b\": %ld", a, b);
            END("{\"values\": [%ld, %ld, %ld, %ld, %ld], \"name\": \"%s\"}", r.values[0], r.values[1], r.values[2], r.values[3], r.values[4], r.name);
        }
        if (CALLED(variadic)) { long r = VIA(variadic)(3, a, b, c); BEGIN("\"count\": 3"); END("%ld", r); }
        if (CALLED(sized)) { int n = 20 + round * 1000; long r = VIA(sized)(n, b); BEGIN("\"n\": %d, \"b\": %ld", n, b); END("%ld", r); }
        if (CALLED(large_frame)) { long r = VIA(large_frame)(round * 600, b); BEGIN("\"n\": %d, \"b\": %ld", round * 600, b); END("%ld", r); }
        if (CALLED(frame_only)) { long r = VIA(frame_only)(a, b); BEGIN("\"a\": %ld, \"b\": %ld", a, b); END("%ld", r); }
        if (CALLED(writes_first)) { long r = VIA(writes_first)(&p, c); BEGIN("\"p\": {\"x\": %ld, \"y\": %ld}, \"v\": %ld", a, b, c); END("%ld", r); }
        if (CALLED(writes_through)) { long v = a, r = VIA(writes_through)(&v, b, c); BEGIN("\"p\": %ld, \"v\": %ld, \"w\": %ld", a, b, c); END("%ld", r); }
        if (CALLED(narrow)) {
            int r = VIA(narrow)((signed char)a, (unsigned short)b, (unsigned char)c, (int)d);
            BEGIN("\"a\": %d, \"b\": %d, \"c\": %d, \"d\": %d", (signed char)a, (unsigned short)b, (unsigned char)c, (int)d);
            END("%d", r);
        }
        if (CALLED(text)) { long r = VIA(text)(t); BEGIN("\"s\": \"%s\"", t); END("%ld", r); }
        if (CALLED(chosen)) { long r = VIA(chosen)(round, b); BEGIN("\"n\": %d, \"b\": %ld", round, b); END("%ld", r); }
        if (CALLED(floats)) { VIA(floats)((double)a, b); BEGIN("\"n\": %ld", b); END("null"); }
        if (CALLED(clobbers)) { long r = VIA(clobbers)(a, b, c); BEGIN("\"a\": %ld, \"b\": %ld, \"c\": %ld", a, b, c); END("%ld", r); }
    }
}

int main(void) {
    char line[64];
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "run ", 4)) run(line + 4);
        puts("\"done\"");
        fflush(stdout);
    }
    return 0;
}
