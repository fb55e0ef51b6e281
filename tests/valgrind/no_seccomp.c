/* For runs under Valgrind, which knows no seccomp(2): a libseccomp that takes every filter and
 * loads none. Preloaded by run.sh, and part of nothing that is installed. */
#include <seccomp.h>

scmp_filter_ctx seccomp_init(uint32_t action)
{
    static int filter;
    (void)action;
    return &filter;
}

int seccomp_rule_add(scmp_filter_ctx ctx, uint32_t action, int call, unsigned int n, ...)
{
    (void)ctx;
    (void)action;
    (void)call;
    (void)n;
    return 0;
}

int seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int call, unsigned int n,
                           const struct scmp_arg_cmp *args)
{
    (void)ctx;
    (void)action;
    (void)call;
    (void)n;
    (void)args;
    return 0;
}

int seccomp_attr_set(scmp_filter_ctx ctx, enum scmp_filter_attr attribute, uint32_t value)
{
    (void)ctx;
    (void)attribute;
    (void)value;
    return 0;
}

int seccomp_load(const scmp_filter_ctx ctx)
{
    (void)ctx;
    return 0;
}

void seccomp_release(scmp_filter_ctx ctx)
{
    (void)ctx;
}
