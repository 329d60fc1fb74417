/* A thread that ends itself several calls deep: the C library unwinds its stack through every one of them. "run leaves"
 * starts ROUNDS such threads, and says what each passed.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS 6

static volatile long sink;

__attribute__((noinline)) long ends(long n) {
    sink += n;
    if (n % 2) pthread_exit(NULL);
    return n * 10;
}

__attribute__((noinline)) long leaves(long n) { return ends(n) + 1; }

static void *thread(void *n) { return (void *)leaves((long)n); }

int main(void) {
    char line[64];
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        for (long n = 0; !strncmp(line, "run leaves", 10) && n < ROUNDS; n++) {
            pthread_t started;
            pthread_create(&started, NULL, thread, (void *)n);
            pthread_join(started, NULL);
            printf("{\"arguments\": {\"n\": %ld}, \"results\": []}\n", n);
        }
        puts("\"done\"");
        fflush(stdout);
    }
    return 0;
}
