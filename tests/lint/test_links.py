"""tools/lint/links.py finds what leads nowhere, and only that."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
LINT = os.path.join(HERE, '..', '..', 'tools', 'lint')
sys.path.insert(0, LINT)
sys.dont_write_bytecode = True

import links  # noqa: E402

TREE = {
    'README.md': '# One `two` & three\n\n## Same\n\n## Same\n',
    'docs/page.md': '# Page\n',
    'docs/a (b).md': '',
    'src/main.c': '',
}
GOOD = [
    '[x](page.md)',
    '[x](../README.md)',
    '[x](../docs/)',
    '[x](../src/main.c)',
    '[x](page.md#page)',
    '[x](../README.md#one-two--three)',
    '[x](../README.md#same) [y](../README.md#same-1)',
    '[x](#here)\n\n# Here',
    '[x](<a (b).md>)',
    '[x](a%20(b).md)',
    '[x](page.md "a title")',
    '[![x](page.md)](../README.md)',
    '[x]: page.md',
    '[x](https://example.org/nothing) <https://example.org> [y](mailto:a@example.org)',
    '`[x](nothing.md)` and ``[x](nothing`.md)``',
    '```sh\n[x](nothing.md)\n```',
    '````\n```\n[x](nothing.md)\n```\n````',
    '~~~\n[x](nothing.md)\n~~~',
    '[not a link] (nothing.md)',
]
BAD = [
    '[x](nothing.md)',
    '[x](../nothing/)',
    '[x](page.md) [y](nothing.c)',
    '[x](page.md#nothing)',
    '[x](#nothing)',
    '[x](../README.md#same-2)',
    '[x](/docs/page.md)',
    '[x](../../elsewhere.md)',
    '[x]()',
    '[x]: nothing.md',
    '![x](nothing.png)',
    '```\ncode\n```\n[x](nothing.md)',
    '`code` [x](nothing.md) `code`',
]


class Links(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        for path, text in TREE.items():
            self.write(path, text)

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)

    def test_what_leads_somewhere(self):
        for text in GOOD:
            with self.subTest(text=text):
                self.write('docs/new.md', text + '\n')
                self.assertEqual(links.check(self.root)[0], [])

    def test_what_leads_nowhere(self):
        for text in BAD:
            with self.subTest(text=text):
                self.write('docs/new.md', text + '\n')
                found, seen = links.check(self.root)
                self.assertGreater(seen, 0)
                self.assertEqual({page for page, _, _ in found}, {'docs/new.md'})
                self.assertGreater(len(found[0][2]), 10)

    def test_the_line_is_named(self):
        self.write('docs/new.md', 'a\n```\nb\n```\n[x](nothing.md)\n')
        self.assertEqual([f[:2] for f in links.check(self.root)[0]], [('docs/new.md', 5)])

    def test_what_is_built_is_passed_over(self):
        self.write('build/new.md', '[x](nothing.md)\n')
        self.write('run/new.md', '[x](nothing.md)\n')
        self.assertEqual(links.check(self.root)[0], [])

    def test_the_command(self):
        def run():
            return subprocess.run([sys.executable, '-B', os.path.join(LINT, 'links.py'), self.root],
                                  capture_output=True, text=True, check=False)
        self.assertEqual(run().returncode, 2)
        self.write('docs/new.md', '[x](page.md)\n')
        good = run()
        self.assertEqual((good.returncode, good.stdout), (0, '1 links, 0 broken\n'))
        self.write('docs/new.md', '[x](nothing.md)\n')
        bad = run()
        self.assertEqual(bad.returncode, 1)
        self.assertIn('docs/new.md:1: nothing.md: there is no docs/nothing.md', bad.stdout)


if __name__ == '__main__':
    unittest.main()
