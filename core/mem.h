/* mem* without a hosted <string.h>: the compiler provides them, a freestanding port links them. */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* Zeroes `n` bytes in a way the compiler may not remove: for secrets. */
void mem_wipe(void *p, size_t n);

/* True where the `n` bytes are equal; takes the same time whatever they hold. */
bool mem_equal_constant_time(const void *a, const void *b, size_t n);

#endif
