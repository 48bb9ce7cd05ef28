// urql at the one endpoint. URL and TOKEN are in the environment.
import { Client, cacheExchange, fetchExchange, gql, subscriptionExchange } from "@urql/core";
import { createClient } from "graphql-ws";

const { URL: url, TOKEN: token } = process.env;
const headers = () => ({ Authorization: `Bearer ${token}` }); // asked again at every connect: refresh it here

const socket = createClient({
  url: url.replace(/^http/, "ws"),
  connectionParams: async () => ({ headers: headers() }),
  shouldRetry: () => true,
});
const client = new Client({
  url, fetchOptions: () => ({ headers: headers() }), preferGetMethod: false,
  exchanges: [cacheExchange, fetchExchange, subscriptionExchange({
    forwardSubscription: ({ query, variables }) => ({ subscribe: sink => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }) }),
  })],
});

const show = name => r => console.log(name, JSON.stringify(r.data ?? r.error?.message));

client.subscription(gql`subscription Mine { myPresenceChanged { status shownStatus } }`, {}).subscribe(show("mine")); // nchat-realtime's
client.subscription(gql`subscription Messages { nchat_messages_aggregate { aggregate { count } } }`, {}).subscribe(show("messages")); // Hasura's
