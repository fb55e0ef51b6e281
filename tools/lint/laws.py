"""Checks the five laws of ARCHITECTURE.md as far as source can show them, and the rules of the house.

    laws.py [ROOT]    prints file:line: law N: what to do; exit status 1 where there is anything

What each law's check can and cannot see stands at the head of its module. An exception has a reason
and stands below; one that is no longer needed is a finding itself. tests/lint/ breaks each law on
purpose and sees it caught.
"""

import os
import sys

import includes
import style
import trust
import writes
from csource import Tree

# (file, function, what): why. `what` is the call, "(void)" or "return".
EXCEPTIONS = {
    ('hub/identity/identity.c', 'row_source_get', 'store_get'):
        'reads from the loop or from the transaction; inside apply() it has the transaction',
}


class Findings:
    def __init__(self, root):
        self.root = root
        self.found = []
        self.used = set()

    def report(self, path, line, law, what):
        finding = (path, line, law, what)
        if finding not in self.found:
            self.found.append(finding)

    def excepted(self, path, function, what):
        key = (path, function, what)
        if key in EXCEPTIONS:
            self.used.add(key)
        return key in EXCEPTIONS

    def check_exceptions(self, tree):
        for path, function, what in sorted(set(EXCEPTIONS) - self.used):
            if path in tree.texts:
                self.report('tools/lint/laws.py', 1, 0,
                            f'the exception for {what} in {function}() of {path} is not needed any more')


def check(root):
    """[(path, line, law or 0 for style, what to do)]"""
    tree = Tree(root)
    findings = Findings(root)
    includes.check(tree, findings.report)
    writes.check(tree, findings.report, findings.excepted)
    trust.check(tree, findings.report, findings.excepted)
    style.check(tree, findings.report)
    findings.check_exceptions(tree)
    return sorted(findings.found), len(tree.texts)


def main(arguments):
    here = os.path.dirname(os.path.abspath(__file__))
    root = arguments[1] if len(arguments) > 1 else os.path.join(here, '..', '..')
    found, files = check(root)
    for path, line, law, what in found:
        print(f'{path}:{line}: {f"law {law}" if law else "style"}: {what}')
    if files == 0:
        print(f'{root}: nothing to check here', file=sys.stderr)
        return 2
    print(f'{files} files, {len(found)} findings')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
