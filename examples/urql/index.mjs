// urql: Alice's presence, and what is written in the caller's channels. TOKEN is in
// the environment; words to say may follow: node index.mjs Hello
import { Client, cacheExchange, fetchExchange, gql, subscriptionExchange } from "@urql/core";
import { createClient } from "graphql-ws";

const { URL: url = "http://127.0.0.1:3101/v1/graphql", TOKEN } = process.env;
const words = process.argv.slice(2).join(" ");
const ALICE = "00000000-0000-4000-8000-000000000001", GENERAL = "00000000-0000-4000-9000-000000000001";

const headers = () => ({ Authorization: `Bearer ${TOKEN}` }); // asked again at every connect: fetch a fresh one here
const socket = createClient({ url: url.replace(/^http/, "ws"), connectionParams: () => ({ headers: headers(), device: { type: "web" } }), shouldRetry: () => true });
const client = new Client({
  url,
  fetchOptions: () => ({ headers: headers() }),
  preferGetMethod: false,
  exchanges: [cacheExchange, fetchExchange, subscriptionExchange({
    forwardSubscription: ({ query, variables }) => ({ subscribe: sink => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }) }),
  })],
});

const EVENTS = gql`
  subscription ($of: [uuid!]) {
    events(kinds: [messages, presence], presenceOf: $of) {
      cursor
      payload {
        __typename
        ... on MessageCreated { message { id content } }
        ... on PresenceChanged { presence { id status customStatus { text } } }
      }
    }
  }`;
const SEND = gql`mutation ($input: SendMessageInput!) { sendMessage(input: $input) { status error { code message } } }`;

client.subscription(EVENTS, { of: [ALICE] }).subscribe(({ data, error }) => {
  if (error) return console.error(error.message);
  const { payload } = data.events;
  switch (payload.__typename) {
    case "StreamReset": return words && say(); // the stream begins: what is said from now on is heard
    case "PresenceChanged": return console.log("presence", payload.presence.status, payload.presence.customStatus?.text ?? "");
    case "MessageCreated": return console.log("message", payload.message.content);
  }
});

async function say() {
  const input = { channelId: GENERAL, clientMessageId: crypto.randomUUID(), content: words }; // keep the key when you try again
  const { data, error } = await client.mutation(SEND, { input });
  console.log("said", data?.sendMessage.status ?? error.message);
}
