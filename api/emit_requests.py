"""Shapes of request bodies and queries as C: requests.h and requests.c."""

import re

from contract import FORM_TYPE, number, text, texts, truth
from patterns import UNBOUNDED, compile_pattern
from strict_yaml import Map, fail

INTEGER_MAX = 2 ** 53 - 1  # what JSON carries without loss
TEXT_MAX = 262144           # a policy's
LIST_MAX = 100000
FIELDS_MAX = 32            # SHAPE_FIELDS_MAX in api/decode.h


def snake(name):
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', str(name)).lower()


def c_text(value):
    return '"' + str(value).replace('\\', '\\\\').replace('"', '\\"') + '"'


def c_word(value):
    return re.sub(r'[^A-Za-z0-9]', '_', str(value)).upper()


class Requests:
    """Collects what requests use, in the order in which it is met, so that the output is stable."""

    def __init__(self, contract):
        self.contract = contract
        self.forms = {}    # C name -> (steps, characters_min, characters_max, bytes_max, pattern)
        self.words = {}    # C name -> [text]
        self.structs = {}  # C name -> [member lines]
        self.shapes = {}   # C name -> C text of its table
        self.bodies, self.web_forms, self.queries = [], [], []
        for operation in contract.operations:
            for segment in operation.segments:
                if not isinstance(segment, str):
                    self.form(f'path {operation.path}', segment.schema, f'param_{segment.name}')
            if operation.query:
                self.queries.append(f'query_{operation.id}')
                self.query(operation)
            if operation.body_schema:
                name = f'request_{snake(operation.body_schema)}'
                form = operation.body_type == FORM_TYPE
                if name in (self.bodies if form else self.web_forms):
                    fail(None, f'{operation.path}: {operation.body_schema} is JSON here and a form there')
                readers = self.web_forms if form else self.bodies
                if name not in readers:
                    readers.append(name)
                self.object(operation.body_schema, flat=form)

    # ---- leaves

    def form(self, where, schema, name):
        """Adds a text form and gives its C name; that of a component where it is one."""
        schema, component = self.contract.resolve(schema, 'schemas')
        name = 'form_' + (snake(component) if component else name)
        if 'enum' in schema or 'format' in schema or text(where, schema, 'type') != 'string':
            fail(schema, f'{where}: a text without enum and format is expected')
        # without one a text would take line ends and terminal escapes
        pattern = text(where, schema, 'pattern')
        low = number(where, schema, 'minLength', 0)
        high = number(where, schema, 'maxLength')
        bytes_max = number(where, schema, 'x-holdfast-max-bytes', min(4 * high, TEXT_MAX))
        if not 0 <= low <= high <= TEXT_MAX or not 0 < bytes_max <= 4 * high:
            fail(schema, f'{where}: minLength, maxLength and x-holdfast-max-bytes do not agree')
        form = (tuple(compile_pattern(pattern)), low, high, bytes_max, pattern)
        if self.forms.setdefault(name, form) != form:
            fail(schema, f'{where}: two different texts are called {name}')
        return name

    def word(self, where, schema):
        schema, component = self.contract.resolve(schema, 'schemas')
        if component is None:
            fail(schema, f'{where}: an enum of a request must be a component of its own')
        if len(schema) != len({k for k in schema if k in ('type', 'enum', 'description', 'default')}):
            fail(schema, f'{where}: an enum has no other limits')
        values = texts(where, schema, 'enum')
        if not 0 < len(values) <= 32 or not all(re.fullmatch(r'[A-Za-z0-9-]+', v) for v in values):
            fail(schema, f'{where}: an enum has 1 to 32 words of letters, digits and dashes')
        if len({c_word(v) for v in values}) != len(values):
            fail(schema, f'{where}: two words of the enum have one name in C')
        name = f'api_{snake(component)}'
        self.words[name] = values
        return name

    def standard(self, where, schema, required):
        """The default of an integer or enum, as a number for C; None where there is none."""
        if 'default' not in schema:
            return None
        if required:
            fail(schema, f'{where}: what is required has no default')
        if schema['type'] == 'integer':
            value = number(where, schema, 'default')
            if not number(where, schema, 'minimum') <= value <= number(where, schema, 'maximum'):
                fail(schema, f'{where}: the default is out of range')
            return value
        if 'enum' not in schema or schema['default'] not in schema['enum']:
            fail(schema, f'{where}: a default is an integer or a word of the enum')
        return schema['enum'].index(schema['default'])

    # ---- fields

    def field(self, where, owner, struct, name, value, required, in_query=False):
        """(members of the struct, initialisers of the table) of one field."""
        schema, component = self.contract.resolve(value, 'schemas')
        kind = schema['type']
        standard = self.standard(where, schema, required)
        init = {'name': c_text(name)}
        if 'enum' in schema:
            words = self.word(where, value)
            member = [f'enum {words} {name};']
            init.update(kind='FIELD_WORD', words=f'&{words}_words')
        elif kind == 'string' and 'x-holdfast-bytes' in schema:
            size = number(where, schema, 'x-holdfast-bytes')
            pattern = '^[0-9A-Fa-f]{%d}$' % (2 * size)
            if schema.get('pattern') != pattern or number(where, schema, 'maxLength') != 2 * size:
                fail(schema, f'{where}: bytes go with the pattern {pattern} and its maxLength')
            member = [f'uint8_t {name}[{size}];']
            init.update(kind='FIELD_BYTES', max=str(size))
        elif kind == 'string' and schema.get('format') == 'date-time':
            member = [f'int64_t {name};']
            init.update(kind='FIELD_TIME')
        elif kind == 'string':
            form = self.form(where, value, f'{owner}_{name}')
            member = [f'const char *{name};']
            init.update(kind='FIELD_TEXT', form=f'&{form}')
        elif kind == 'integer':
            low, high = number(where, schema, 'minimum'), number(where, schema, 'maximum')
            if not -INTEGER_MAX <= low <= high <= INTEGER_MAX or (in_query and low < 0):
                fail(schema, f'{where}: minimum and maximum do not agree')
            member = [f'int64_t {name};']
            init.update(kind='FIELD_INTEGER', min=str(low), max=str(high))
        elif kind == 'boolean':
            member = [f'bool {name};']
            init.update(kind='FIELD_TRUTH')
        elif kind == 'array':
            member = self._array(where, name, schema, init)
        elif 'properties' in schema:
            if component is None:
                fail(schema, f'{where}: an object inside an object must be a component of its own')
            inner = self.object(component)
            member = [f'struct {inner} {name};']
            init.update(kind='FIELD_OBJECT', shape=f'&{inner}_shape')
        else:
            member = self._map(where, owner, name, schema, init)
        if in_query and init['kind'] not in ('FIELD_TEXT', 'FIELD_INTEGER', 'FIELD_WORD'):
            fail(schema, f'{where}: a query takes texts, integers and enums')
        init['offset'] = f'offsetof(struct {struct}, {name})'
        if init['kind'] in ('FIELD_LIST', 'FIELD_MAP'):
            init['number'] = f'offsetof(struct {struct}, {name}_len)'
        if required:
            init['required'] = 'true'
        elif standard is not None:
            init['standard'] = str(standard)
        else:
            member = [f'bool has_{name};'] + member
            init['flag'] = f'offsetof(struct {struct}, has_{name})'
        init.setdefault('flag', 'FIELD_NO_FLAG')
        return member, init

    def _counts(self, where, schema, what, init):
        low = number(where, schema, f'min{what}', 0)
        high = number(where, schema, f'max{what}')
        if not 0 <= low <= high <= LIST_MAX:
            fail(schema, f'{where}: min{what} and max{what} do not agree')
        init.update(min=str(low), max=str(high))

    def _array(self, where, name, schema, init):
        self._counts(where, schema, 'Items', init)
        items, component = self.contract.resolve(schema['items'], 'schemas')
        unique = truth(where, schema, 'uniqueItems')
        if 'enum' in items and unique:
            words = self.word(where, schema['items'])
            init.update(kind='FIELD_WORDS', words=f'&{words}_words')
            return [f'unsigned {name}; /* mask of 1 << enum {words} */']
        if component is None or 'properties' not in items or unique:
            fail(schema, f'{where}: arrays of requests hold components, or unique words of an enum')
        inner = self.object(component)
        init.update(kind='FIELD_LIST', shape=f'&{inner}_shape')
        return [f'struct {inner} *{name};', f'size_t {name}_len;']

    def _map(self, where, owner, name, schema, init):
        self._counts(where, schema, 'Properties', init)
        values, names = schema.get('additionalProperties'), schema.get('propertyNames')
        if not isinstance(values, Map) or not isinstance(names, Map) or 'required' in schema:
            fail(schema, f'{where}: a map needs additionalProperties and propertyNames')
        init.update(kind='FIELD_MAP', form='&' + self.form(where, values, f'{owner}_{name}_value'),
                    name_form='&' + self.form(where, names, f'{owner}_{name}_name'))
        return [f'struct text_pair *{name};', f'size_t {name}_len;']

    # ---- structs

    def object(self, component, flat=False):
        """Adds the struct of a component, inner ones first, and gives its C name. A flat one has
        no fields but those that a query can have."""
        struct = f'request_{snake(component)}'
        if struct in self.structs:
            return struct
        schema = self.contract.schemas[component]
        where = f'schema {component}'
        if schema['type'] != 'object' or schema.get('additionalProperties') not in ('false', 'true'):
            fail(schema, f'{where}: a request is an object with additionalProperties: false, or true')
        if 'maxProperties' in schema or 'propertyNames' in schema:
            fail(schema, f'{where}: maxProperties and propertyNames are for maps')
        required = texts(where, schema, 'required')
        choice = self.contract.choice(where, schema)
        fields = [(name, value, name in required) for name, value in schema['properties'].items()]
        self._struct(where, struct, snake(component), fields, choice,
                     number(where, schema, 'minProperties', 0), flat,
                     truth(where, schema, 'additionalProperties'))
        return struct

    def query(self, operation):
        fields = [(p.name, p.schema, p.required) for p in operation.query]
        self._struct(f'query of {operation.id}', f'query_{operation.id}', operation.id, fields, [], 0,
                     in_query=True)

    def _struct(self, where, struct, owner, fields, choice, fields_min, in_query=False,
                foreign=False):
        if not 0 < len(fields) <= FIELDS_MAX or fields_min > len(fields):
            fail(None, f'{where}: an object has 1 to {FIELDS_MAX} fields')
        members, table = [], []
        for name, value, required in fields:
            if not re.fullmatch(r'[a-z][a-z0-9_]*', name) or name.startswith('has_'):
                fail(name, f'{where}: the name {str(name)!r} does not go in C')
            member, init = self.field(f'{where}.{name}', owner, struct, str(name), value, required,
                                      in_query)
            members += member
            order = ('name', 'kind', 'required', 'offset', 'flag', 'number', 'min', 'max', 'standard',
                     'form', 'name_form', 'words', 'shape')
            table.append('    {' + ', '.join(f'.{k} = {init[k]}' for k in order if k in init) + '},')
        mask = sum(1 << i for i, (name, _, _) in enumerate(fields) if name in choice)
        self.structs[struct] = members
        self.shapes[struct] = '\n'.join(
            [f'static const struct field {struct}_fields[] = {{'] + table + ['};']
            + [f'static const struct shape {struct}_shape = {{',
               f'    .size = sizeof(struct {struct}),',
               f'    .fields = {struct}_fields,',
               f'    .fields_len = ARRAY_LEN({struct}_fields),']
            + ([f'    .fields_min = {fields_min},'] if fields_min else [])
            + ([f'    .choice = {mask:#x},'] if mask else [])
            + (['    .foreign = true,'] if foreign else []) + ['};'])

    # ---- C

    def functions(self):
        for name in self.bodies:
            yield name, 'struct slice body', 'decode_body', 'body'
        for name in self.web_forms:
            yield name, 'struct slice body', 'decode_web_form', 'body'
        for name in self.queries:
            yield name, 'const char *query', 'decode_query', 'query'

    def header(self):
        lines = ['/* Made from api/openapi.yaml by api/generate.py. What the structs hold and how requests',
                 ' * are refused is said in api/decode.h. */',
                 '#ifndef API_REQUESTS_H', '#define API_REQUESTS_H', '', '#include "api/decode.h"', '']
        for name, values in self.words.items():
            lines += [f'enum {name} {{']
            lines += [f'    {name.upper()}_{c_word(v)},' for v in values]
            lines += [f'    {name.upper()}_COUNT', '};',
                      f'extern const struct words {name}_words;', '']
        for name, members in self.structs.items():
            lines += [f'struct {name} {{'] + [f'    {m}' for m in members] + ['};', '']
        for name, argument, _, _ in self.functions():
            lines += [f'MUST_USE enum err {name}_read({argument}, struct arena *arena,',
                      f'    struct {name} *ret, struct problem *problem);']
        for name in self.forms:
            lines += [f'extern const struct text_form {name};']
        lines += ['', '/* X(name) for each name_read(): for tests that go through all of them. */',
                  '#define API_REQUEST_READERS(X) \\']
        bodies = self.bodies + self.web_forms
        lines += [f'    X({name}) \\' for name in bodies[:-1]] + [f'    X({bodies[-1]})']
        lines += ['#define API_QUERY_READERS(X) \\']
        lines += [f'    X({name}) \\' for name in self.queries[:-1]] + [f'    X({self.queries[-1]})']
        return '\n'.join(lines + ['', '#endif', ''])

    def source(self):
        lines = ['/* Made from api/openapi.yaml by api/generate.py. */', '#include "api/requests.h"', '']
        for name, values in self.words.items():
            lines += [f'static const char *const {name}_texts[] = {{']
            lines += [f'    [{name.upper()}_{c_word(v)}] = {c_text(v)},' for v in values]
            lines += ['};', f'const struct words {name}_words = {{{name}_texts, {name.upper()}_COUNT}};',
                      f'_Static_assert(sizeof(enum {name}) == sizeof(unsigned), "as FIELD_WORD has it");',
                      '']
        for name, form in self.forms.items():
            lines += form_lines(name, *form) + ['']
        lines += [shape + '\n' for shape in self.shapes.values()]
        for name, argument, function, passed in self.functions():
            lines += [f'enum err {name}_read({argument}, struct arena *arena, struct {name} *ret,',
                      '    struct problem *problem)', '{',
                      f'    return {function}(&{name}_shape, {passed}, arena, ret, problem);', '}', '']
        return '\n'.join(lines)


def form_lines(name, steps, low, high, bytes_max, pattern):
    lines = [f'static const struct text_step {name}_steps[] = {{']
    for step in steps:
        bits = sum(1 << c for c in step.ascii)
        lines.append(f'    {{UINT64_C({bits & (2 ** 64 - 1):#018x}), UINT64_C({bits >> 64:#018x}), '
                     f'{str(step.other).lower()}, {step.min}, '
                     + ('UINT32_MAX' if step.max == UNBOUNDED else str(step.max)) + '},')
    return lines + ['};', f'const struct text_form {name} = {{', f'    .characters_min = {low},',
                    f'    .characters_max = {high},', f'    .bytes_max = {bytes_max},',
                    f'    .steps = {name}_steps,', f'    .steps_len = ARRAY_LEN({name}_steps),',
                    f'    .pattern = {c_text(pattern)},', '};']
