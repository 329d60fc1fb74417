/* The program with a thousand functions: what is attached to and detached from at once.
 *
 * "flat N" and "warm N" call the last of them N times -> "N <ns for all>".
 */
#include <stdio.h>
#include <time.h>

volatile long total;

__attribute__((noipa)) long add(long number) {
    total += number;
    return total;
}

#define ONE(digits) \
    __attribute__((noipa)) long f_##digits(long number) { return add(number) + number; }
#define TEN(digits) \
    ONE(digits##0) ONE(digits##1) ONE(digits##2) ONE(digits##3) ONE(digits##4) \
    ONE(digits##5) ONE(digits##6) ONE(digits##7) ONE(digits##8) ONE(digits##9)
#define HUNDRED(digits) \
    TEN(digits##0) TEN(digits##1) TEN(digits##2) TEN(digits##3) TEN(digits##4) \
    TEN(digits##5) TEN(digits##6) TEN(digits##7) TEN(digits##8) TEN(digits##9)
HUNDRED(0) HUNDRED(1) HUNDRED(2) HUNDRED(3) HUNDRED(4) HUNDRED(5) HUNDRED(6) HUNDRED(7) HUNDRED(8) HUNDRED(9)

static long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000L + at.tv_nsec;
}

int main(void) {
    char line[80];
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        long count = 0;
        sscanf(line, "%*s %ld", &count);
        long start = now();
        for (long call = 0; call < count; call++)
            f_999(call);
        printf("%ld %ld\n", count, now() - start);
        fflush(stdout);
    }
    return 0;
}
