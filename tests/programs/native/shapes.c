/* One function for each way in which C passes arguments and results (x86-64 psABI, 3.2.3); main calls them all. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum colour { RED, GREEN = 5, BLUE = -1 };
typedef unsigned long word;
struct point { int32_t x, y; };
struct pair { int64_t first; char *second; };
struct large { int64_t values[5]; };
struct mixed { double d; int32_t i; };
struct flags { unsigned ready : 1; unsigned level : 3; int rest : 12; };
union number { int64_t i; double d; };
struct node { int value; struct node *next; };

#define NOINLINE __attribute__((noinline, noipa))

NOINLINE int integers(signed char a, unsigned short b, int c, long d, _Bool e, enum colour f) { return a + b + c + (int)d + e + f; }
NOINLINE int64_t many(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f, int64_t g, int64_t h) { return a + b * c + d - e + f * g + h; }
NOINLINE struct point small(struct point p, int scale) { struct point r = {p.x * scale, p.y * scale}; return r; }
NOINLINE struct pair two(struct pair p, const char *s) { p.first += (int64_t)strlen(s); return p; }
NOINLINE struct large big(struct large l, int add) { l.values[0] += add; return l; }
NOINLINE struct mixed mix(struct mixed m, float f) { m.d += f; m.i++; return m; }
NOINLINE double floats(double a, int b, float c) { return a * b + c; }
NOINLINE int flagged(struct flags *f, union number n) { return f->ready ? f->level + (int)n.i : f->rest; }
NOINLINE word sum(const struct node *list, word limit) {
    word total = 0;
    for (; list && total < limit; list = list->next)
        total += (word)list->value;
    return total;
}
NOINLINE void nothing(int unused, char *buffer) { (void)unused; buffer[0] = 'x'; }
NOINLINE unsigned char narrow(unsigned char a) { return (unsigned char)(a + 1); }
static inline __attribute__((always_inline)) int inlined(int a) { return a * 7 + 3; }
NOINLINE int inlines(int a) { return inlined(a) + inlined(a + 1); }
static NOINLINE int hidden(int a, int b) { return a ^ b; }

int main(int argc, char **argv) {
    (void)argv;
    struct node second = {2, NULL}, first = {1, &second};
    struct flags f = {1, 5, -3};
    union number n = {.i = 4};
    struct large l = {{1, 2, 3, 4, 5}};
    struct point p = {argc, 2};
    struct pair q = {argc, "q"};
    struct mixed m = {1.5, 2};
    char buffer[4] = "abc";
    nothing(1, buffer);
    printf("%d %ld %d %ld %ld %d\n", integers(-1, 2, 3, 4, 1, GREEN), many(1, 2, 3, 4, 5, 6, 7, 8), small(p, 3).x, two(q, "four").first,
           big(l, 2).values[0], mix(m, 1.5f).i);
    printf("%f %d %lu %s %d %d %d\n", floats(1.5, 2, 3), flagged(&f, n), sum(&first, 10), buffer, narrow(255), inlines(argc), hidden(argc, 6));
    return 0;
}
