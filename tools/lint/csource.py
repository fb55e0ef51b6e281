"""C source as far as the laws need it: code without comments, texts, includes, functions, calls.

Functions are found by the house style (clang-format): their braces stand in the first column.
"""

import os
import re
from dataclasses import dataclass, field

_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(<[^>\n]+>|"[^"\n]+")', re.M)
_FUNCTION = re.compile(r'^(?P<head>[A-Za-z_][^;{}#]*?\b(?P<name>[A-Za-z_]\w*)\s*\([^;{}]*\))\s*\n\{\n'
                       r'(?P<body>.*?)^\}', re.M | re.S)
_CALL = re.compile(r'\b([A-Za-z_]\w*)\s*\(')
_KEYWORDS = {'if', 'for', 'while', 'switch', 'return', 'sizeof', 'defined'}


@dataclass
class Function:
    name: str
    line: int
    body: str   # code without comments and the insides of texts
    start: int  # offset of the body in the file
    head: str   # result, name and parameters

    def calls(self):
        return [m.group(1) for m in _CALL.finditer(self.body) if m.group(1) not in _KEYWORDS]


@dataclass
class Source:
    path: str        # from the root, with "/"
    text: str
    code: str = ''   # of the same length: comments and the insides of texts are blanks
    strings: list = field(default_factory=list)   # (offset, inside)
    includes: list = field(default_factory=list)  # (line, name, is system's)
    functions: list = field(default_factory=list)

    def __post_init__(self):
        self.code = _TOKEN.sub(self._blank, self.text)
        for match in _INCLUDE.finditer(self.text):
            if self.code[match.start():match.start(1)].strip():  # not inside a comment
                name = match.group(1)
                self.includes.append((self.line(match.start(1)), name[1:-1], name[0] == '<'))
        for match in _FUNCTION.finditer(self.code):
            self.functions.append(Function(match.group('name'), self.line(match.start('name')),
                                           match.group('body'), match.start('body'),
                                           match.group('head')))

    def _blank(self, match):
        token = match.group()
        if token[0] == '"':
            self.strings.append((match.start(), token[1:-1]))
            return '"' + ' ' * (len(token) - 2) + '"'
        if token[0] == "'":
            return "'" + ' ' * (len(token) - 2) + "'"
        return re.sub(r'[^\n]', ' ', token)

    def line(self, offset):
        return self.text.count('\n', 0, offset) + 1

    def find(self, pattern):
        """(line, match) of a pattern in the code."""
        for match in re.finditer(pattern, self.code):
            yield self.line(match.start()), match

    def under(self, *places):
        """Is it in one of these folders ("pki/"), or does its path begin so ("base/tls")?"""
        return self.path.startswith(places)


class Tree:
    """The C sources below a root, and what else is written by people."""

    SKIPPED = {'.git', 'build', 'node_modules', 'run', '__pycache__', 'fixtures', 'corpus', 'vectors'}
    TEXTS = ('.c', '.h', '.py', '.ts', '.tsx', '.js', '.mjs', '.sh', '.md', '.yaml', '.build', '.txt')
    NOT_OURS = ('tests/', 'fuzz/', 'bench/', 'tools/', 'console/', 'packaging/', 'docs/', 'man/')

    def __init__(self, root):
        self.root = root
        self.texts = {}   # path -> contents
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(f for f in folders if f not in self.SKIPPED)
            for name in sorted(files):
                path = os.path.relpath(os.path.join(folder, name), root).replace(os.sep, '/')
                if name.endswith(self.TEXTS) or name in ('Makefile', 'package-lock.json'):
                    with open(os.path.join(root, path), encoding='utf-8', errors='replace') as file:
                        self.texts[path] = file.read()
        self.c = [Source(path, text) for path, text in self.texts.items() if path.endswith(('.c', '.h'))]
        # what is built into programs, as against what tests and measures them
        self.product = [s for s in self.c if not s.under(*self.NOT_OURS)]

    def source(self, path):
        return next((s for s in self.c if s.path == path), None)


def functions_of(sources):
    """name -> [(source, function)]: statics of two files may share a name, so all are kept."""
    found = {}
    for source in sources:
        for function in source.functions:
            found.setdefault(function.name, []).append((source, function))
    return found


def reachable(functions, start):
    """The functions that `start` comes to by calls, itself included: [(source, function)]."""
    seen, queue, result = {start}, [start], []
    while queue:
        for source, function in functions.get(queue.pop(), []):
            result.append((source, function))
            for name in function.calls():
                if name in functions and name not in seen:
                    seen.add(name)
                    queue.append(name)
    return result
