/* A program that calls `probed` as often as it is told on standard input, then says so.
 *
 * "call N\n" calls probed(0, ...), probed(1, ...), ... and answers "called N"; "threads T N\n" does it in T threads.
 * `probed` keeps a value over a call, so gcc -O2 begins it with `push`, which the kernel emulates.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

volatile long sink;

__attribute__((noipa)) long twice(long value) {
    sink += value;
    return value * 2;
}

__attribute__((noipa)) long probed(long index, const char *text) {
    long doubled = twice(index);
    return doubled + text[0] + index;
}

static void *calls(void *count) {
    for (long index = 0; index < (long)count; index++)
        sink += probed(index, "a literal in .rodata");
    return NULL;
}

int main(void) {
    char line[64];
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        long threads = 1, count = 0;
        if (sscanf(line, "threads %ld %ld", &threads, &count) == 2) {
            pthread_t *started = calloc((size_t)threads, sizeof *started);
            for (long each = 0; each < threads; each++)
                pthread_create(&started[each], NULL, calls, (void *)count);
            for (long each = 0; each < threads; each++)
                pthread_join(started[each], NULL);
            free(started);
        } else if (sscanf(line, "call %ld", &count) == 1) {
            calls((void *)count);
        }
        printf("called %ld\n", threads * count);
        fflush(stdout);
    }
    return 0;
}
