/* Calls functions with every kind of C argument and says of each call what went in and what came out, as JSON, one
   line a call; text as hex. "run NAME" on standard input, answered by the calls and "done". */
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP __attribute__((noinline, noclone, externally_visible))

enum color { RED = 0, GREEN = 5, BLUE = -3 };

struct pair { int32_t a; int32_t b; };

struct flags { unsigned low : 3; int mid : 13; unsigned high : 16; uint64_t wide : 40; };

union number { uint64_t u; int32_t i; unsigned char raw[8]; };

struct shape {
    char name[16];
    enum color color;
    struct flags flags;
    union number number;
    const char *text;
    struct shape *next;
    uint16_t grid[2][3];
    struct { int x, y; };
    double ratio;
    unsigned char digest[4];
};

KEEP int64_t ints(int8_t a, uint16_t b, int32_t c, uint64_t d, signed char e, long f, short g, uint32_t h) {
    __asm__ volatile("");
    return a + b + c + (int64_t)d + e + f + g + h;
}

KEEP struct pair pairs(struct pair p, int64_t n) {
    __asm__ volatile("");
    struct pair q = {p.b, (int32_t)n};
    return q;
}

KEEP int shapes(struct shape *s, enum color c, const char *text) {
    __asm__ volatile("");
    return s ? (int)strlen(text ? text : "") + (int)c : -1;
}

KEEP int by_value(struct shape s, int after) {
    __asm__ volatile("");
    return s.x + after;
}

KEEP const char *texts(const char *a, char *b) {
    __asm__ volatile("");
    return a ? a : b;
}

KEEP int recurse(int n) {
    __asm__ volatile("");
    return n <= 0 ? 1 : n * recurse(n - 1);
}

static jmp_buf out;

KEEP int jumps(int n) {
    __asm__ volatile("");
    if (n % 2) longjmp(out, 1);
    return n * 10;
}

static void hex(const char *text) {
    if (!text) { printf("null"); return; }
    printf("{\"$s\": \"");
    for (; *text; text++) printf("%02x", (unsigned char)*text);
    printf("\"}");
}

static const char *color(enum color c) {
    return c == RED ? "RED" : c == GREEN ? "GREEN" : c == BLUE ? "BLUE" : NULL;
}

static void shown(const struct shape *s, int depth) {
    if (!s) { printf("null"); return; }
    if (!depth) { printf("{\"$deep\": true}"); return; }
    printf("{\"name\": ");
    hex(s->name);
    printf(", \"color\": ");
    if (color(s->color)) hex(color(s->color)); else printf("{\"$s\": \"3939\"}");
    printf(", \"flags\": {\"low\": %u, \"mid\": %d, \"high\": %u, \"wide\": %llu}", s->flags.low, s->flags.mid, s->flags.high,
           (unsigned long long)s->flags.wide);
    printf(", \"number\": {\"u\": %llu, \"i\": %d, \"raw\": \"", (unsigned long long)s->number.u, s->number.i);
    for (int i = 0; i < 8; i++) printf("%02x", s->number.raw[i]);
    printf("\"}, \"text\": ");
    hex(s->text);
    printf(", \"next\": ");
    shown(s->next, depth - 1);
    printf(", \"grid\": [[%u, %u, %u], [%u, %u, %u]], \"x\": %d, \"y\": %d", s->grid[0][0], s->grid[0][1], s->grid[0][2],
           s->grid[1][0], s->grid[1][1], s->grid[1][2], s->x, s->y);
    uint64_t bits;
    memcpy(&bits, &s->ratio, 8);
    printf(", \"ratio\": {\"$f\": \"%016llx\"}, \"digest\": \"%02x%02x%02x%02x\"}", (unsigned long long)bits, s->digest[0],
           s->digest[1], s->digest[2], s->digest[3]);
}

static struct shape made(int i, struct shape *next) {
    static const char *words[] = {"", "short", "na\xc3\xafve", "\xff bad"};
    struct shape s;
    memset(&s, 0, sizeof s);
    snprintf(s.name, sizeof s.name, "shape %d", i);
    s.color = i == 0 ? RED : i == 1 ? GREEN : i == 2 ? BLUE : (enum color)99;
    s.flags.low = i; s.flags.mid = -i * 100; s.flags.high = 65535 - i; s.flags.wide = 0xffffffffffULL - i;
    s.number.u = 0x8877665544332211ULL + i;
    s.text = i == 3 ? NULL : words[i];
    s.next = next;
    for (int j = 0; j < 6; j++) s.grid[j / 3][j % 3] = 100 * i + j;
    s.x = -i; s.y = i * 7; s.ratio = i / 3.0;
    s.digest[0] = 0xde; s.digest[3] = i;
    return s;
}

static void run(const char *name) {
    static char lengthy[6000];
    memset(lengthy, 'y', sizeof lengthy - 1);
    if (!strcmp(name, "ints")) {
        int64_t edges[] = {0, 1, -1, INT64_MAX, INT64_MIN, 0x0123456789abcdefLL};
        for (int i = 0; i < 6; i++) {
            int64_t n = edges[i];
            int64_t r = ints((int8_t)n, (uint16_t)n, (int32_t)n, (uint64_t)n, (signed char)n, n, (short)n, (uint32_t)n);
            printf("{\"arguments\": {\"a\": %d, \"b\": %u, \"c\": %d, \"d\": %llu, \"e\": %d, \"f\": %lld, \"g\": %d, \"h\": %u}, \"results\": [%lld]}\n",
                   (int8_t)n, (uint16_t)n, (int32_t)n, (unsigned long long)n, (signed char)n, (long long)n, (short)n, (uint32_t)n, (long long)r);
        }
    } else if (!strcmp(name, "pairs")) {
        for (int i = 0; i < 4; i++) {
            struct pair p = {-i, i * 1000000}, q = pairs(p, -5 * i);
            printf("{\"arguments\": {\"p\": {\"a\": %d, \"b\": %d}, \"n\": %d}, \"results\": [{\"a\": %d, \"b\": %d}]}\n", p.a, p.b, -5 * i, q.a, q.b);
        }
    } else if (!strcmp(name, "shapes") || !strcmp(name, "by_value")) {
        struct shape chain[4];
        for (int i = 0; i < 4; i++) chain[i] = made(i, i ? &chain[i - 1] : NULL);
        for (int i = -1; i < 4; i++) {
            struct shape *s = i < 0 ? NULL : &chain[i];
            if (!strcmp(name, "shapes")) {
                enum color c = i == 1 ? GREEN : BLUE;
                const char *text = i == 2 ? NULL : "some text";
                int r = shapes(s, c, text);
                printf("{\"arguments\": {\"s\": ");
                shown(s, 3);
                printf(", \"c\": ");
                hex(color(c));
                printf(", \"text\": ");
                hex(text);
                printf("}, \"results\": [%d]}\n", r);
            } else if (s) {
                int r = by_value(*s, 3);
                printf("{\"arguments\": {\"s\": ");
                shown(s, 4);
                printf(", \"after\": 3}, \"results\": [%d]}\n", r);
            }
        }
    } else if (!strcmp(name, "texts")) {
        char local[] = "on the stack";
        const char *given[] = {"in rodata", "", NULL, local, lengthy, lengthy + 5000, "caf\xc3\xa9"};
        for (int i = 0; i < 7; i++) {
            const char *r = texts(given[i], local);
            printf("{\"arguments\": {\"a\": ");
            hex(given[i]);
            printf(", \"b\": ");
            hex(local);
            printf("}, \"results\": [");
            hex(r);
            printf("]}\n");
        }
    } else if (!strcmp(name, "recurse")) {
        recurse(5);
    } else if (!strcmp(name, "jumps")) {
        for (volatile int n = 0; n < 8; n++)
            if (!setjmp(out)) jumps(n);
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
