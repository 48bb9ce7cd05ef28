// graphql-ws alone: everything over one socket, and a cursor by which nothing is
// missed. TOKEN is in the environment; words to say may follow: node index.mjs Hello
import { createClient } from "graphql-ws";

const { URL: url = "http://127.0.0.1:3101/v1/graphql", TOKEN } = process.env;
const words = process.argv.slice(2).join(" ");
const ALICE = "00000000-0000-4000-8000-000000000001", GENERAL = "00000000-0000-4000-9000-000000000001";

const client = createClient({
  url: url.replace(/^http/, "ws"),
  connectionParams: () => ({ headers: { Authorization: `Bearer ${TOKEN}` }, device: { type: "web" } }), // asked again at every connect
  retryAttempts: 0, // below, with the cursor
});
const EVENTS = `
  subscription ($cursor: String, $of: [uuid!]) {
    events(cursor: $cursor, kinds: [messages, presence], presenceOf: $of) {
      cursor
      payload {
        __typename
        ... on MessageCreated { message { id content } }
        ... on PresenceChanged { presence { userId status customStatus { text } } }
      }
    }
  }`;

async function say() {
  const input = { channelId: GENERAL, clientMessageId: crypto.randomUUID(), content: words }; // keep the key when you try again
  const query = "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { status error { code message } } }";
  for await (const { data } of client.iterate({ query, variables: { input } })) console.log("said", data?.sendMessage.status);
}

// A user who is at the keyboard says so; the server runs the timers.
setInterval(async () => {
  try {
    for await (const _ of client.iterate({ query: "mutation { heartbeat(input: { active: true }) { id } }" }));
  } catch { /* the loop below dials again */ }
}, 30_000);

for (let cursor = null; ;) {
  try {
    for await (const { data, errors } of client.iterate({ query: EVENTS, variables: { cursor, of: [ALICE] } })) {
      if (errors) throw errors[0];
      const { payload } = data.events;
      if (payload.__typename === "StreamReset" && !cursor && words) say();
      if (payload.__typename === "PresenceChanged") console.log("presence", payload.presence.status, payload.presence.customStatus?.text ?? "");
      if (payload.__typename === "MessageCreated") console.log("message", payload.message.content);
      cursor = data.events.cursor; // once it was done
    }
  } catch (e) {
    console.error(e.message ?? e.reason ?? e);
  }
  await new Promise(r => setTimeout(r, 1000 + 4000 * Math.random()));
}
