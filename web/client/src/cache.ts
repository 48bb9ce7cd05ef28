import { type RealtimeError, asError } from "./errors.js";
import type { Doc } from "./generated.js";
import type { Realtime } from "./realtime.js";
import type { Answer } from "./socket.js";

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

/** Runs an operation on the client's connection; a subscription is made again on each new socket. Answers what ends it. */
export function execute(rt: Realtime, query: string, variables: Record<string, unknown>, sink: Observer): () => void {
  const doc = query as Doc<Record<string, unknown>, Record<string, unknown>>;
  const to = sink as { next?: (v: unknown) => void; error?: (e: RealtimeError) => void; complete?: () => void };
  if (/^\s*(?:#.*\s*|fragment\b[^{]*(?:\{[^}]*\}\s*)+)*subscription\b/.test(query)) {
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

/** For urql: `subscriptionExchange({ forwardSubscription: urqlForward(rt), enableAllOperations: true })`. */
export const urqlForward = (rt: Realtime) => (request: { query?: string | undefined; variables?: unknown }) => ({
  subscribe: (sink: Observer) => ({ unsubscribe: execute(rt, request.query ?? "", (request.variables ?? {}) as Record<string, unknown>, sink) }),
});

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
  function followMap<T extends object>(type: keyof typeof FIELDS, all: { get(): ReadonlyMap<string, T>; subscribe(l: () => void): () => void }, shape: (v: T) => object = v => v) {
    let before: ReadonlyMap<string, T> = new Map();
    const look = () => {
      const now = all.get();
      for (const [id, value] of now) if (before.get(id) !== value) write(type, id, shape(value));
      before = now;
    };
    look();
    return all.subscribe(look);
  }
  const offs = [
    followMap("Presence", rt.presence.all, p => ({ ...p, customStatus: p.customStatus && { ...p.customStatus, __typename: "CustomStatus" } })),
    followMap("ReadState", rt.unread.all),
    rt.on("delivery", d => write("MessageDelivery", d.messageId, d)),
    rt.on("message", ({ delivery: _, ...m }) => write("Message", m.id, m)),
    rt.on("message:updated", ({ delivery: _, ...m }) => write("Message", m.id, m)),
    rt.on("message:deleted", m => void cache.evict({ id: cache.identify({ __typename: "Message", id: m.messageId })! })),
  ];
  return () => offs.forEach(f => f());
}
