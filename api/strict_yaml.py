"""YAML as the contract may use it: mappings, lists and texts.

Every scalar stays the text that stands in the file (PyYAML's own reading turns `no` into False, 3.10
into 3.1 and 010 into 8). A repeated key, an anchor, an alias, a tag and a second document are errors.
"""

import yaml


class ContractError(Exception):
    """What is wrong and where; the build stops with it."""


class Text(str):
    line = 0


class Map(dict):
    line = 0


class List(list):
    line = 0


def fail(where, message):
    line = getattr(where, 'line', 0)
    raise ContractError(f'line {line}: {message}' if line else message)


class _Reader:
    def __init__(self, text):
        self.events = yaml.parse(text, Loader=yaml.BaseLoader)

    def next(self):
        return next(self.events)

    def value(self, event):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise ContractError(f'line {line}: anchors and aliases are not taken; use $ref')
        if event.tag is not None and event.tag != '!':
            raise ContractError(f'line {line}: tags are not taken')
        if isinstance(event, yaml.ScalarEvent):
            made = Text(event.value)
        elif isinstance(event, yaml.SequenceStartEvent):
            made = List()
            event = self.next()
            while not isinstance(event, yaml.SequenceEndEvent):
                made.append(self.value(event))
                event = self.next()
        else:
            made = Map()
            event = self.next()
            while not isinstance(event, yaml.MappingEndEvent):
                key = self.value(event)
                if not isinstance(key, Text):
                    raise ContractError(f'line {line}: a key must be a text')
                if key in made:
                    raise ContractError(f'line {key.line}: the key {key!r} is repeated')
                made[key] = self.value(self.next())
                event = self.next()
        made.line = line
        return made


def read(text):
    """The document in `text`, as Map, List and Text with a `line` each."""
    try:
        reader = _Reader(text)
        reader.next()  # stream start
        if not isinstance(reader.next(), yaml.DocumentStartEvent):
            raise ContractError('there is no document')
        document = reader.value(reader.next())
        reader.next()  # document end
        if not isinstance(reader.next(), yaml.StreamEndEvent):
            raise ContractError('there is more than one document')
    except yaml.YAMLError as error:
        raise ContractError(f'not YAML: {error}') from error
    if not isinstance(document, Map):
        raise ContractError('the document must be a mapping')
    return document
