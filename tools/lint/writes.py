"""Law 2, one way in, and law 3, one way out.

Checked for each `struct write_kind`: its apply() and what that calls in its domain. Calls through
pointers are not followed.
"""

import re

from csource import functions_of, reachable
from includes import REACTORS, hub_domain

# Writes without an entry: observations, which are batched, and the removal of what nothing is decided by any more.
OBSERVATIONS = {'device.seen', 'broker.seen', 'rotation.refusal', 'crl.sweep'}
# Where strangers' doings are counted and become one finding for each source and window.
AGGREGATORS = ('hub/watch/refusals.c', 'hub/api/refusals.c')

CHANGES = re.compile(r'\btx_(insert|update|delete)\s*\(')
APPENDS = re.compile(r'\b(ledger_append|act_append)\s*\(')
# In a transaction nothing waits for another process, and nothing is read past the transaction.
NOT_IN_APPLY = re.compile(r'\b((?:ipc|signer|http|tls|file|loop)_[a-z]\w*|store_(?:submit|get|list|count)|'
                          r'act_submit|act_end|sleep|usleep|nanosleep|poll|select|epoll_wait|connect|send|'
                          r'sendmsg|recv|recvmsg|open|fopen|fsync|fork)\s*\(')
SQL = re.compile(r'^\s*(SELECT\s|INSERT\s|UPDATE\s+\w+\s+SET|DELETE\s+FROM|BEGIN\b|COMMIT\b|ROLLBACK\b|'
                 r'SAVEPOINT\s|CREATE\s+(TABLE|INDEX)|PRAGMA\s)')
STRANGERS = re.compile(r'finding\b|.*[._-](refus|fail|den[iy]|limit|reject|attempt)')
# What a reactor may look at: the ledger, and where it stands in it.
REACTOR_TABLES = {'table_ledger_entry', 'table_ledger_head', 'table_ledger_node', 'table_setting'}


def check(tree, report, excepted):
    for source in tree.product:
        if not source.under('hub/store/'):
            _no_database(source, report)
        _writers(source, report)
        if source.under('hub/'):
            _strangers(source, report)
            if hub_domain(source.path) in REACTORS:
                _reactor(source, report)
    domains = {}
    for source in tree.product:
        if source.under('hub/'):
            domains.setdefault(hub_domain(source.path), []).append(source)
    for sources in domains.values():
        functions = functions_of(sources)
        for source in sources:
            for match in re.finditer(r'\bstruct write_kind \w+ = \{(.*?)\};', source.code, re.S):
                _write_kind(source, match, functions, report, excepted)
            if source.under('hub/store/'):
                continue  # a database's own steps are the transaction: they may wait for its server
            for match in re.finditer(r'\.(?:begin|savepoint|rollback|commit)\s*=\s*(\w+)', source.code):
                _in_transaction(match.group(1), 'the batch', functions, report, excepted)


def _no_database(source, report):
    for line, match in source.find(r'\b(sqlite3_\w+|PQ[a-z]\w+)\s*\('):
        report(source.path, line, 2, f'{match.group(1)}() is for hub/store/ alone: submit a write, or '
                                     'read through a store_reader')
    for offset, text in source.strings:
        if SQL.match(text):
            report(source.path, source.line(offset), 2, 'SQL is for hub/store/ alone: use its tables')


def _writers(source, report):
    domain = hub_domain(source.path) if source.under('hub/') else ''
    if domain in ('store',):
        return
    inside = bool(domain) and domain not in ('api', 'signer')
    if inside:
        return
    for line, match in source.find(r'\b(tx_(?:get|insert|update|delete)|store_submit|act_submit|'
                                   r'ledger_append|act_append)\s*\('):
        if source.path in AGGREGATORS:
            continue
        report(source.path, line, 2, f'{match.group(1)}() is for the domains of the hub: call the '
                                     'domain that this change belongs to by its public header')


def _write_kind(source, match, functions, report, excepted):
    apply = re.search(r'\.apply\s*=\s*(\w+)', match.group(1))
    line = source.line(match.start() if apply is None else match.start(1) + apply.start())
    name = next((text for offset, text in source.strings
                 if match.start() <= offset < match.end()), '')
    if apply is None or apply.group(1) not in functions:
        report(source.path, line, 2, 'a write_kind needs an .apply that stands in its own domain')
        return
    reached = [function for _, function in reachable(functions, apply.group(1))]
    changes = any(CHANGES.search(function.body) for function in reached)
    appends = any(APPENDS.search(function.body) for function in reached)
    _in_transaction(apply.group(1), repr(name), functions, report, excepted)
    if name in OBSERVATIONS and appends:
        report(source.path, line, 3, f'{name!r} is an observation and appends an entry: a peer could '
                                     'grow the log at will')
    if name not in OBSERVATIONS and changes and not appends:
        report(source.path, line, 2, f'{name!r} changes rows and appends no entry: append one in '
                                     f'{apply.group(1)}(), or list it as an observation in '
                                     'tools/lint/writes.py')


def _in_transaction(start, what, functions, report, excepted):
    for source, function in reachable(functions, start):
        for call in NOT_IN_APPLY.finditer(function.body):
            if not excepted(source.path, function.name, call.group(1)):
                report(source.path, source.line(function.start + call.start()), 2,
                       f'{call.group(1)}() runs inside the transaction of {what} (by {start}()): do it '
                       'before the write is submitted, or in done()')


def _arguments(code, start):
    """The end of the call whose "(" is the first behind `start`."""
    depth = 0
    for at in range(code.index('(', start), len(code)):
        depth += {'(': 1, ')': -1}.get(code[at], 0)
        if depth == 0:
            return at
    return len(code)


def entry_words(source):
    """(offset, text) of the names of acts that go into the ledger from this file: arguments of what
    appends, of functions that take a `verb` or `act`, and initialisers of such fields."""
    appending = {'ledger_append', 'act_append'}
    appending |= {f.name for f in source.functions if re.search(r'\bconst char \*(verb|act)\b', f.head)}
    spans = [(m.start(), m.end() + 1) for m in re.finditer(r'\.(?:act|verb)\s*=\s*"', source.code)]
    for match in re.finditer(r'\b(' + '|'.join(sorted(appending)) + r')\s*\(', source.code):
        spans.append((match.start(), _arguments(source.code, match.start())))
    for offset, text in source.strings:
        if re.fullmatch(r'[a-z_-]+\.[a-z._-]+', text) and any(a <= offset < b for a, b in spans):
            yield offset, text


def _strangers(source, report):
    if source.path in AGGREGATORS:
        return
    for offset, text in entry_words(source):
        if STRANGERS.match(text):
            report(source.path, source.line(offset), 3,
                   f'{text!r} can be triggered by strangers: count it with refusals_count(), so that it '
                   'enters as one finding for each source and window')


def _reactor(source, report):
    for line, match in source.find(r'\b(?:store_(?:get|list|count)|tx_(?:get|insert|update|delete))\s*\('
                                   r'[^;]*?\b(table_\w+)'):
        if match.group(1) not in REACTOR_TABLES:
            report(source.path, line, 3, f'{match.group(1)} is not for what reacts: read the ledger by '
                                         'a cursor of your own (ledger_read_entries)')
    for line, match in source.find(r'\.table\s*=\s*&(table_\w+)'):
        if match.group(1) not in REACTOR_TABLES:
            report(source.path, line, 3, f'{match.group(1)} is not for what reacts: read the ledger by '
                                         'a cursor of your own (ledger_read_entries)')
