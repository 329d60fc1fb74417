/* The traced C program of the bench: calls `place_order` as often and as fast as it is told on standard input.
 *
 * "flat N"      N calls, one after the other       -> "N <ns for all>"
 * "paced N R T" N calls, R a second, in T threads  -> "N <ns for all>"
 * "warm N"      N calls with the id -1             -> "N <ns for all>": shows whether a probe is there
 * The function takes three integers and a string and keeps them over a call, as functions do.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

volatile long stock;

__attribute__((noipa)) long reserve(long units) {
    stock += units;
    return stock;
}

__attribute__((noipa)) long place_order(long id, long units, long cents, const char *customer) {
    long left = reserve(units);
    return left + id * cents + customer[0];
}

static long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000L + at.tv_nsec;
}

struct share {
    long count, rate, id; /* rate 0: as fast as it goes; id -1: every call has it */
};

static void *calls(void *given) {
    const struct share *share = given;
    long start = now();
    for (long call = 0; call < share->count; call++) {
        while (share->rate && now() < start + call * 1000000000L / share->rate)
            ;
        place_order(share->id ? share->id : call, 3, 1999, "Grace Hopper, Arlington");
    }
    return NULL;
}

int main(void) {
    char line[80];
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        char word[16] = "";
        long count = 0, rate = 0, threads = 1;
        sscanf(line, "%15s %ld %ld %ld", word, &count, &rate, &threads);
        struct share share = {count / threads, rate / threads, strcmp(word, "warm") ? 0 : -1};
        pthread_t started[threads];
        long start = now();
        for (long each = 1; each < threads; each++)
            pthread_create(&started[each], NULL, calls, &share);
        calls(&share);
        for (long each = 1; each < threads; each++)
            pthread_join(started[each], NULL);
        printf("%ld %ld\n", count, now() - start);
        fflush(stdout);
    }
    return 0;
}
