// api/openapi.yaml as a program reads it: operations, and the schemas that answers must fit.
import { execFileSync } from 'node:child_process';

const path = new URL('../../../api/openapi.yaml', import.meta.url).pathname;
const SCRIPT = 'import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1], encoding="utf-8")), sys.stdout, default=str)';
export const contract = JSON.parse(execFileSync('/usr/bin/python3', ['-c', SCRIPT, path], { maxBuffer: 1 << 26 }));

export function follow(value) {
  while (value?.$ref) value = value.$ref.slice(2).split('/').reduce((at, part) => at[part], contract);
  return value;
}

const METHODS = ['get', 'put', 'post', 'patch', 'delete'];

// [{id, method, path, listeners, caller(listener), parameters, body, responses}]
export const operations = Object.entries(contract.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]).map((method) => {
  const operation = item[method];
  const callers = operation['x-holdfast-caller'];
  return {
    id: operation.operationId,
    method: method.toUpperCase(),
    path,
    listeners: operation['x-holdfast-listeners'],
    caller: (listener) => (typeof callers === 'string' ? callers : callers[listener]),
    bodyLimit: operation['x-holdfast-body-limit'],
    parameters: [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(follow),
    body: follow(operation.requestBody),
    responses: Object.fromEntries(Object.entries(operation.responses).map(([status, response]) => [status, follow(response)])),
  };
}));

export const operation = (id) => operations.find((one) => one.id === id);

const isType = {
  string: (value) => typeof value === 'string',
  integer: Number.isSafeInteger,
  boolean: (value) => typeof value === 'boolean',
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  array: Array.isArray,
};

// What is wrong with a value, as a list of sentences.
export function misfits(value, given, at = 'it') {
  const schema = follow(given);
  const wrong = [];
  const check = (holds, what) => holds || wrong.push(`${at} ${what}: ${JSON.stringify(value)?.slice(0, 120)}`);
  if (schema.type && !isType[schema.type](value)) return [`${at} is not of type ${schema.type}: ${JSON.stringify(value)}`];
  if (schema.enum) check(schema.enum.includes(value), `is none of ${schema.enum}`);
  if (schema.type === 'string') {
    if (schema.pattern) check(new RegExp(schema.pattern, 'u').test(value), `is not of the form ${schema.pattern}`);
    if (schema.maxLength !== undefined) check([...value].length <= schema.maxLength, `is longer than ${schema.maxLength}`);
    if (schema.minLength !== undefined) check([...value].length >= schema.minLength, `is shorter than ${schema.minLength}`);
  }
  if (schema.type === 'integer') {
    if (schema.minimum !== undefined) check(value >= schema.minimum, `is less than ${schema.minimum}`);
    if (schema.maximum !== undefined) check(value <= schema.maximum, `is more than ${schema.maximum}`);
  }
  if (schema.type === 'array') {
    if (schema.maxItems !== undefined) check(value.length <= schema.maxItems, `has more than ${schema.maxItems} items`);
    if (schema.uniqueItems) check(new Set(value.map((item) => JSON.stringify(item))).size === value.length, 'repeats an item');
    value.forEach((item, i) => wrong.push(...misfits(item, schema.items, `${at}[${i}]`)));
  }
  if (schema.type === 'object') {
    for (const name of schema.required ?? []) check(name in value, `lacks ${name}`);
    for (const [name, inner] of Object.entries(value)) {
      const known = schema.properties?.[name];
      if (known) wrong.push(...misfits(inner, known, `${at}.${name}`));
      else if (typeof schema.additionalProperties === 'object') wrong.push(...misfits(inner, schema.additionalProperties, `${at}.${name}`));
      else check(schema.properties === undefined || schema.additionalProperties === true, `has a field that is not described: ${name}`);
    }
  }
  return wrong;
}

// What is wrong with an answer {status, headers, body} to that operation.
export function answerMisfits({ id, responses }, { status, headers, body }) {
  const response = responses[status];
  if (!response) return [`${id}: ${status} is not described`];
  const wrong = [];
  for (const [name, header] of Object.entries(response.headers ?? {}).map(([name, header]) => [name, follow(header)])) {
    const value = headers[name.toLowerCase()];
    if (value === undefined) {
      if (header.required) wrong.push(`${id} ${status} lacks the header ${name}`);
    } else {
      const schema = follow(header.schema);
      wrong.push(...misfits(schema.type === 'integer' ? Number(value) : value, schema, `${id} ${status} ${name}`));
    }
  }
  if (!response.content) return body?.length > 0 ? [...wrong, `${id} ${status} has a body`] : wrong;
  const type = (headers['content-type'] ?? '').split(';')[0];
  const content = response.content[type];
  if (!content) return [...wrong, `${id} ${status} is ${type}, not ${Object.keys(response.content)}`];
  const isJson = /json/.test(type);
  const value = isJson && Buffer.isBuffer(body) ? JSON.parse(body) : isJson ? body : body.toString('latin1');
  return [...wrong, ...misfits(value, content.schema, `${id} ${status}`)];
}
