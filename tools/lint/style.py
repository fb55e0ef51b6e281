"""Rules of the house that a machine can check (CONTRIBUTING.md)."""

import re

from writes import entry_words

FORBIDDEN = re.compile(r'\b(strcpy|strcat|sprintf|vsprintf|gets|strtok(?:_r)?|sscanf|atoi|atol|atoll|atof|'
                       r'alloca|system|popen|tmpnam|mktemp)\s*\(')
LINES_MAX = 600
LINES_COUNTED = ('.c', '.h', '.py', '.ts', '.tsx', '.js', '.mjs')
UNFINISHED = re.compile(r'\b(TO' r'DO|FIX' r'ME|XX' r'X)\b')
# The host of a package registry belongs into nobody's checkout: it differs from site to site.
REGISTRIES = re.compile(r'\b(registry\.(npm' r'js|yarn' r'pkg)\.\w+|(files\.)?py' r'(pi|thon' r'hosted)\.org|'
                        r'crates' r'\.io|proxy\.golang' r'\.org|rubygems' r'\.org|deb\.debian' r'\.org)')
# Words that programs and people rely on, and where each must stand.
PROBLEMS = 'docs/reference/problems.md'
ACTS = 'docs/reference/acts.md'


def check(tree, report):
    for source in tree.c:
        for line, match in source.find(FORBIDDEN.pattern):
            report(source.path, line, 0, f'{match.group(1)}() is not used here: take snprintf() with a '
                                         'check, a writer, or a reader')
    for path, text in tree.texts.items():
        lines = text.splitlines()
        if path.endswith(LINES_COUNTED) and len(lines) > LINES_MAX:
            report(path, LINES_MAX + 1, 0, f'{len(lines)} lines: a file is a noun of 150 to 500; split it')
        for number, line in enumerate(lines, 1):
            if UNFINISHED.search(line):
                report(path, number, 0, 'finish it, or write an issue')
            if REGISTRIES.search(line):
                report(path, number, 0, 'no names of package registries')
    _words(tree, report, PROBLEMS, _problem_codes)
    _words(tree, report, ACTS, _acts)


def _words(tree, report, page, find):
    text = tree.texts.get(page)
    seen = set()
    for source in tree.product:
        for offset, word in find(source):
            if word in seen:
                continue
            seen.add(word)
            if text is None:
                report(page, 1, 0, f'this page is missing; the first word for it is {word!r} in '
                                   f'{source.path}')
                return
            if not re.search(r'(?<![\w.-])' + re.escape(word) + r'(?![\w-])', text):
                report(source.path, source.line(offset), 0, f'{word!r} does not stand in {page}')


def _problem_codes(source):
    """The words behind a status in problem_set(), and those of the request decoders."""
    for match in re.finditer(r'\bproblem_set\s*\(([^;]*?),\s*\d{3},([^;,]*),', source.code):
        for offset, text in source.strings:
            if match.start(2) <= offset < match.end(2):
                yield offset, text
    if source.under('api/'):
        for offset, text in source.strings:
            if re.fullmatch(r'(field|query)-[a-z]+', text):
                yield offset, text


def _acts(source):
    return entry_words(source) if source.under('hub/') else ()
