import { type RealtimeError, asError } from "./errors.js";
import type { Doc } from "./generated.js";
import type { Realtime } from "./realtime.js";
import type { Answer } from "./socket.js";
import type { Readable } from "./store.js";
import type { Presence } from "./types.js";

// Apollo Client and urql beside this client: on its one socket, and with what it knows in their cache.

/** An observer as all of them have it. */
export interface Observer {
  next?: (value: never) => void;
  error?: (error: never) => void;
  complete?: () => void;
}

const wire = <R>({ data, errors }: Answer<R>) => ({
  data, ...(errors.length > 0 && { errors: errors.map(e => ({ message: e.message, extensions: { code: e.code, retryable: e.retryable, retryAfterMs: e.retryAfterMs } })) }),
});

// Whether a document's operation is a subscription, whatever fragments stand before it: strings and comments go, then braces from the inside.
function subscribes(query: string) {
  let text = query.replace(/"""[^]*?"""|"(?:\\.|[^"\\\n])*"|#.*/g, "");
  for (let before = ""; before !== text;) text = (before = text).replace(/\{[^{}]*\}/g, ";");
  return /(?:^|;)\s*subscription\b/.test(text);
}

/** Runs an operation on the client's connection; a subscription is made again on each new socket. Answers what ends it. */
export function execute(rt: Realtime, query: string, variables: Record<string, unknown>, sink: Observer): () => void {
  const doc = query as Doc<Record<string, unknown>, Record<string, unknown>>;
  const to = sink as { next?: (v: unknown) => void; error?: (e: RealtimeError) => void; complete?: () => void };
  if (subscribes(query)) {
    const stop = rt.connection.live(doc, variables, data => to.next?.({ data }), e => {
      stop();
      to.error?.(e);
    });
    return stop;
  }
  let over = false;
  rt.connection.ask(doc, variables).then(answer => {
    if (over) return;
    to.next?.(wire(answer));
    to.complete?.();
  }, e => over || to.error?.(asError(e)));
  return () => { over = true; };
}

/**
 * For urql: `subscriptionExchange({ forwardSubscription: urqlForward(rt), enableAllOperations: true })`. An app that keeps `nchatFollow` open as a
 * subscription has the presence of whom this client watches in its normalized cache (Graphcache); nothing is asked of the server for that.
 */
export const urqlForward = (rt: Realtime) => ({ query = "", variables = {} }: { query?: string | undefined; variables?: unknown }) => ({
  subscribe: (sink: Observer) => ({ unsubscribe: /\bNchatFollow\b/.test(query) ? known(rt, sink) : execute(rt, query, variables as Record<string, unknown>, sink) }),
});
const known = (rt: Realtime, sink: Observer) => changes(rt.presence.all, (id, p) =>
  (sink as { next?: (v: unknown) => void }).next?.({ data: { __typename: "Subscription", presenceChanged: { ...presence(p), __typename: "Presence", id } } }));

/** For Apollo: `new ApolloLink(apolloHandler(rt, print, subscribe => new Observable(subscribe)))`. */
export const apolloHandler = <D, O>(rt: Realtime, print: (document: D) => string, observable: (subscribe: (observer: Observer) => () => void) => O) =>
  (operation: { query: D; variables?: Record<string, unknown> }): O => observable(observer => execute(rt, print(operation.query), operation.variables ?? {}, observer));

/** What of Apollo's cache is used. */
export interface ApolloCacheLike {
  identify(entity: { __typename: string; id: string }): string | undefined;
  writeFragment(o: { id?: string; fragment: never; data: never }): unknown;
  evict(o: { id?: string }): boolean;
}

const FIELDS = {
  Presence: "id userId status lastSeenAt device customStatus { __typename text emoji expiresAt }",
  ReadState: "id channelId lastReadMessageId lastReadAt lastDeliveredMessageId unreadCount mentionCount",
  MessageDelivery: "id messageId channelId status totalRecipients deliveredCount readCount deliveredAt readAt",
  Message: "id clientMessageId channelId threadId parentMessageId senderId content type metadata mentions seq version createdAt editedAt editedBy deletedAt",
};

/** What `urqlForward` answers by itself. */
export const nchatFollow = `subscription NchatFollow { presenceChanged(userIds: []) { ${FIELDS.Presence} } }`;

const presence = (p: Presence) => ({ ...p, customStatus: p.customStatus && { ...p.customStatus, __typename: "CustomStatus" } });

/** What is in a map, and what changes in it. Answers what ends it. */
function changes<T>(all: Readable<ReadonlyMap<string, T>>, each: (id: string, value: T) => void) {
  let before: ReadonlyMap<string, T> = new Map();
  const look = () => {
    const now = all.get();
    for (const [id, value] of now) if (before.get(id) !== value) each(id, value);
    before = now;
  };
  look();
  return all.subscribe(look);
}

/**
 * Keeps entities in Apollo's cache as this client knows them, so that queries over Hasura show what happened:
 * presence of whom it watches, read states, receipts, messages. `gql` is Apollo's. Answers what ends it.
 */
export function followApollo(rt: Realtime, cache: ApolloCacheLike, gql: (text: TemplateStringsArray) => unknown): () => void {
  const fragments = Object.fromEntries(Object.entries(FIELDS).map(([type, fields]) => {
    const text = `fragment Nchat${type} on ${type} { ${fields} }`;
    return [type, gql(Object.assign([text], { raw: [text] }) as unknown as TemplateStringsArray)];
  }));
  function write(type: keyof typeof FIELDS, id: string, data: object) {
    const key = cache.identify({ __typename: type, id });
    if (key) cache.writeFragment({ id: key, fragment: fragments[type] as never, data: { ...data, __typename: type, id } as never });
  }
  const offs = [
    changes(rt.presence.all, (id, p) => write("Presence", id, presence(p))),
    changes(rt.unread.all, (id, r) => write("ReadState", id, r)),
    rt.on("delivery", d => write("MessageDelivery", d.messageId, d)),
    rt.on("message", ({ delivery: _, ...m }) => write("Message", m.id, m)),
    rt.on("message:updated", ({ delivery: _, ...m }) => write("Message", m.id, m)),
    rt.on("message:deleted", m => void cache.evict({ id: cache.identify({ __typename: "Message", id: m.messageId })! })),
  ];
  return () => offs.forEach(f => f());
}
