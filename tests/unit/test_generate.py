"""api/generate.py: it is stable, and it refuses what it does not understand.

Run with a Python that has PyYAML: /usr/bin/python3 -B tests/unit/test_generate.py
"""

import os
import random
import re
import subprocess
import sys
import tempfile
import unittest

API = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'api')
sys.path.insert(0, API)
sys.dont_write_bytecode = True

from generate import generate  # noqa: E402
from patterns import UNBOUNDED, compile_pattern  # noqa: E402
from strict_yaml import ContractError, Text, read  # noqa: E402

with open(os.path.join(API, 'openapi.yaml'), encoding='utf-8') as file:
    CONTRACT = file.read()

# A contract of one operation with everything that requests may hold.
SMALL = r"""
openapi: 3.1.0
info: {title: t, version: 1.0.0}
paths:
  /v1/things/{thing}:
    parameters:
      - {name: thing, in: path, required: true, schema: {$ref: '#/components/schemas/Name'}}
    put:
      operationId: thing_put
      summary: s
      description: d
      x-holdfast-listeners: [local]
      x-holdfast-caller: local
      x-holdfast-rate: operator
      x-holdfast-tenant: own
      x-holdfast-body-limit: 4096
      security: [{localSocket: []}]
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 9, default: 5}}
      requestBody:
        required: true
        content:
          application/json:
            schema: {$ref: '#/components/schemas/Thing'}
      responses:
        '204': {description: d}
        '400': {description: d}
        '401': {description: d}
        '403': {description: d}
        '404': {description: d}
        '413': {description: d}
        '415': {description: d}
        '429': {description: d}
        '500': {description: d}
        '503': {description: d}
components:
  securitySchemes:
    localSocket: {type: http, scheme: peer-credentials, description: d}
  schemas:
    Name: {type: string, pattern: '^[a-z]+$', maxLength: 9}
    Word: {type: string, enum: [one, two]}
    Inner:
      type: object
      additionalProperties: false
      properties:
        when: {type: string, format: date-time}
    Thing:
      type: object
      additionalProperties: false
      required: [name]
      properties:
        name: {$ref: '#/components/schemas/Name'}
        word: {$ref: '#/components/schemas/Word'}
        count: {type: integer, minimum: 0, maximum: 7}
        inner: {$ref: '#/components/schemas/Inner'}
"""


class Stability(unittest.TestCase):
    def test_same_bytes_everywhere(self):
        outputs = []
        for seed, folder in (('0', '/'), ('1', API), ('4711', tempfile.gettempdir())):
            with tempfile.TemporaryDirectory() as out:
                env = dict(os.environ, PYTHONHASHSEED=seed, LC_ALL='C')
                subprocess.run([sys.executable, '-B', os.path.join(API, 'generate.py'),
                                os.path.join(API, 'openapi.yaml'), out],
                               check=True, cwd=folder, env=env)
                made = {}
                for name in sorted(os.listdir(out)):
                    with open(os.path.join(out, name), 'rb') as made_file:
                        made[name] = made_file.read()
                outputs.append(made)
        self.assertEqual(sorted(outputs[0]), ['requests.c', 'requests.h', 'routes.c', 'routes.h'])
        self.assertEqual(outputs[0], outputs[1])
        self.assertEqual(outputs[0], outputs[2])
        self.assertNotIn(b'/work', b''.join(outputs[0].values()))

    def test_comments_and_order_of_keys_change_nothing(self):
        turned = SMALL.replace("    Name: {type: string, pattern: '^[a-z]+$', maxLength: 9}",
                               "    # a comment\n    Name: {maxLength: 9, pattern: '^[a-z]+$', type: string}")
        self.assertNotEqual(turned, SMALL)
        self.assertEqual(generate(SMALL), generate(turned))

    def test_absent_differs_from_given(self):
        header = generate(SMALL)['requests.h']
        self.assertIn('bool has_count;\n    int64_t count;', header)
        self.assertIn('bool has_inner;\n    struct request_inner inner;', header)
        self.assertNotIn('has_name', header)   # required
        self.assertNotIn('has_limit', header)  # has a default

    def test_failure_is_told_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as out:
            path = os.path.join(out, 'bad.yaml')
            with open(path, 'w', encoding='utf-8') as bad:
                bad.write(SMALL.replace('maximum: 7', 'maximum: 7, multipleOf: 2'))
            done = subprocess.run([sys.executable, '-B', os.path.join(API, 'generate.py'), path, out],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"bad\.yaml: line \d+: .*'multipleOf' is not supported")
            self.assertEqual(os.listdir(out), ['bad.yaml'])


# (what is replaced, by what, what the error must say)
REFUSED = [
    # YAML
    ('openapi: 3.1.0', 'openapi: 3.1.0\nopenapi: 3.1.0', "'openapi' is repeated"),
    ('enum: [one, two]', 'enum: [one, two], enum: [one]', "'enum' is repeated"),
    ('{type: string, enum: [one, two]}', '&x {type: string, enum: [one, two]}', 'anchors'),
    ('maximum: 7', 'maximum: !!int 7', 'tags'),
    ('openapi: 3.1.0', '--- {}\n---\nopenapi: 3.1.0', 'more than one document'),
    ('openapi: 3.1.0', 'openapi: [3.1.0', 'not YAML'),
    ('openapi: 3.1.0', 'openapi: 3.0.3', 'OpenAPI 3.1.0'),
    # keywords that would be limits nobody enforces
    ('maximum: 7', 'maximum: 7, multipleOf: 2', "'multipleOf' is not supported"),
    ('maximum: 7', 'exclusiveMaximum: 7', "'exclusiveMaximum' is not supported"),
    ('maximum: 7', 'maximum: 7, pattern: x', "'pattern' is not supported"),
    ('enum: [one, two]', 'enum: [one, two], const: one', "'const' is not supported"),
    ('type: integer, minimum: 0', 'type: number, minimum: 0', "'number' is not supported"),
    ('type: integer, minimum: 0', 'type: [integer, "null"], minimum: 0', "'type' is missing or malformed"),
    ('format: date-time', 'format: uuid', "'uuid' is not supported"),
    ('info: {title: t,', 'info: {title: t, x-more: y,', "'x-more' is not supported"),
    ('      summary: s', '      summary: s\n      deprecated: true', "'deprecated' is not supported"),
    ("'204': {description: d}", "'204': {description: d, links: {}}", "'links' is not supported"),
    ("'204': {description: d}", "default: {description: d}", 'is no status'),
    # references
    ("schema: {$ref: '#/components/schemas/Thing'}", "schema: {$ref: '#/components/schemas/Thin'}",
     'there is no #/components/schemas/Thin'),
    ("schema: {$ref: '#/components/schemas/Thing'}", "schema: {$ref: 'other.yaml#/Thing'}",
     'must begin with #/components/schemas/'),
    ("{$ref: '#/components/schemas/Word'}", "{$ref: '#/components/schemas/Word', description: x}",
     'nothing may stand beside $ref'),
    ('when: {type: string, format: date-time}', "again: {$ref: '#/components/schemas/Inner'}",
     'circle: Inner -> Inner'),
    ('when: {type: string, format: date-time}', "again: {$ref: '#/components/schemas/Thing'}",
     'circle: Inner -> Thing -> Inner'),
    ('when: {type: string, format: date-time}',
     "again: {type: array, maxItems: 2, items: {$ref: '#/components/schemas/Thing'}}", 'circle'),
    # limits
    ("pattern: '^[a-z]+$', maxLength: 9", "pattern: '^[a-z]+$'", "'maxLength'"),
    ("pattern: '^[a-z]+$', maxLength: 9", 'maxLength: 9', "'pattern' is missing"),
    ("pattern: '^[a-z]+$', maxLength: 9", "pattern: '^[a-z]+$', maxLength: 0x9", 'must be a whole number'),
    ("pattern: '^[a-z]+$', maxLength: 9", "pattern: '^[a-z]+$', maxLength: 9, minLength: 10",
     'do not agree'),
    ('minimum: 0, maximum: 7', 'maximum: 7', "'minimum'"),
    ('minimum: 0, maximum: 7', 'minimum: 8, maximum: 7', 'do not agree'),
    ('minimum: 0, maximum: 7', 'minimum: 0, maximum: 9007199254740992', 'do not agree'),
    ('minimum: 1, maximum: 9, default: 5', 'minimum: -1, maximum: 9', 'do not agree'),
    ('default: 5', 'default: 10', 'the default is out of range'),
    ('additionalProperties: false\n      required', 'required', 'additionalProperties: false'),
    ('required: [name]', 'required: [nome]', "'nome' is required and not among"),
    ('required: [name]', 'required: [name, name]', 'twice'),
    ('required: [name]', 'required: [name]\n      oneOf: [{required: [word, count]}]', 'oneOf is supported as'),
    ('required: [name]', 'required: [name]\n      oneOf: [{required: [nome]}]', "oneOf names 'nome'"),
    ('enum: [one, two]', 'enum: [one, one]', 'twice'),
    ('enum: [one, two]', 'enum: [a-b, "a_b"]', 'letters, digits and dashes'),
    ('inner: {$ref: \'#/components/schemas/Inner\'}',
     'inner: {type: object, additionalProperties: false, properties: {a: {$ref: "#/components/schemas/Name"}}}',
     'must be a component of its own'),
    ('inner: {$ref: \'#/components/schemas/Inner\'}',
     'inner: {type: array, maxItems: 3, items: {$ref: "#/components/schemas/Name"}}',
     'arrays of requests hold components'),
    ('inner: {$ref: \'#/components/schemas/Inner\'}',
     'inner: {type: array, items: {$ref: "#/components/schemas/Inner"}}', "'maxItems'"),
    ('inner: {$ref: \'#/components/schemas/Inner\'}', 'has_inner: {type: integer, minimum: 0, maximum: 1}',
     'does not go in C'),
    # operations
    ('x-holdfast-rate: operator', 'x-holdfast-rate: fast', "no rate class 'fast'"),
    ('x-holdfast-tenant: own', 'x-holdfast-tenant: all', 'x-holdfast-tenant is one of'),
    ('      x-holdfast-tenant: own\n', '', "'x-holdfast-tenant' is missing"),
    ('x-holdfast-caller: local', 'x-holdfast-caller: anybody', "caller 'anybody'"),
    ('x-holdfast-caller: local', 'x-holdfast-caller: {device: device}', 'do not agree'),
    ('x-holdfast-listeners: [local]', 'x-holdfast-listeners: [lan]', "listener 'lan'"),
    ('x-holdfast-caller: local', 'x-holdfast-caller: public', 'security must be []'),
    ('security: [{localSocket: []}]', 'security: []', "security must be ['localSocket']"),
    ('      x-holdfast-body-limit: 4096\n', '', "'x-holdfast-body-limit'"),
    ('x-holdfast-body-limit: 4096', 'x-holdfast-body-limit: 4194305', 'must be 1 to'),
    ('required: true\n        content', 'content', 'a body must be required'),
    ("        '429': {description: d}\n", '', 'the answer 429 is not described'),
    ("        '413': {description: d}\n", '', 'the answer 413 is not described'),
    ('in: query, schema', 'in: header, schema', 'path and query'),
    ('in: query, schema', 'in: query, x-holdfast-tail: true, schema', 'for path parameters'),
    ('/v1/things/{thing}:', '/v1/things/{thang}:', "'thang' is not described"),
    ('/v1/things/{thing}:', '/v1/things/a{thing}:', 'literal or one parameter'),
    ('operationId: thing_put', 'operationId: thingPut', "'operationId' is missing or malformed"),
]


class Refusals(unittest.TestCase):
    def test_the_small_contract_is_good(self):
        generate(SMALL)

    def test_each(self):
        for old, new, message in REFUSED:
            with self.subTest(old=old, new=new):
                changed = SMALL.replace(old, new, 1)
                self.assertNotEqual(changed, SMALL)
                with self.assertRaises(ContractError) as caught:
                    generate(changed)
                self.assertIn(message, str(caught.exception))

    def test_overlapping_paths(self):
        path = SMALL[SMALL.index('  /v1/things'):SMALL.index('components:')]
        for other, fine in [('/v1/things/mine', False), ('/v1/things/{other}/more', False),
                            ('/v1/things/{thing}/more', True), ('/v1/{thing}', False),
                            ('/v1/thinks/{thing}', True)]:
            name = re.search(r'\{(\w+)\}', other)
            copy = path.replace('/v1/things/{thing}', other).replace('thing_put', 'other_put')
            if name is None:
                copy = re.sub(r'    parameters:\n.*\n', '', copy, count=1)
            else:
                copy = copy.replace('name: thing,', f'name: {name.group(1)},')
            changed = SMALL.replace('components:', copy + 'components:', 1)
            with self.subTest(other=other):
                if fine:
                    generate(changed)
                else:
                    with self.assertRaises(ContractError) as caught:
                        generate(changed)
                    self.assertIn('overlaps', str(caught.exception))

    def test_tails_overlap_with_what_is_longer(self):
        path = SMALL[SMALL.index('  /v1/things'):SMALL.index('components:')]
        longer = path.replace('/v1/things/{thing}', '/v1/things/{thing}/more').replace('_put', '_more')
        tail = path.replace('in: path,', 'in: path, x-holdfast-tail: true,')
        for changed in (SMALL.replace(path, tail + longer), SMALL.replace(path, longer + tail)):
            with self.assertRaises(ContractError) as caught:
                generate(changed)
            self.assertIn('overlaps', str(caught.exception))
        generate(SMALL.replace(path, tail))

    def test_operation_ids_are_unique(self):
        path = SMALL[SMALL.index('  /v1/things'):SMALL.index('components:')]
        changed = SMALL.replace('components:', path.replace('/things/', '/others/') + 'components:', 1)
        with self.assertRaises(ContractError) as caught:
            generate(changed)
        self.assertIn("'thing_put' comes twice", str(caught.exception))

    def test_yaml_scalars_stay_what_they_are(self):
        document = read('a: no\nb: 3.10\nc: 010\non: true\nd: null\n')
        self.assertEqual(document, {'a': 'no', 'b': '3.10', 'c': '010', 'on': 'true', 'd': 'null'})
        self.assertEqual(document['c'].line, 3)


def walk(steps, text):
    """What form.c does."""
    at = 0
    for step in steps:
        taken = 0
        while taken < step.max and at < len(text) and (
                step.other if ord(text[at]) > 127 else ord(text[at]) in step.ascii):
            at += 1
            taken += 1
        if taken < step.min:
            return False
    return at == len(text)


class Patterns(unittest.TestCase):
    GOOD = ['^[a-z]$', '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$', '^[^\\x00-\\x1F\\x7F]*$', '^a+b?c{2,3}d{2,}$',
            '^[0-9]{4}-[0-9]{2}T\\.\\d+Z$', '^[^+\\x00-\\x20]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/=]+$', '^x-?[a-f]$',
            '^[a-]*$', '^[\\]\\-]*$']
    BAD = ['a', '^a', 'a$', '^$', '^(a)$', '^a|b$', '^.$', '^[a-z]*[a-f]$', '^a*a$', '^a?[a-z]$', '^a{0}$',
           '^a{3,2}$', '^a**$', '^a+?$', '^\\w$', '^\\u00e4$', '^[z-a]$', '^[]$', '^[a$', '^a{x}$', '^ä$',
           '^\\x80$', '^[a-z]{0,3}-?[a-z]$', '^a{1,2}{3}$', '^\\b$', '^*$']

    def test_good_ones_mean_what_they_say(self):
        source = random.Random(1)
        alphabet = 'abcdfzAZ019._-+=/\\]$T äߘ\n\x7f\x1f'
        for pattern in self.GOOD:
            steps = compile_pattern(Text(pattern))
            expression = re.compile(pattern[:-1] + r'\Z', re.ASCII)
            seen = {True: 0, False: 0}
            for _ in range(4000):
                text = ''
                for step in steps:  # near what matches
                    members = [chr(c) for c in sorted(step.ascii)] + (['ä'] if step.other else [])
                    count = source.randint(step.min, min(step.max, step.min + 3))
                    text += ''.join(source.choice(members) for _ in range(count))
                for _ in range(source.choice((0, 0, 1, 2))):  # and a little off
                    at = source.randint(0, len(text))
                    text = text[:at] + source.choice(('', source.choice(alphabet))) + text[at + 1:]
                expected = expression.match(text) is not None
                seen[expected] += 1
                self.assertEqual(walk(steps, text), expected, (pattern, text))
            self.assertGreater(min(seen.values()), 50, pattern)

    def test_others_are_refused(self):
        for pattern in self.BAD:
            with self.subTest(pattern=pattern), self.assertRaises(ContractError):
                compile_pattern(Text(pattern))

    def test_unbounded(self):
        self.assertEqual(compile_pattern(Text('^a*$'))[0].max, UNBOUNDED)


class TheContract(unittest.TestCase):
    """What the issue asks of the contract itself."""

    def setUp(self):
        self.document = read(CONTRACT)

    def test_every_error_is_a_problem(self):
        for name, response in self.document['components']['responses'].items():
            if 'Problem' in str(response):
                self.assertEqual(list(response['content']), ['application/problem+json'], name)
        for path, item in self.document['paths'].items():
            for method, operation in item.items():
                for status, response in operation.get('responses', {}).items() if method != 'parameters' else ():
                    if status[0] in '45':
                        self.assertIn('$ref', response, f'{method} {path} {status}')

    def test_only_what_other_brokers_send_may_hold_more_than_is_described(self):
        loose = {name for name, schema in self.document['components']['schemas'].items()
                 if str(schema.get('additionalProperties')) == 'true'}
        taken = {re.sub('.*/', '', ref) for path, item in self.document['paths'].items()
                 if not path.startswith('/v1/hooks/')
                 for ref in re.findall(r"'(#/components/schemas/\w+)'", str(item))}
        self.assertTrue(loose)
        self.assertEqual(loose & taken, set())

    def test_only_the_local_socket_changes_anything_for_operators(self):
        for path, item in self.document['paths'].items():
            for method, operation in item.items():
                if method in ('parameters', 'get') or path.startswith(
                        ('/.well-known', '/v1/device/', '/v1/broker/', '/v1/hooks/')):
                    continue
                if operation['operationId'] == 'ocsp_ask':  # a question, too long for a path
                    continue
                self.assertEqual(operation['x-holdfast-listeners'], ['local'], f'{method} {path}')


if __name__ == '__main__':
    unittest.main()
