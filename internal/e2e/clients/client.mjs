// One client of one library, driven by lines of JSON:
//   in:  {"do":"subscribe","id":"1","query":"…"} {"do":"run","id":"2","query":"…"} {"do":"stop","id":"1"} {"do":"end"}
//   out: {"id":"1","data":{…}} {"id":"2","errors":[…]} {"id":"1","end":true} {"closed":4403,"reason":"…"} {"ready":true}
// usage: node client.mjs LIBRARY URL[,URL…] TOKEN
// With more than one URL the socket, when it is closed, tries the next, as behind a load balancer.
import { createInterface } from "node:readline";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

globalThis.WebSocket ??= WebSocket; // Apollo's link looks there when a subscription fails
const [library, urls, token] = process.argv.slice(2);
const nodes = urls.split(",");
const url = nodes[0];
let tries = 0;
const brief = (_, v) => typeof v === "string" && v.length > 64 << 10 ? v.length : v; // of a large text, how long it is
const say = line => process.stdout.write(JSON.stringify(line, brief) + "\n");

// urql and Apollo fetch over HTTP what is no subscription, as they do by default.
const headers = { Authorization: `Bearer ${token}` };
const socket = () => createClient({
  url: () => nodes[tries++ % nodes.length].replace(/^http/, "ws"),
  webSocketImpl: WebSocket,
  connectionParams: { headers, device: { type: "web", name: library } },
  ...(nodes.length === 1 && { shouldRetry: () => false, retryAttempts: 0 }),
  on: { closed: e => say({ closed: e.code, reason: e.reason }), connected: (_, ack) => say({ ack }) },
});

async function graphqlWs() {
  const client = socket();
  const run = (query, each) => new Promise(done => {
    const stop = client.subscribe({ query }, { next: each, error: e => { each({ errors: Array.isArray(e) ? e : [{ message: String(e?.reason ?? e) }] }); done(); }, complete: done });
    each.stop = stop;
  });
  return { subscribe: run, run, end: () => client.dispose() };
}

async function apollo() {
  const { ApolloClient, InMemoryCache, HttpLink, ApolloLink, gql } = await import("@apollo/client");
  const { GraphQLWsLink } = await import("@apollo/client/link/subscriptions");
  const { OperationTypeNode } = await import("graphql");
  const ws = socket();
  const link = ApolloLink.split(({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(ws), new HttpLink({ uri: url, headers }));
  const client = new ApolloClient({ link, cache: new InMemoryCache(), defaultOptions: { query: { fetchPolicy: "no-cache", errorPolicy: "all" }, mutate: { errorPolicy: "all" } } });
  const plain = r => ({ data: r.data, errors: r.error ? (r.error.errors ?? [{ message: r.error.message }]) : undefined });
  return {
    subscribe: (query, each) => new Promise(done => {
      const s = client.subscribe({ query: gql(query) }).subscribe({ next: r => each(plain(r)), error: e => { each({ errors: e.errors ?? [{ message: e.message }] }); done(); }, complete: done });
      each.stop = () => s.unsubscribe();
    }),
    run: async (query, each) => each(plain(/^\s*mutation/.test(query) ? await client.mutate({ mutation: gql(query) }) : await client.query({ query: gql(query) }))),
    end: () => ws.dispose(),
  };
}

// Apollo Client 3, as nchat uses it.
async function apollo3() {
  const { ApolloClient, InMemoryCache, HttpLink, split, gql } = await import("apollo-client-3/core/index.js");
  const { GraphQLWsLink } = await import("apollo-client-3/link/subscriptions/index.js");
  const { getMainDefinition } = await import("apollo-client-3/utilities/index.js");
  const ws = socket();
  const link = split(({ query }) => { const d = getMainDefinition(query); return d.kind === "OperationDefinition" && d.operation === "subscription"; },
    new GraphQLWsLink(ws), new HttpLink({ uri: url, headers }));
  const client = new ApolloClient({ link, cache: new InMemoryCache(), defaultOptions: { query: { fetchPolicy: "no-cache", errorPolicy: "all" }, mutate: { errorPolicy: "all" } } });
  const plain = r => ({ data: r.data, errors: r.errors });
  return {
    subscribe: (query, each) => new Promise(done => {
      const s = client.subscribe({ query: gql(query) }).subscribe({ next: r => each(plain(r)), error: e => { each({ errors: e.graphQLErrors?.length ? e.graphQLErrors : [{ message: e.message }] }); done(); }, complete: done });
      each.stop = () => s.unsubscribe();
    }),
    run: async (query, each) => each(plain(/^\s*mutation/.test(query) ? await client.mutate({ mutation: gql(query) }) : await client.query({ query: gql(query) }))),
    end: () => ws.dispose(),
  };
}

async function urql() {
  const { Client, fetchExchange, subscriptionExchange } = await import("@urql/core");
  const ws = socket();
  const client = new Client({
    url, fetchOptions: { headers }, preferGetMethod: false,
    exchanges: [fetchExchange, subscriptionExchange({
      forwardSubscription: request => ({ subscribe: sink => ({ unsubscribe: ws.subscribe({ query: request.query, variables: request.variables }, sink) }) }),
    })],
  });
  const plain = r => ({ data: r.data, errors: r.error ? (r.error.graphQLErrors.length ? r.error.graphQLErrors.map(e => ({ message: e.message, extensions: e.extensions })) : [{ message: r.error.message }]) : undefined });
  return {
    subscribe: (query, each) => new Promise(done => {
      const s = client.subscription(query, {}).subscribe(r => { each(plain(r)); if (!r.hasNext && r.stale === false && r.error) done(); });
      each.stop = () => { s.unsubscribe(); done(); };
    }),
    run: async (query, each) => each(plain(/^\s*mutation/.test(query) ? await client.mutation(query, {}).toPromise() : await client.query(query, {}, { requestPolicy: "network-only" }).toPromise())),
    end: () => ws.dispose(),
  };
}

// What spoke the protocol "graphql-ws", before the library of that name.
async function legacy() {
  const { SubscriptionClient } = (await import("subscriptions-transport-ws")).default;
  class Told extends WebSocket {
    constructor(...args) { super(...args); this.on("close", (code, reason) => say({ closed: code, reason: String(reason) })); }
  }
  const client = new SubscriptionClient(url.replace(/^http/, "ws"), {
    connectionParams: { headers, device: { type: "web", name: library } }, reconnect: false, lazy: true,
    connectionCallback: (error, ack) => say(error ? { refused: error } : { ack: ack ?? {} }),
  }, Told);
  const run = (query, each) => new Promise(done => {
    const s = client.request({ query }).subscribe({ next: each, error: e => { each({ errors: [e instanceof Error ? { message: e.message } : e] }); done(); }, complete: done });
    each.stop = () => { s.unsubscribe(); done(); };
  });
  return { subscribe: run, run, end: () => client.close() };
}

async function sse() {
  const { createClient: createSSE } = await import("graphql-sse");
  const client = createSSE({ url, headers, retryAttempts: 0 });
  const run = (query, each) => new Promise(done => {
    each.stop = client.subscribe({ query }, { next: each, error: e => { each({ errors: Array.isArray(e) ? e : [{ message: String(e?.message ?? e) }] }); done(); }, complete: done });
  });
  return { subscribe: run, run, end: () => client.dispose() };
}

const client = await { "graphql-ws": graphqlWs, apollo, "apollo-3": apollo3, urql, sse, "subscriptions-transport-ws": legacy }[library]();
const running = new Map();
say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const { do: what, id, query } = JSON.parse(line);
  if (what === "end") break;
  if (what === "stop") { running.get(id)?.stop?.(); continue; }
  const each = r => say({ id, data: r.data ?? undefined, errors: r.errors ?? undefined });
  running.set(id, each);
  client[what](query, each).then(() => say({ id, end: true }), e => say({ id, errors: [{ message: String(e) }], end: true }));
}
await client.end();
process.exit(0);
