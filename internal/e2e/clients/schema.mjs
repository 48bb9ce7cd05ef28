// Introspects a URL as code generators do, and validates documents by what it is shown.
// usage: node schema.mjs NAME URL TOKEN; then lines {"id":"1","query":"…"}
import { createInterface } from "node:readline";
import { buildClientSchema, getIntrospectionQuery, parse, printSchema, validate } from "graphql";

const [, url, token] = process.argv.slice(2);
const say = line => process.stdout.write(JSON.stringify(line) + "\n");
const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
  body: JSON.stringify({ query: getIntrospectionQuery(), operationName: "IntrospectionQuery" }) });
const schema = buildClientSchema((await answer.json()).data);
printSchema(schema);
say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const { id, query } = JSON.parse(line);
  const errors = validate(schema, parse(query)).map(e => ({ message: e.message }));
  say({ id, data: { valid: errors.length === 0 }, errors });
}
