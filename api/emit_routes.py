"""Operations as C: the tree of paths and the table of routes in routes.h and routes.c."""

from contract import LISTENERS, METHODS, Parameter
from emit_requests import c_text, c_word, snake
from strict_yaml import fail

BODY_MAX_LEAST = 1024  # of a listener without bodies: one byte more than none, and then some


class Node:
    def __init__(self, segment):
        self.segment = segment  # None, a text, or a Parameter
        self.children = []
        self.routes = {}

    def child(self, path, segment):
        """The child for a segment. Literals and parameters side by side would make two readings of
        one path, and so would two parameters."""
        literal = not isinstance(segment, Parameter)
        for child in self.children:
            same = child.segment == segment if literal else \
                isinstance(child.segment, Parameter) and child.segment.name == segment.name \
                and child.segment.schema == segment.schema and child.segment.tail == segment.tail
            if same:
                return child
            if not literal or isinstance(child.segment, Parameter):
                fail(path, f'{path}: overlaps with another path at '
                           f'{segment if literal else "{" + segment.name + "}"}')
        self.children.append(Node(segment))
        return self.children[-1]


class Routes:
    def __init__(self, contract, requests):
        self.contract, self.requests = contract, requests
        root = Node(None)
        for index, operation in enumerate(contract.operations):
            node = root
            for segment in operation.segments:
                if isinstance(node.segment, Parameter) and node.segment.tail:
                    fail(operation.path, f'{operation.path}: overlaps with a path whose end is a tail')
                node = node.child(operation.path, segment)
            if operation.method in node.routes:
                fail(operation.path, f'{operation.path}: this path stands here already')
            if isinstance(node.segment, Parameter) and node.segment.tail and node.children:
                fail(operation.path, f'{operation.path}: its tail overlaps with longer paths')
            node.routes[operation.method] = index
        # breadth first, so that the children of each node stand side by side
        self.nodes = [root]
        for node in self.nodes:
            node.first = len(self.nodes)
            self.nodes += node.children

    def body_max(self, listener):
        return max([BODY_MAX_LEAST] + [o.body_max for o in self.contract.operations
                                       if listener in o.callers])

    def header(self):
        lines = ['/* Made from api/openapi.yaml by api/generate.py. */', '#ifndef API_ROUTES_H',
                 '#define API_ROUTES_H', '', '#include "api/route.h"', '',
                 '/* The largest body that any operation of a listener takes: its limit in base/http.h. */']
        lines += [f'#define LISTENER_{c_word(name)}_BODY_MAX {self.body_max(name)}' for name in LISTENERS]
        lines += [f'#define ROUTE_COUNT {len(self.contract.operations)}', '',
                  '/* X(operation) for each operation: its handler is api_<operation>(). */',
                  '#define API_OPERATIONS(X) \\']
        ids = [o.id for o in self.contract.operations]
        lines += [f'    X({i}) \\' for i in ids[:-1]] + [f'    X({ids[-1]})', '']
        lines += [f'route_handler_fn api_{o.id}; /* {o.method.upper()} {o.path} */'
                  for o in self.contract.operations]
        return '\n'.join(lines + ['', '#endif', ''])

    def source(self):
        lines = ['/* Made from api/openapi.yaml by api/generate.py. */', '#include "api/routes.h"', '',
                 '#include "api/requests.h"', '', 'const struct route routes[] = {']
        for o in self.contract.operations:
            listeners = ' | '.join(f'1U << LISTENER_{c_word(n)}' for n in LISTENERS if n in o.callers)
            lines += ['    {', f'        .method = HTTP_{o.method.upper()},',
                      f'        .path = {c_text(o.path)},', f'        .operation = {c_text(o.id)},',
                      '        .caller = {']
            lines += [f'            [LISTENER_{c_word(n)}] = CALLER_{c_word(o.callers[n])},'
                      for n in LISTENERS if n in o.callers]
            lines += ['        },', f'        .listeners = {listeners},',
                      f'        .rate = RATE_{c_word(o.rate)},']
            if o.body_type:
                lines += [f'        .body_max = {o.body_max},',
                          f'        .body_type = {c_text(o.body_type)},']
            if o.tenant == 'fleet':
                lines += ['        .fleet_wide = true,']
            if o.query:
                lines += ['        .takes_query = true,']
            lines += [f'        .handler = api_{o.id},', '    },']
        lines += ['};', '_Static_assert(ARRAY_LEN(routes) == ROUTE_COUNT, "one for each operation");',
                  'const size_t routes_len = ROUTE_COUNT;', '', 'const struct route_node route_nodes[] = {']
        for index, node in enumerate(self.nodes):
            lines.append('    {' + ', '.join(self.node(node)) + f'}}, /* {index} */')
        return '\n'.join(lines + ['};', ''])

    def node(self, node):
        if isinstance(node.segment, Parameter):
            _, component = self.contract.resolve(node.segment.schema, 'schemas')
            yield '.form = &form_' + (snake(component) if component else f'param_{node.segment.name}')
            if node.segment.tail:
                yield '.tail = true'
        else:
            yield f'.segment = {c_text(node.segment or "")}'
        if node.children:
            yield f'.first = {node.first}'
            yield f'.children = {len(node.children)}'
        if node.routes:
            routes = ', '.join(f'[HTTP_{m.upper()}] = {node.routes[m] + 1}' for m in METHODS
                               if m in node.routes)
            yield f'.routes = {{{routes}}}'
