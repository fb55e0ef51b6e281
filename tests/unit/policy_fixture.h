/* A policy that uses every key, and reading with an arena. */
#ifndef TESTS_UNIT_POLICY_FIXTURE_H
#define TESTS_UNIT_POLICY_FIXTURE_H

#include "policy/policy.h"

/* The key of the signed-note vectors' form, of 32 bytes of 1. */
#define POLICY_FIXTURE_KEY "owner+5148c970+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"

static const char policy_fixture[] =
    "holdfast: 1\n"
    "fleet: acme-hq\n"
    "changes: {approvals: 2, loosening-key: \"" POLICY_FIXTURE_KEY "\"}\n"
    "cuts: {automatic-per-hour: 5}\n"
    "groups:\n"
    "  floor-2: {}\n"
    "  floor-1: {publish: [\"floor/{group}/{device}\"], subscribe: [\"floor/{group}/alarm\"]}\n"
    "models:\n"
    "  valve:\n"
    "    identity: {maker: acme}\n"
    "  thermo:\n"
    "    identity:\n"
    "      maker: acme\n"
    "      proof: approval\n"
    "      keys: [RSA, Ed25519]\n"
    "      lifetime: 7d\n"
    "      enrolled-lifetime: 15m\n"
    "      grace: none\n"
    "    reach: {enrolled: [], trusted: [mqtt], quarantined: [api, enrolment]}\n"
    "    publish: [\"fleet/{model}/{device}/up/#\", \"t/{tenant}\"]\n"
    "    subscribe:\n"
    "      - fleet/{model}/{device}/down/#\n"
    "    limits: {messages: 2/s, bytes: 2MiB/min, payload: 1KiB, subscriptions: unlimited,\n"
    "             connects: 3/min, stale: 90s}\n"
    "    password: true\n"
    "    cut: {will: send, retained: keep, queue: keep}\n"
    "    respond: {topics: 10/min, floods: 2/s, copies: true}\n"
    "tests:\n"
    "  - {device: thermo-1, model: thermo, group: floor-1, may-not: {subscribe: \"#\"},\n"
    "     may: {publish: [fleet/thermo/thermo-1/up/t, floor/floor-1/thermo-1]}}\n"
    "  - {device: v, model: valve, state: quarantined, tenant: other, reaches: [enrolment],\n"
    "     reaches-not: [mqtt, api]}\n"
    "tenants: {other: {models: [valve]}}\n";

#endif
