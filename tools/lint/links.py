"""Every relative link in a *.md file leads somewhere: to a file or folder of this tree, and where it
names a heading, to one that is there.

    links.py [ROOT]    prints file:line: what is wrong; exit status 1 where there is anything

What stands in fenced blocks or between backticks is no link. Addresses
with a scheme are not looked at: nothing here asks the network.
"""

import os
import re
import sys
from urllib.parse import unquote

SKIPPED = {'.git', 'build', 'run', 'node_modules', '__pycache__', 'fixtures'}
FENCE = re.compile(r'^ {0,3}(`{3,}|~{3,})')
CODE = re.compile(r'(`+)(?!`).*?(?<!`)\1(?!`)')
INLINE = re.compile(r'\]\(\s*(?:<([^>]*)>|((?:[^()\s]|\([^()\s]*\))*))(?:\s+"[^"]*")?\s*\)')
DEFINITION = re.compile(r'^ {0,3}\[[^\]]+\]:\s*(?:<([^>]*)>|(\S+))')
SCHEME = re.compile(r'^[A-Za-z][A-Za-z0-9+.-]*:')
HEADING = re.compile(r'^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$')


def lines_outside_fences(text):
    """(number, line) of what is not in a fenced block."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.match(line)
        if fence is None and match:
            fence = match.group(1)
        elif fence is not None:
            if match and match.group(1).startswith(fence) and not line.strip().strip(fence[0]):
                fence = None
        else:
            yield number, line


def links(text):
    """(number, target) of every link."""
    for number, line in lines_outside_fences(text):
        bare = CODE.sub(lambda match: ' ' * len(match.group()), line)
        for pattern in (INLINE, DEFINITION):
            for match in pattern.finditer(bare):
                yield number, match.group(1) if match.group(1) is not None else match.group(2)


def anchors(text):
    """What can stand behind a # (as forges make it from headings)."""
    found = {}
    names = set()
    for _, line in lines_outside_fences(text):
        match = HEADING.match(line)
        if not match:
            continue
        words = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', match.group(1)).lower()
        name = re.sub(r'[^\w\- ]', '', words).replace(' ', '-')
        again = found.get(name, 0)
        found[name] = again + 1
        names.add(f'{name}-{again}' if again else name)
    return names


def pages(root):
    """path -> text of each page below the root, with "/"."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in sorted(files):
            if name.endswith('.md'):
                path = os.path.relpath(os.path.join(folder, name), root).replace(os.sep, '/')
                with open(os.path.join(folder, name), encoding='utf-8') as file:
                    found[path] = file.read()
    return found


def complaint(root, texts, page, target):
    """What is wrong with this link, or None."""
    if SCHEME.match(target):
        return None
    if target == '':
        return 'a link to nothing'
    if target.startswith('/'):
        return f'{target}: links inside the tree are relative'
    path, _, anchor = target.partition('#')
    place = os.path.normpath(os.path.join(os.path.dirname(page), unquote(path))) if path else page
    place = place.replace(os.sep, '/')
    if place == '..' or place.startswith('../'):
        return f'{target} leads out of the tree'
    if not os.path.exists(os.path.join(root, place)):
        return f'{target}: there is no {place}'
    if anchor and place in texts and unquote(anchor) not in anchors(texts[place]):
        return f'{target}: {place} has no heading for #{anchor}'
    return None


def check(root):
    """([(page, line, what is wrong)], how many links)"""
    texts = pages(root)
    found, seen = [], 0
    for page, text in texts.items():
        for number, target in links(text):
            seen += 1
            what = complaint(root, texts, page, target)
            if what is not None:
                found.append((page, number, what))
    return found, seen


def main(arguments):
    here = os.path.dirname(os.path.abspath(__file__))
    root = arguments[1] if len(arguments) > 1 else os.path.join(here, '..', '..')
    found, seen = check(root)
    for page, line, what in found:
        print(f'{page}:{line}: {what}')
    if seen == 0:
        print(f'{root}: no links to check here', file=sys.stderr)
        return 2
    print(f'{seen} links, {len(found)} broken')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
