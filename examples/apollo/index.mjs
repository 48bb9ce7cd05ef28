// Apollo Client 4: Alice's presence in the cache, kept true by a subscription, and
// what is written in the caller's channels. TOKEN is in the environment; words to
// say may follow: node index.mjs Hello
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { OperationTypeNode } from "graphql";
import { createClient } from "graphql-ws";

const { URL: url = "http://127.0.0.1:3101/v1/graphql", TOKEN } = process.env;
const words = process.argv.slice(2).join(" ");
const ALICE = "00000000-0000-4000-8000-000000000001", GENERAL = "00000000-0000-4000-9000-000000000001";

const headers = () => ({ Authorization: `Bearer ${TOKEN}` }); // asked again at every connect: fetch a fresh one here
const socket = createClient({ url: url.replace(/^http/, "ws"), connectionParams: () => ({ headers: headers(), device: { type: "web" } }), shouldRetry: () => true });
const client = new ApolloClient({
  cache: new InMemoryCache(), // a Presence has an id: one entry, whoever asks for it
  link: ApolloLink.split(({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION, new GraphQLWsLink(socket), new HttpLink({ uri: url, headers: headers() })),
});
const wrong = e => console.error(e.message);

// The query is answered anew whenever the subscription has written into the cache.
const variables = { ids: [ALICE] };
client.watchQuery({ query: gql`query ($ids: [uuid!]!) { presences(userIds: $ids) { id status customStatus { text } } }`, variables })
  .subscribe({ next: ({ data }) => data?.presences && console.log("presence", data.presences[0].status, data.presences[0].customStatus?.text ?? ""), error: wrong });
client.subscribe({ query: gql`subscription ($ids: [uuid!]!) { presenceChanged(userIds: $ids) { id status customStatus { text } } }`, variables }).subscribe({ error: wrong });

client.subscribe({
  query: gql`subscription { events(kinds: [messages]) { cursor payload { __typename ... on MessageCreated { message { id content } } } } }`,
  fetchPolicy: "no-cache", // events are no state
}).subscribe({
  next({ data }) {
    const { payload } = data.events;
    if (payload.__typename === "StreamReset" && words) say(); // the stream begins: what is said from now on is heard
    if (payload.__typename === "MessageCreated") console.log("message", payload.message.content);
  },
  error: wrong,
});

function say() {
  client.mutate({
    mutation: gql`mutation ($input: SendMessageInput!) { sendMessage(input: $input) { status error { code message } } }`,
    variables: { input: { channelId: GENERAL, clientMessageId: crypto.randomUUID(), content: words } }, // keep the key when you try again
  }).then(({ data }) => console.log("said", data.sendMessage.status), wrong);
}
