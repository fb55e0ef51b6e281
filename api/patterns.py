"""`pattern` of the contract as a list of steps that C walks without ever going back.

Taken is a part of ECMA-262: `^`, then characters, escapes and classes, each perhaps with a quantifier,
then `$`. No groups and no alternatives. Where a run could end at more than one place (`^[a-z]*[a-f]$`)
the pattern is refused, for then taking as much as fits could be wrong.
"""

from dataclasses import dataclass

from strict_yaml import fail

UNBOUNDED = 0xFFFFFFFF
_CLASS_ESCAPES = {'d': '0123456789'}
_LITERAL_ESCAPES = set('.\\/-+*?()[]{}^$|')


@dataclass(frozen=True)
class Step:
    ascii: frozenset  # of code points below 128
    other: bool       # and all beyond
    min: int
    max: int

    def meets(self, step):
        return bool(self.ascii & step.ascii) or (self.other and step.other)


class _Parser:
    def __init__(self, pattern):
        self.pattern = pattern
        self.rest = str(pattern)

    def fail(self, message):
        fail(self.pattern, f'pattern {str(self.pattern)!r}: {message}')

    def take(self):
        if not self.rest:
            self.fail('it ends too early')
        c, self.rest = self.rest[0], self.rest[1:]
        if ord(c) > 126 or ord(c) < 32:
            self.fail('only printable ASCII is taken; use \\xHH')
        return c

    def character(self):
        """One character, escaped or not."""
        c = self.take()
        if c != '\\':
            return ord(c)
        c = self.take()
        if c == 'x':
            digits = self.take() + self.take()
            value = int(digits, 16) if all(d in '0123456789abcdefABCDEF' for d in digits) else 128
            if value > 127:
                self.fail('\\x is for ASCII')
            return value
        if c not in _LITERAL_ESCAPES:
            self.fail(f'the escape \\{c} is not supported')
        return ord(c)

    def escaped_class(self):
        if len(self.rest) > 1 and self.rest[0] == '\\' and self.rest[1] in _CLASS_ESCAPES:
            members = _CLASS_ESCAPES[self.rest[1]]
            self.rest = self.rest[2:]
            return {ord(c) for c in members}
        return None

    def set(self):
        """A [...] class, behind its bracket."""
        negated = self.rest.startswith('^')
        if negated:
            self.take()
        members = set()
        while not self.rest.startswith(']'):
            escaped = self.escaped_class()
            if escaped is not None:
                members |= escaped
                continue
            low = high = self.character()
            if self.rest.startswith('-') and not self.rest.startswith('-]'):
                self.take()
                high = self.character()
                if high < low:
                    self.fail('a range runs backwards')
            members |= set(range(low, high + 1))
        self.take()
        if not members:
            self.fail('a class is empty')
        return (frozenset(range(128)) - members, True) if negated else (frozenset(members), False)

    def atom(self):
        escaped = self.escaped_class()
        if escaped is not None:
            return frozenset(escaped), False
        if self.rest.startswith('['):
            self.take()
            return self.set()
        if self.rest and self.rest[0] in '.*+?(){}|^$':
            self.fail(f'{self.rest[0]!r} is not supported here')
        return frozenset({self.character()}), False

    def quantifier(self):
        if not self.rest or self.rest[0] not in '*+?{':
            return 1, 1
        c = self.take()
        if c != '{':
            counts = {'*': (0, UNBOUNDED), '+': (1, UNBOUNDED), '?': (0, 1)}[c]
        else:
            text = ''
            while not self.rest.startswith('}'):
                text += self.take()
            self.take()
            low, comma, high = text.partition(',')
            if not low.isdigit() or (high and not high.isdigit()):
                self.fail(f'the quantifier {{{text}}} is not supported')
            if comma:
                counts = (int(low), int(high) if high else UNBOUNDED)
            else:
                counts = (int(low), int(low))
        if counts[0] > counts[1] or counts[1] == 0:
            self.fail('a quantifier takes nothing')
        if self.rest[:1] in ('?', '+', '*', '{'):
            self.fail('lazy, possessive and repeated quantifiers are not supported')
        return counts

    def steps(self):
        if not self.rest.startswith('^') or not self.rest.endswith('$'):
            self.fail('it must begin with ^ and end in $')
        self.rest = self.rest[1:]
        steps = []
        while self.rest != '$':
            members, other = self.atom()
            low, high = self.quantifier()
            steps.append(Step(members, other, low, high))
        if not steps:
            self.fail('it takes nothing')
        return steps


def compile_pattern(pattern):
    """A list of Step, or ContractError."""
    parser = _Parser(pattern)
    steps = parser.steps()
    for i, step in enumerate(steps):
        if step.min == step.max:
            continue
        for later in steps[i + 1:]:
            if step.meets(later):
                parser.fail('a run in it could end at more than one place')
            if later.min > 0:
                break
    return steps
