"""Law 1: who may include whom."""

import re

# folder -> what it may include, from the root; the longest folder that fits counts
MAY_INCLUDE = {
    'core/': ('core/',),
    'base/': ('core/', 'base/'),
    'pki/': ('core/', 'base/', 'pki/'),
    'trust/': ('core/', 'base/', 'trust/'),
    'policy/': ('core/', 'base/', 'pki/', 'policy/'),
    'api/': ('core/', 'base/', 'api/'),
    'device/lib/': ('core/', 'device/lib/'),
    'device/port/': ('core/', 'device/lib/', 'device/port/'),
    'device/agent/': ('core/', 'base/', 'device/lib/', 'device/port/posix/', 'device/agent/'),
    'device/boot/': ('core/', 'device/boot/'),
    'verify/': ('core/', 'verify/'),
    'hub/': ('core/', 'base/', 'pki/', 'trust/', 'policy/', 'api/', 'hub/'),
    'gate/': ('core/', 'base/', 'gate/'),
    'broker/': ('core/', 'base/', 'broker/'),
    'cli/': ('core/', 'base/', 'pki/', 'trust/', 'policy/', 'cli/'),
}

FREESTANDING = ('core/', 'device/lib/')
FREESTANDING_HEADERS = {'stddef.h', 'stdint.h', 'stdbool.h', 'limits.h', 'stdarg.h'}

# which libraries stay where
LIBRARIES = [
    (r'sqlite3|libpq', ('hub/store/',), 'SQL libraries are for hub/store/ alone; use hub/store/store.h'),
    (r'openssl/', ('base/tls', 'base/crypto', 'base/jose', 'base/http_tls', 'pki/', 'trust/', 'hub/signer/',
                   'device/port/posix/', 'verify/', 'broker/'),
     'OpenSSL stays behind base/crypto.h, base/tls.h and pki/; add what you need there'),
    (r'event2/(http|bufferevent|listener)', ('base/',), 'evhttp stays behind base/http.h'),
    (r'yaml\.h', ('policy/yaml.c',), 'libyaml stays behind policy/yaml.h'),
]

# Domains of the hub from the bottom up: each may use those below it.
ORDER = ['store', 'signer', 'ledger', 'subjects', 'policy', 'access', 'identity', 'revocation', 'brokers', 'hooks', 'supply',
         'posture', 'updates', 'segments', 'telemetry', 'watch', 'api']
# Those that react to the ledger: nobody below main and api may call them (law 3).
REACTORS = ('telemetry', 'watch')
# A domain's public header is DOMAIN.h, but for these.
PUBLIC = {
    'store': ('store.h', 'rows.h',    # the interface, and what stands in it
              'copy.h'),              # and a whole one as a stream
    'ledger': ('ledger.h', 'act.h', 'archive.h'),  # the log, a write that is told to it, periods that leave
    'policy': ('policies.h',),
    'access': ('access.h', 'tokens.h'),
    'revocation': ('revocation.h', 'crl.h'),
    'watch': ('watch.h', 'refusals.h', 'responder.h'),
}


def hub_domain(path):
    """'identity' of hub/identity/enrol.c; '' of hub/main.c."""
    parts = path.split('/')
    return parts[1] if len(parts) > 2 else ''


def check(tree, report):
    for source in tree.product:
        folder = max((f for f in MAY_INCLUDE if source.path.startswith(f)), key=len, default=None)
        if folder is None:
            report(source.path, 1, 1, 'no rule says what this folder may include: move the file, or '
                                      'add the folder to ARCHITECTURE.md and tools/lint/includes.py')
            continue
        for line, name, system in source.includes:
            if system:
                _system(source, line, name, report)
            elif not name.startswith(MAY_INCLUDE[folder]):
                report(source.path, line, 1, f'{folder} may not include "{name}"; it may include '
                                             f'{", ".join(MAY_INCLUDE[folder])}, from the root')
            elif folder == 'device/port/' and name.startswith('device/port/') \
                    and name.split('/')[2] != source.path.split('/')[2]:
                report(source.path, line, 1, f'one port may not include another: "{name}"')
            elif folder == 'hub/' and name.startswith('hub/'):
                _inside_hub(source, line, name, report)
    _circles(tree, report)


def _system(source, line, name, report):
    if source.under(*FREESTANDING) and name not in FREESTANDING_HEADERS:
        report(source.path, line, 1, f'<{name}> is not freestanding: pass what is needed in as a '
                                     'function or buffer')
    for pattern, places, remedy in LIBRARIES:
        if re.match(pattern, name) and not source.under(*places):
            report(source.path, line, 1, f'<{name}> may not be included here: {remedy}')


def _inside_hub(source, line, name, report):
    mine, theirs = hub_domain(source.path), hub_domain(name)
    if mine == theirs:
        return
    if theirs == '':
        if mine != 'api':
            report(source.path, line, 1, f'"{name}" is above the domains: pass what is needed in')
        return
    if theirs not in ORDER or (mine and mine not in ORDER):
        report(source.path, line, 1, f'a domain is missing in the order of tools/lint/includes.py')
        return
    if name.split('/', 2)[2] not in PUBLIC.get(theirs, (f'{theirs}.h',)) and (mine, theirs) != ('', 'api'):
        report(source.path, line, 1, f'"{name}" is private to hub/{theirs}/: use its public header')
    if not mine:
        return
    if theirs in REACTORS and mine != 'api':
        report(source.path, line, 3, f'hub/{theirs}/ reacts, by reading the ledger with its own cursor: '
                                     'nobody calls it; append an entry and let it be read')
    elif ORDER.index(theirs) >= ORDER.index(mine):
        report(source.path, line, 1, f'hub/{mine}/ may not use hub/{theirs}/, which is above it '
                                     f'({" < ".join(ORDER)})')


def _circles(tree, report):
    known = {s.path: s for s in tree.product}
    state = {}

    def visit(path, above):
        state[path] = 'open'
        for line, name, system in known[path].includes:
            if system or name not in known:
                continue
            if state.get(name) == 'open':
                circle = above[above.index(name):] + [name]
                report(path, line, 1, 'includes run in a circle: ' + ' -> '.join(circle))
            elif name not in state:
                visit(name, above + [name])
        state[path] = 'done'

    for path in known:
        if path not in state:
            visit(path, [path])
