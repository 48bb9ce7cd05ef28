// GraphQL Code Generator: one introspection shows Hasura's schema for the token's
// role, and nchat-realtime's subscriptions in it.
import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: [{ [process.env.URL ?? "http://api.localhost/v1/graphql"]: { headers: { Authorization: `Bearer ${process.env.TOKEN}` } } }],
  documents: ["**/*.{mjs,ts,tsx}", "!codegen.ts", "!node_modules/**"],
  generates: { "./gql/": { preset: "client", config: { documentMode: "string", scalars: { uuid: "string", timestamptz: "string", jsonb: "unknown" } } } },
};

export default config;
