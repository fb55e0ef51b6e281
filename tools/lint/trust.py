"""Law 4, keys live apart, and law 5, unknown is never pass."""

import re

from csource import functions_of, reachable

# ---- law 4

KEY_FUNCTIONS = re.compile(
    r'\b(ca_key_(?:read|new|write)|issuer_new|issue_certificate|ocsp_respond\w*|signer_keys_\w+|'
    r'PEM_(?:read|write)(?:_bio)?_(?:PKCS8)?PrivateKey\w*|PEM_(?:read|write)(?:_bio)?_PKCS8\w*|'
    r'[di]2[di]_(?:Auto)?PrivateKey\w*|[di]2[di]_PKCS8\w*|EVP_DigestSign\w*|EVP_SignFinal\w*|'
    r'EVP_PKEY_sign\w*|EVP_PKEY_keygen\w*|EVP_PKEY_generate|EVP_PKEY_Q_keygen|EVP_EC_gen|EVP_RSA_gen|'
    r'EVP_PKEY_get_raw_private_key|EVP_PKEY_new_raw_private_key\w*|X509_sign\w*|X509_REQ_sign\w*|'
    r'SSL_(?:CTX_)?use_PrivateKey\w*)\s*\(')
KEY_PLACES = ('pki/', 'trust/', 'hub/signer/', 'device/port/', 'base/tls')
KEY_FILES = re.compile(r'^[^ ]*\b(issuing|ledger|root|bundle)\.key$')
KEY_FILE_PLACES = ('pki/', 'trust/', 'hub/signer/')
KEY_HEADERS = ('pki/ca.h', 'pki/ca_files.h', 'pki/issue.h', 'pki/ocsp_responder.h')
# The signer has no network and starts nothing.
NOT_IN_SIGNER = re.compile(r'\b(socket|connect|bind|listen|accept4?|exec[lv]p?e?|execveat|fexecve|system|'
                           r'popen|posix_spawnp?|dlopen)\s*\(')
NOT_INCLUDED_BY_SIGNER = ('base/http', 'base/tls', 'api/', 'hub/store/', 'hub/ledger/', 'hub/api/')

# ---- law 5

VERIFY_NONE_PLACES = ('base/tls.c',)  # the listener that asks for no certificate
OFF_SWITCH = re.compile(r'(?i)(^|[^a-z])(insecure|(skip|no|disable|ignore)[-_ ]?(verif|validat|cert)\w*|'
                        r'verify[-_ ]?(none|off)|trust[-_ ]?(all|any)|allow[-_ ]?(invalid|any))')
SUCCESS = r'return\s+(?:true|1|ERR_NONE)\s*;'
# Functions whose whole body may not be a success.
VERDICT = re.compile(r'verify|check(?!point|in)|authenticat|authoriz|permit|allowed|is_valid|is_trusted')
# Those whose answer may not be thrown away, nor compared with one failure among many.
DECIDES = r'\w*(?:verify|authenticat|authoriz|csr_check|trust_bundle_read|' \
          r'check_(?:signature|credential|state|claim|caller|key|dates|token|chain))\w*'
# What a switch decides over, when a default in it must refuse.
DECIDED = re.compile(r'state|status|caller|authenticator|credential|proof|verdict|profile|scope|kind|role|'
                     r'policy|listener')


def check(tree, report, excepted):
    for source in tree.product:
        _keys(source, report)
        _off_switches(source, report, excepted)
        _fallbacks(source, report, excepted)
        if source.under('hub/signer/'):
            _signer(source, report)
    _signer_table(tree, report)


def _keys(source, report):
    if not source.under(*KEY_PLACES):
        for line, match in source.find(KEY_FUNCTIONS.pattern):
            report(source.path, line, 4, f'{match.group(1)}() handles a private key, which lives in '
                                         'the signer: ask it by a typed request (hub/signer/signer.h)')
    if not source.under(*KEY_FILE_PLACES):
        for offset, text in source.strings:
            if KEY_FILES.match(text):
                report(source.path, source.line(offset), 4, f'{text!r} is for pki/ and the signer alone')
    if source.under('hub/') and not source.under('hub/signer/'):
        for line, name, system in source.includes:
            if not system and name in KEY_HEADERS:
                report(source.path, line, 4, f'"{name}" handles CA keys: in the hub only the signer may')


def _signer(source, report):
    for line, match in source.find(NOT_IN_SIGNER.pattern):
        report(source.path, line, 4, f'{match.group(1)}(): the signer has no network and starts nothing')
    for line, name, system in source.includes:
        if not system and name.startswith(NOT_INCLUDED_BY_SIGNER):
            report(source.path, line, 4, f'"{name}": the signer knows neither network nor store')


def _signer_table(tree, report):
    """Every kind of request has a reader, a line that says what is checked, a handler, and the handler
    reads and checks."""
    header = tree.source('hub/signer/requests.h')
    sources = [s for s in tree.product if s.under('hub/signer/')]
    if header is None:
        if sources:
            report(sources[0].path, 1, 4, 'hub/signer/requests.h must list the requests')
        return
    enum = re.search(r'enum signer_request_kind \{(.*?)\}', header.code, re.S)
    kinds = re.findall(r'\b(SIGNER_[A-Z_]+)\b', enum.group(1)) if enum else []
    if not kinds:
        report(header.path, 1, 4, 'enum signer_request_kind must list the requests')
    functions = functions_of(sources)
    for kind in (k for k in kinds if k != 'SIGNER_REQUEST_COUNT'):
        line = header.line(header.code.index(kind))
        reader = f'{kind.lower()}_read'
        entry = _table_entry(sources, kind)
        if reader not in functions:
            report(header.path, line, 4, f'{kind} has no reader: write {reader}()')
        if entry is None:
            report(header.path, line, 4, f'{kind} has no {{kind, "what it checks", handler}} in the '
                                         'table of requests')
            continue
        where, at, checks, handler = entry
        if not checks.strip():
            report(where.path, where.line(at), 4, f'the table does not say what {kind} checks')
        called = {name for _, f in reachable(functions, handler) for name in f.calls()}
        if handler not in functions:
            report(where.path, where.line(at), 4, f'{handler}() is not a function of the signer')
        elif reader not in called or not any(re.search(r'(^|_)check|_advance$', c) for c in called):
            report(where.path, where.line(at), 4, f'{handler}() must read with {reader}() and check '
                                                  'before it signs')


def _table_entry(sources, kind):
    """(source, offset, what is checked, handler) from `{KIND, "text", handler}`."""
    for source in sources:
        for match in re.finditer(r'\{\s*(?:\.kind\s*=\s*)?' + kind + r'\s*,([^{}]*)\}', source.code):
            inside = [text for offset, text in source.strings if match.start() <= offset < match.end()]
            handler = re.findall(r'\b([a-z_]\w*)\b', re.sub(r'"[^"]*"|\.\w+\s*=', ' ', match.group(1)))
            if handler:
                return source, match.start(), ''.join(inside), handler[-1]
    return None


def _off_switches(source, report, excepted):
    if source.path not in VERIFY_NONE_PLACES:
        for line, _ in source.find(r'\bSSL_VERIFY_NONE\b'):
            report(source.path, line, 5, 'SSL_VERIFY_NONE: the other side is always verified')
    for line, match in source.find(r'\b(X509_V_FLAG_NO_CHECK_TIME|X509_VERIFY_PARAM_set_flags\s*\([^;]*'
                                   r'NO_CHECK\w*|X509_V_FLAG_NO_CHECK_\w+)'):
        report(source.path, line, 5, 'a certificate outside its dates is not valid')
    for offset, text in source.strings:
        if OFF_SWITCH.search(text) and ' ' not in text.strip():
            report(source.path, source.line(offset), 5, f'{text!r}: verification has no switch')
    for line, match in source.find(r'\(void\)\s*(' + DECIDES + r')\s*\('):
        if not excepted(source.path, match.group(1), '(void)'):
            report(source.path, line, 5, f'the verdict of {match.group(1)}() is thrown away')


def _closing(code, at, opening, closing):
    """The offset of what closes the bracket at `at`."""
    depth = 0
    for offset in range(at, len(code)):
        depth += {opening: 1, closing: -1}.get(code[offset], 0)
        if depth == 0:
            return offset
    return len(code)


def _passing_defaults(code):
    """Offsets of "default: return true" in switches that decide over a state, a caller and so on."""
    switches = []
    for match in re.finditer(r'\bswitch\s*\(', code):
        end = _closing(code, match.end() - 1, '(', ')')
        block = code.find('{', end)
        if block >= 0:
            switches.append((code[match.end():end], block, _closing(code, block, '{', '}')))
    for match in re.finditer(r'\bdefault:\s*' + SUCCESS, code):
        around = [s for s in switches if s[1] < match.start() < s[2]]
        if around and DECIDED.search(max(around, key=lambda s: s[1])[0]):
            yield match.start()


def _passes_everything(function):
    body = re.sub(r'\(void\)\s*\w+\s*;', '', function.body)
    return re.fullmatch(r'\s*' + SUCCESS + r'\s*', body) is not None


def _fallbacks(source, report, excepted):
    for offset in _passing_defaults(source.code):
        report(source.path, source.line(offset), 5, 'what is not known must not pass: name each case, '
                                                    'and let default refuse')
    for line, match in source.find(r'\b(' + DECIDES + r')\s*\([^;{}]*?\)\s*==\s*'
                                   r'(ERR_(?!NONE\b)\w+)\s*\)\s*\n?\s*(?:return|goto)'):
        report(source.path, line, 5, f'only {match.group(2)} is refused here: every verdict of '
                                     f'{match.group(1)}() but ERR_NONE must be')
    for function in source.functions:
        if VERDICT.search(function.name) and _passes_everything(function) \
                and not excepted(source.path, function.name, 'return'):
            report(source.path, function.line, 5, f'{function.name}() passes everything')
    passing = {function.name for function in source.functions if _passes_everything(function)}
    for line, match in source.find(r'\bSSL_(?:CTX_)?set_(?:cert_verify_callback|verify)\s*\(([^;]*)\);'):
        for name in sorted(passing & set(re.findall(r'\w+', match.group(1)))):
            if not VERDICT.search(name) and not excepted(source.path, name, 'return'):
                report(source.path, line, 5, f'{name}() passes every certificate')
