// Apollo Client at the one endpoint. URL and TOKEN are in the environment.
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { OperationTypeNode } from "graphql";
import { createClient } from "graphql-ws";

const { URL: url, TOKEN: token } = process.env;
const headers = () => ({ Authorization: `Bearer ${token}` }); // asked again at every connect: refresh it here

const socket = createClient({
  url: url.replace(/^http/, "ws"),
  connectionParams: async () => ({ headers: headers() }),
  shouldRetry: () => true,
});
const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.split(({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(socket), new HttpLink({ uri: url, headers: headers() })),
});

const show = name => ({ next: r => console.log(name, JSON.stringify(r.data ?? r.error?.message)), error: e => console.log(name, e.message) });

client.subscribe({ query: gql`subscription Mine { myPresenceChanged { status shownStatus } }` }).subscribe(show("mine")); // nchat-realtime's
client.subscribe({ query: gql`subscription Messages { nchat_messages_aggregate { aggregate { count } } }` }).subscribe(show("messages")); // Hasura's
