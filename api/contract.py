"""Reads openapi.yaml, refuses what is not understood, and gives operations, shapes and forms.

What the checks are for: a keyword that is passed over in silence is a limit that is documented and
not enforced. So each place of the document has a list of keywords, and anything else stops the build.
"""

import re
from dataclasses import dataclass, field

from patterns import compile_pattern
from strict_yaml import Map, List, Text, fail

METHODS = ('get', 'post', 'put', 'patch', 'delete')
LISTENERS = ('device', 'bootstrap', 'operator', 'status', 'local')
RATES = ('public', 'enrolment', 'device-read', 'device-write', 'operator', 'ledger', 'status', 'hooks',
         'broker')
TENANTS = ('own', 'fleet', 'any')
# who may call -> the security schemes that say so
CALLERS = {
    'public': [],
    'enrolment': ['claimCode', 'manufacturerCertificate', 'pinnedKey'],
    'device': ['deviceCertificate'],
    'device-enrolled': ['deviceCertificate'],
    'device-expired': ['deviceCertificate'],
    'broker': ['deviceCertificate'],
    'token-ledger': ['readerToken'],
    'token-metrics': ['readerToken'],
    'token-hooks': ['brokerToken', 'brokerBasic'],
    'local': ['localSocket'],
}
BODY_LIMIT_MAX = 4 * 1024 * 1024
FORM_TYPE = 'application/x-www-form-urlencoded'

KEYWORDS = {
    'document': 'openapi info servers tags paths components',
    'info': 'title summary version description license',
    'components': 'securitySchemes parameters requestBodies headers responses schemas',
    'path': 'parameters ' + ' '.join(METHODS),
    'operation': 'operationId summary description tags security parameters requestBody responses '
                 'x-holdfast-listeners x-holdfast-caller x-holdfast-rate x-holdfast-tenant '
                 'x-holdfast-body-limit',
    'parameter': 'name in required description schema example x-holdfast-tail',
    'body': 'required description content',
    'media': 'schema example',
    'response': 'description headers content',
    'header': 'description required schema example',
    'scheme': 'type description scheme bearerFormat',
}
SCHEMA_COMMON = 'type description default examples'
SCHEMA_KEYWORDS = {
    'string': 'format pattern minLength maxLength enum contentEncoding x-holdfast-bytes '
              'x-holdfast-max-bytes',
    'integer': 'format minimum maximum',
    'boolean': '',
    'object': 'properties required additionalProperties propertyNames minProperties maxProperties oneOf',
    'array': 'items minItems maxItems uniqueItems',
}
FORMATS = {'string': ('date-time', 'binary'), 'integer': ('int32', 'int64')}
NAME = re.compile(r'^[a-z][a-z0-9_]*$')
COMPONENT = re.compile(r'^[A-Z][A-Za-z0-9]*$')


@dataclass
class Parameter:
    name: str
    place: str
    schema: Map
    required: bool
    tail: bool


@dataclass
class Operation:
    method: str
    path: str
    segments: list           # text, or Parameter
    id: str
    callers: dict            # listener -> caller
    rate: str
    tenant: str
    body_max: int = 0
    body_type: str = ''
    body_schema: str = ''    # component, for JSON
    query: list = field(default_factory=list)


def keywords(where, what, value, allowed=None):
    if not isinstance(value, Map):
        fail(value, f'{where}: a mapping is expected')
    for key in value:
        if key not in (allowed or KEYWORDS[what]).split():
            fail(key, f'{where}: the keyword {str(key)!r} is not supported in a {what}')


def text(where, parent, key, pattern=None):
    value = parent.get(key)
    if not isinstance(value, Text) or (pattern and not pattern.match(value)):
        fail(value if value is not None else parent, f'{where}: {key!r} is missing or malformed')
    return value


def number(where, parent, key, standard=None):
    value = parent.get(key)
    if value is None and standard is not None:
        return standard
    if not isinstance(value, Text) or not re.fullmatch(r'-?(0|[1-9][0-9]{0,18})', value):
        fail(value if value is not None else parent, f'{where}: {key!r} must be a whole number')
    return int(value)


def truth(where, parent, key):
    value = parent.get(key, 'false')
    if value not in ('true', 'false'):
        fail(value, f'{where}: {key!r} must be true or false')
    return value == 'true'


def texts(where, parent, key):
    value = parent.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, Text) for item in value):
        fail(value, f'{where}: {key!r} must be a list of texts')
    if len(set(value)) != len(value):
        fail(value, f'{where}: {key!r} says something twice')
    return [str(item) for item in value]


class Contract:
    def __init__(self, document):
        self.document = document
        keywords('the document', 'document', document)
        if document.get('openapi') != '3.1.0':
            fail(document, 'this must be OpenAPI 3.1.0')
        keywords('info', 'info', document.get('info', Map()))
        self.components = document.get('components', Map())
        keywords('components', 'components', self.components)
        self.schemas = self.components.get('schemas', Map())
        self.operations = []
        self._check_components()
        for path, item in document.get('paths', Map()).items():
            self._read_path(path, item)
        self._check_operations()

    # ---- references

    def resolve(self, value, kind):
        """What a $ref leads to (and its name), or the value itself (and None)."""
        if not isinstance(value, Map) or '$ref' not in value:
            return value, None
        if len(value) != 1:
            fail(value, 'nothing may stand beside $ref')
        target = value['$ref']
        prefix = f'#/components/{kind}/'
        if not isinstance(target, Text) or not target.startswith(prefix):
            fail(value, f'$ref must begin with {prefix}')
        name = str(target[len(prefix):])
        found = self.components.get(kind, Map()).get(name)
        if found is None:
            fail(value, f'there is no {target}')
        if isinstance(found, Map) and '$ref' in found:
            fail(found, 'a component may not be a $ref itself')
        return found, name

    def _check_components(self):
        for name, schema in self.schemas.items():
            if not COMPONENT.match(name):
                fail(name, f'schema {name}: a name is CamelCase')
            if isinstance(schema, Map) and '$ref' in schema:
                fail(schema, f'schema {name}: a component may not be a $ref itself')
        done = set()
        for name in self.schemas:
            self._check_cycles(name, [], done)
        for name, schema in self.schemas.items():
            self.check_schema(f'schema {name}', schema)
        for name, scheme in self.components.get('securitySchemes', Map()).items():
            keywords(f'security scheme {name}', 'scheme', scheme)
        for name, response in self.components.get('responses', Map()).items():
            self._check_response(f'response {name}', response)
        for name, header in self.components.get('headers', Map()).items():
            self._check_header(f'header {name}', header)
        for name, parameter in self.components.get('parameters', Map()).items():
            self.parameter(f'parameter {name}', parameter)
        for name, body in self.components.get('requestBodies', Map()).items():
            self._check_body(f'request body {name}', body)

    def _check_cycles(self, name, above, done):
        if name in above:
            fail(self.schemas[name], f'schema {name}: $ref runs in a circle: '
                                     + ' -> '.join(above[above.index(name):] + [name]))
        if name in done:
            return
        for target in self._references(self.schemas[name]):
            self._check_cycles(target, above + [name], done)
        done.add(name)

    def _references(self, value):
        if isinstance(value, Map) and '$ref' in value:
            yield self.resolve(value, 'schemas')[1]
        elif isinstance(value, Map):
            for inner in value.values():
                yield from self._references(inner)
        elif isinstance(value, List):
            for inner in value:
                yield from self._references(inner)

    # ---- schemas

    def check_schema(self, where, value):
        schema, name = self.resolve(value, 'schemas')
        if name is not None:
            return
        if not isinstance(schema, Map):
            fail(schema, f'{where}: a schema must be a mapping')
        kind = text(where, schema, 'type')
        if kind not in SCHEMA_KEYWORDS:
            fail(kind, f'{where}: the type {str(kind)!r} is not supported')
        keywords(where, f'schema of type {kind}', schema,
                 SCHEMA_COMMON + ' ' + SCHEMA_KEYWORDS[kind])
        if 'format' in schema and schema['format'] not in FORMATS.get(kind, ()):
            fail(schema['format'], f'{where}: the format {str(schema["format"])!r} is not supported')
        for key in ('minLength', 'maxLength', 'minimum', 'maximum', 'minItems', 'maxItems',
                    'minProperties', 'maxProperties', 'x-holdfast-bytes', 'x-holdfast-max-bytes'):
            if key in schema:
                number(where, schema, key)
        if 'pattern' in schema:
            compile_pattern(text(where, schema, 'pattern'))
        for name, inner in schema.get('properties', Map()).items():
            self.check_schema(f'{where}.{name}', inner)
        for name in texts(where, schema, 'required'):
            if name not in schema.get('properties', Map()):
                fail(schema, f'{where}: {name!r} is required and not among the properties')
        if isinstance(schema.get('additionalProperties'), Map):
            self.check_schema(f'{where} values', schema['additionalProperties'])
        elif truth(where, schema, 'additionalProperties') and 'properties' not in schema:
            fail(schema, f'{where}: additionalProperties: true stands beside properties')
        if 'propertyNames' in schema:
            self.check_schema(f'{where} names', schema['propertyNames'])
        if kind == 'array':
            self.check_schema(f'{where} items', schema.get('items', Map()))
        if 'oneOf' in schema:
            self.choice(where, schema)

    def choice(self, where, schema):
        """Names of which exactly one must be there: oneOf with one `required` name each."""
        if 'oneOf' not in schema:
            return []
        names = []
        for case in schema['oneOf']:
            if not isinstance(case, Map) or list(case) != ['required'] or len(case['required']) != 1:
                fail(schema, f'{where}: oneOf is supported as a list of "required: [name]" alone')
            names += texts(where, case, 'required')
        for name in names:
            if name not in schema.get('properties', Map()) or names.count(name) > 1:
                fail(schema, f'{where}: oneOf names {name!r}, which is no property or comes twice')
        return names

    # ---- paths

    def _check_header(self, where, value):
        header, name = self.resolve(value, 'headers')
        if name is None:
            keywords(where, 'header', header)
            self.check_schema(where, header.get('schema'))

    def _check_content(self, where, content):
        if not isinstance(content, Map) or not content:
            fail(content, f'{where}: content is missing')
        for media, value in content.items():
            keywords(f'{where} {media}', 'media', value)
            self.check_schema(f'{where} {media}', value.get('schema'))

    def _check_body(self, where, body):
        keywords(where, 'body', body)
        if not truth(where, body, 'required'):
            fail(body, f'{where}: a body must be required')
        self._check_content(where, body.get('content'))
        if len(body['content']) != 1:
            fail(body, f'{where}: one media type, no more')

    def _check_response(self, where, response):
        keywords(where, 'response', response)
        text(where, response, 'description')
        for name, header in response.get('headers', Map()).items():
            self._check_header(f'{where} {name}', header)
        if 'content' in response:
            self._check_content(where, response['content'])

    def parameter(self, where, value):
        parameter, _ = self.resolve(value, 'parameters')
        keywords(where, 'parameter', parameter)
        place = text(where, parameter, 'in')
        if place not in ('path', 'query'):
            fail(place, f'{where}: parameters are taken in path and query')
        name = text(where, parameter, 'name', NAME)
        self.check_schema(where, parameter.get('schema'))
        required = truth(where, parameter, 'required')
        tail = truth(where, parameter, 'x-holdfast-tail')
        if place == 'path' and not required:
            fail(parameter, f'{where}: a path parameter is required')
        if place == 'query' and tail:
            fail(parameter, f'{where}: x-holdfast-tail is for path parameters')
        return Parameter(str(name), str(place), parameter['schema'], required, tail)

    def _read_path(self, path, item):
        keywords(path, 'path', item)
        shared = item.get('parameters', List())
        for method in METHODS:
            if method in item:
                self.operations.append(self._operation(path, method, item[method], shared))

    def _operation(self, path, method, value, shared):
        where = f'{method.upper()} {path}'
        keywords(where, 'operation', value)
        for key in ('summary', 'description'):
            text(where, value, key)
        parameters = [self.parameter(where, p) for p in list(shared) + list(value.get('parameters', []))]
        names = [p.name for p in parameters]
        if len(set(names)) != len(names):
            fail(value, f'{where}: two parameters have one name')
        in_path = {p.name: p for p in parameters if p.place == 'path'}
        operation = Operation(method=method, path=str(path), segments=self._segments(path, in_path),
                              id=str(text(where, value, 'operationId', NAME)),
                              callers=self._callers(where, value),
                              rate=str(text(where, value, 'x-holdfast-rate')),
                              tenant=str(text(where, value, 'x-holdfast-tenant')),
                              query=[p for p in parameters if p.place == 'query'])
        if operation.rate not in RATES:
            fail(value, f'{where}: there is no rate class {operation.rate!r}')
        if operation.tenant not in TENANTS:
            fail(value, f'{where}: x-holdfast-tenant is one of {", ".join(TENANTS)}')
        self._read_body(where, value, operation)
        self._check_security(where, value, operation)
        self._check_responses(where, value, operation)
        return operation

    def _segments(self, path, parameters):
        if not re.fullmatch(r'(/([a-z0-9._-]+|\{[a-z_]+\}))+', path):
            fail(path, f'{path}: a segment is literal or one parameter, in lower case')
        segments, used = [], set()
        for segment in path[1:].split('/'):
            if not segment.startswith('{'):
                segments.append(segment)
                continue
            name = segment[1:-1]
            if name not in parameters or name in used:
                fail(path, f'{path}: {name!r} is not described, or comes twice')
            used.add(name)
            segments.append(parameters[name])
        for name in set(parameters) - used:
            fail(path, f'{path}: the parameter {name!r} is not in the path')
        for segment in segments[:-1]:
            if isinstance(segment, Parameter) and segment.tail:
                fail(path, f'{path}: x-holdfast-tail must come last')
        return segments

    def _callers(self, where, value):
        listeners = texts(where, value, 'x-holdfast-listeners')
        caller = value.get('x-holdfast-caller')
        if isinstance(caller, Text):
            callers = {listener: str(caller) for listener in listeners}
        elif isinstance(caller, Map):
            callers = {str(k): str(v) for k, v in caller.items()}
        else:
            fail(value, f'{where}: x-holdfast-caller is missing')
        if not listeners or set(callers) != set(listeners):
            fail(value, f'{where}: x-holdfast-listeners and x-holdfast-caller do not agree')
        for listener, who in callers.items():
            if listener not in LISTENERS or who not in CALLERS:
                fail(value, f'{where}: there is no listener {listener!r} or caller {who!r}')
        return callers

    def _read_body(self, where, value, operation):
        if 'requestBody' not in value:
            if 'x-holdfast-body-limit' in value:
                fail(value, f'{where}: a body limit without a body')
            return
        body, _ = self.resolve(value['requestBody'], 'requestBodies')
        self._check_body(where, body)
        if operation.method in ('get', 'delete'):
            fail(value, f'{where}: this method takes no body')
        operation.body_max = number(where, value, 'x-holdfast-body-limit')
        if not 0 < operation.body_max <= BODY_LIMIT_MAX:
            fail(value, f'{where}: x-holdfast-body-limit must be 1 to {BODY_LIMIT_MAX}')
        media, content = next(iter(body['content'].items()))
        operation.body_type = str(media)
        if media in ('application/json', FORM_TYPE):
            _, name = self.resolve(content['schema'], 'schemas')
            if name is None:
                fail(content, f'{where}: the schema of a JSON body or a form must be a $ref')
            operation.body_schema = name

    def _check_security(self, where, value, operation):
        """The documentation's `security` must say what x-holdfast-caller does."""
        said = value.get('security')
        if not isinstance(said, List):
            fail(value, f'{where}: security is missing')
        schemes = [str(name) for entry in said for name in entry]
        meant = {name for caller in operation.callers.values() for name in CALLERS[caller]}
        if set(schemes) != meant:
            fail(said, f'{where}: security must be {sorted(meant)}, as x-holdfast-caller says')
        for name in schemes:
            if name not in self.components.get('securitySchemes', Map()):
                fail(said, f'{where}: there is no security scheme {name!r}')

    def _check_responses(self, where, value, operation):
        responses = value.get('responses', Map())
        for status, response in responses.items():
            if not re.fullmatch(r'[1-5][0-9][0-9]', status):
                fail(status, f'{where}: {status!r} is no status')
            found, name = self.resolve(response, 'responses')
            if name is None:
                self._check_response(f'{where} {status}', found)
        needed = ['400', '429', '500', '503']
        if any(caller != 'public' for caller in operation.callers.values()):
            needed += ['401', '403']
        if operation.body_type:
            needed += ['413', '415']
        if any(isinstance(segment, Parameter) for segment in operation.segments):
            needed += ['404']
        for status in needed:
            if status not in responses:
                fail(value, f'{where}: the answer {status} is not described')

    def _check_operations(self):
        ids = set()
        for operation in self.operations:
            if operation.id in ids:
                fail(None, f'the operationId {operation.id!r} comes twice')
            ids.add(operation.id)
