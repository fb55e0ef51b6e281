/* Compiler attributes, in one place. Everything else in Holdfast is plain C17. */
#ifndef CORE_COMPILER_H
#define CORE_COMPILER_H

/* The caller must look at the result. */
#define MUST_USE __attribute__((warn_unused_result))
/* printf-style checking: argument numbers of the format and of its first value. */
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
/* Runs fn(&variable) when the variable leaves its scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define UNUSED      __attribute__((unused))
#define NORETURN    __attribute__((noreturn))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The struct that embeds `member`, from a pointer to that member. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
