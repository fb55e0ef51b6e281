"""tools/lint/laws.py catches what breaks each law, there and nowhere else.

Each folder of fixtures/ is a small source tree. A line that must be caught says `expect: law N` (or
`expect: style`); the tree `clean` has none, and comes close to each rule without breaking it.
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
LINT = os.path.join(HERE, '..', '..', 'tools', 'lint')
FIXTURES = os.path.join(HERE, 'fixtures')
sys.path.insert(0, LINT)
sys.dont_write_bytecode = True

import laws  # noqa: E402

EXPECT = re.compile(r'expect: (?:law (\d)|style)')


def expected(root):
    marks = set()
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, encoding='utf-8') as file:
                for number, line in enumerate(file, 1):
                    for match in EXPECT.finditer(line):
                        marks.add((os.path.relpath(path, root), number, int(match.group(1) or 0)))
    return marks


class Laws(unittest.TestCase):
    def test_each_tree(self):
        for tree in sorted(os.listdir(FIXTURES)):
            with self.subTest(tree=tree):
                root = os.path.join(FIXTURES, tree)
                found, files = laws.check(root)
                self.assertGreater(files, 0)
                self.assertEqual({(path, line, law) for path, line, law, _ in found}, expected(root),
                                 '\n'.join(f'{f[0]}:{f[1]}: {f[2]}: {f[3]}' for f in found))
                for finding in found:
                    self.assertGreater(len(finding[3]), 15)

    def test_each_law_is_broken_somewhere(self):
        for law in range(1, 6):
            marks = expected(os.path.join(FIXTURES, f'law{law}'))
            self.assertGreater(len(marks), 3)
            self.assertEqual({mark[2] for mark in marks}, {law})
        self.assertEqual(expected(os.path.join(FIXTURES, 'clean')), set())

    def test_each_rule_of_the_style(self):
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(os.path.join(root, 'core'))
            with open(os.path.join(root, 'core', 'long.c'), 'w', encoding='utf-8') as file:
                file.write('int x;\n' * 601)
            # in two pieces, so that this file keeps the rule itself
            with open(os.path.join(root, 'README.md'), 'w', encoding='utf-8') as file:
                file.write('# Install\nGet it from registry.npm' + 'js.org.\n')
            self.assertEqual([f[:3] for f in laws.check(root)[0]],
                             [('README.md', 2, 0), ('core/long.c', 601, 0)])

    def test_missing_pages_are_findings(self):
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(os.path.join(root, 'base'))
            with open(os.path.join(root, 'base', 'x.c'), 'w', encoding='utf-8') as file:
                file.write('int x(void)\n{\n    return problem_set(p, 400, "odd", "", "x");\n}\n')
            self.assertEqual([f[:3] for f in laws.check(root)[0]],
                             [('docs/reference/problems.md', 1, 0)])

    def test_an_exception_that_is_not_needed_is_a_finding(self):
        path = next(iter(laws.EXCEPTIONS))[0]
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.dirname(os.path.join(root, path)))
            with open(os.path.join(root, path), 'w', encoding='utf-8') as file:
                file.write('int x;\n')
            found, _ = laws.check(root)
            self.assertIn('is not needed any more', found[0][3])

    def test_the_command(self):
        def run(*arguments):
            return subprocess.run([sys.executable, '-B', os.path.join(LINT, 'laws.py'), *arguments],
                                  capture_output=True, text=True, check=False)
        good = run(os.path.join(FIXTURES, 'clean'))
        self.assertEqual(good.returncode, 0, good.stdout)
        self.assertRegex(good.stdout, r'^\d+ files, 0 findings\n$')
        bad = run(os.path.join(FIXTURES, 'law2'))
        self.assertEqual(bad.returncode, 1)
        self.assertRegex(bad.stdout, r'(?m)^hub/api/writes\.c:5: law 2: \S')
        with tempfile.TemporaryDirectory() as empty:
            self.assertEqual(run(empty).returncode, 2)


if __name__ == '__main__':
    unittest.main()
