// A gateway made by others: this server's schema, stitched beside another one.
//
//   node gateway.mjs URL SECRET USER
//
// Reads {"id", "query", "variables"} lines and writes each result with its id.
// It introspects as Hasura does and forwards as it does: with the shared secret
// and the session of one user, never with a token.
import { createInterface } from 'node:readline'
import { delegateToSchema } from '@graphql-tools/delegate'
import { buildHTTPExecutor } from '@graphql-tools/executor-http'
import { makeExecutableSchema } from '@graphql-tools/schema'
import { stitchSchemas } from '@graphql-tools/stitch'
import { schemaFromExecutor } from '@graphql-tools/wrap'
import { execute, parse, printSchema, validate } from 'graphql'

const [url, secret, user] = process.argv.slice(2)
const executor = (role, id) =>
  buildHTTPExecutor({
    endpoint: url,
    headers: { 'x-nchat-webhook-secret': secret, 'x-hasura-role': role, ...(id && { 'x-hasura-user-id': id }) },
  })
const remote = await schemaFromExecutor(executor('admin'))
const shop = makeExecutableSchema({
  typeDefs: 'type Query { item(id: ID!): Item } type Item { id: ID! sellerId: ID! } type Mutation { buy(id: ID!): Boolean! }',
  resolvers: { Query: { item: (_, { id }) => ({ id, sellerId: user }) }, Mutation: { buy: () => true } },
})
const realtime = { schema: remote, executor: executor('user', user) }
const schema = stitchSchemas({
  subschemas: [realtime, shop],
  typeDefs: 'extend type Item { seller: Presence }',
  resolvers: {
    Item: {
      seller: {
        selectionSet: '{ sellerId }',
        resolve: (item, _, context, info) =>
          delegateToSchema({ schema: realtime, operation: 'query', fieldName: 'presence', args: { userId: item.sellerId }, context, info }),
      },
    },
  },
})
const say = (x) => process.stdout.write(JSON.stringify(x) + '\n')
say({ ready: true, data: { subscription: !!remote.getSubscriptionType(), types: printSchema(remote).length } })
for await (const line of createInterface({ input: process.stdin })) {
  const { id, query, variables } = JSON.parse(line)
  const document = parse(query)
  const errors = validate(schema, document)
  say({ id, ...(errors.length ? { errors } : await execute({ schema, document, variableValues: variables, contextValue: {} })) })
}
