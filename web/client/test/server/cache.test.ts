import { ApolloClient, ApolloLink, gql, InMemoryCache, Observable } from "@apollo/client";
import { cacheExchange } from "@urql/exchange-graphcache";
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { print } from "graphql";
import { afterAll, expect, test } from "vitest";
import { ALICE, BOB, Browser, GENERAL, until } from "../browser.js";
import { apolloHandler, followApollo, nchatFollow, urqlForward } from "../../src/cache.js";
import { calm, person, token } from "./control.js";

const browsers: Browser[] = [];
afterAll(() => browsers.forEach(b => b.close()));
async function open(user: string) {
  const browser = new Browser(), { rt } = browser.tab({ url: calm, getToken: () => token(user) });
  browsers.push(browser);
  rt.connect();
  await until("synchronized", () => rt.sync.get().state === "synchronized");
  return rt;
}

test("Apollo: on the client's socket, and its cache knows what the client knows", async () => {
  const id = await person("Judy"), rt = await open(BOB), judy = await open(id);
  const handler = apolloHandler(rt, print, subscribe => new Observable<ApolloLink.Result>(o => subscribe(o as never)));
  const client = new ApolloClient({ cache: new InMemoryCache(), link: new ApolloLink(handler as never) });
  const stop = followApollo(rt, client.cache as never, gql as never), leave = rt.presence.watch(id);
  const query = gql`query ($userId: uuid!) { presence(userId: $userId) { id userId status lastSeenAt device customStatus { text emoji expiresAt } } }`;
  const seen: string[] = [];
  client.watchQuery({ query, variables: { userId: id } }).subscribe(r => seen.push((r.data as { presence?: { status: string } } | undefined)?.presence?.status ?? "?"));
  await until("asked", () => seen.includes("online"));
  await judy.presence.setStatus("busy"); // no query is run again: the cache is told
  await until("told", () => seen.at(-1) === "busy");
  await judy.presence.setStatus("online");

  const settings: unknown[] = [];
  const sub = client.subscribe({ query: gql`subscription { presenceSettingsChanged { id visibility } }` }).subscribe(r => settings.push(r.data));
  await until("a subscription", () => settings.length === 1);
  sub.unsubscribe();
  await expect(client.mutate({ mutation: gql`mutation { deleteMessage(messageId: "00000000-0000-4000-b000-00000000ffff") { id } }` })).rejects.toThrow();
  stop();
  leave();
});

test("urql: queries, mutations and subscriptions on the client's socket", async () => {
  const rt = await open(ALICE);
  const client = new Client({ url: calm, preferGetMethod: false, exchanges: [subscriptionExchange({ forwardSubscription: urqlForward(rt) as never, enableAllSubscriptions: true, enableAllOperations: true } as never), fetchExchange] });
  const asked = await client.query("query Q($c: uuid!) { readState(channelId: $c) { id unreadCount } }", { c: GENERAL }).toPromise();
  expect(asked.data.readState.id).toBe(GENERAL);
  const wrong = await client.query("{ presences(userIds: [\"no\"]) { id } }", {}).toPromise();
  expect(wrong.error?.graphQLErrors[0]?.extensions.code).toBe("validation-failed");
  const got: unknown[] = [], { unsubscribe } = client.subscription("subscription S { myPresenceChanged { id status } }", {}).subscribe(r => got.push(r.data));
  await until("a subscription", () => got.length > 0);
  unsubscribe();
});

test("urql: its normalized cache knows what the client knows", async () => {
  const id = await person("Lucy"), rt = await open(BOB), lucy = await open(id), asked: string[] = [];
  const forward = urqlForward(rt);
  const client = new Client({ url: calm, preferGetMethod: false, exchanges: [
    cacheExchange({ keys: { CustomStatus: () => null } }),
    subscriptionExchange({ forwardSubscription: (r: { query?: string }) => {
      asked.push(r.query!);
      return forward(r) as never;
    }, enableAllSubscriptions: true, enableAllOperations: true } as never),
  ] });
  const leave = rt.presence.watch(id), seen: string[] = [];
  const query = "query Q($u: uuid!) { presence(userId: $u) { id userId status lastSeenAt device customStatus { text emoji expiresAt } } }";
  const stop = [
    client.subscription(nchatFollow, {}).subscribe(() => {}),
    client.query(query, { u: id }).subscribe(r => seen.push(r.data?.presence?.status ?? "?")),
  ];
  await until("asked", () => seen.includes("online"));
  await lucy.presence.setStatus("busy"); // no query is run again: the cache is told
  await until("told", () => seen.at(-1) === "busy");
  expect(asked.map(q => /^\w+ (\w+)/.exec(q)![1])).toEqual(["NchatFollow", "Q"]);
  stop.forEach(s => s.unsubscribe());
  await lucy.presence.setStatus("online");
  leave();
});

test("what a message carries arrives as it was written, by the digest of both sides", async () => {
  const rt = await open(ALICE), metadata = { "10": [1.5, null, { z: "é\u2028\"", a: [] }], "9": 1e21, nested: { b: false, a: -0.25 }, "ключ": "🍜" };
  const q = await rt.queue.send({ channelId: GENERAL, content: "tab\t, \u{1F600}, \\ and \"quotes\"", metadata, mentions: [BOB] });
  const sent = await rt.queue.settled(q.clientMessageId);
  expect(sent).toMatchObject({ content: "tab\t, \u{1F600}, \\ and \"quotes\"", metadata, mentions: [BOB] });
});
