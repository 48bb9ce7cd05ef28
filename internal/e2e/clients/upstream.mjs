// An upstream made by others: graphql-ws' own server, and graphql-tools' schema,
// at /v1/graphql over HTTP and over a socket.
//
//   node upstream.mjs upstream [URL SECRET]
//
// With a URL this server's schema is stitched into it, introspected and forwarded to
// as Hasura does: with the shared secret and the session of whose token came.
import { createServer } from 'node:http'
import { buildHTTPExecutor } from '@graphql-tools/executor-http'
import { makeExecutableSchema } from '@graphql-tools/schema'
import { stitchSchemas } from '@graphql-tools/stitch'
import { schemaFromExecutor } from '@graphql-tools/wrap'
import { graphql } from 'graphql'
import { useServer } from 'graphql-ws/use/ws'
import { WebSocketServer } from 'ws'

let count = 0
const waiting = new Set()
const changed = () => new Promise((done) => waiting.add(done))
const counter = makeExecutableSchema({
  typeDefs: 'type Query { count: Int! } type Mutation { up: Int! } type Subscription { counts: Int! }',
  resolvers: {
    Query: { count: () => count },
    Mutation: {
      up: () => {
        count++
        for (const done of waiting) done()
        waiting.clear()
        return count
      },
    },
    Subscription: {
      counts: {
        subscribe: async function* () {
          for (;;) {
            const next = changed()
            yield { counts: count }
            await next
          }
        },
      },
    },
  },
})
const [, url, secret] = process.argv.slice(2)
const session = (authorization) => {
  const claims = JSON.parse(Buffer.from(authorization.split('.')[1], 'base64url'))['https://hasura.io/jwt/claims']
  return { role: claims['x-hasura-default-role'], user: claims['x-hasura-user-id'] }
}
const executor = url && buildHTTPExecutor({
  endpoint: url,
  headers: (request) => {
    const { role = 'admin', user } = request?.context ?? {}
    return { 'x-nchat-webhook-secret': secret, 'x-hasura-role': role, ...(user && { 'x-hasura-user-id': user }) }
  },
})
const remote = url ? [{ schema: await schemaFromExecutor(executor), executor }] : []
const schema = stitchSchemas({ subschemas: [counter, ...remote], typeDefs: 'extend type Query { hello: String }', resolvers: { Query: { hello: () => 'world' } } })
const http = createServer(async (req, res) => {
  let body = ''
  for await (const part of req) body += part
  const { query, variables } = JSON.parse(body)
  res.setHeader('content-type', 'application/json')
  res.end(JSON.stringify(await graphql({ schema, source: query, variableValues: variables, contextValue: session(req.headers.authorization) })))
})
const ws = new WebSocketServer({ server: http, path: '/v1/graphql' })
const all = useServer({
  schema,
  onConnect: (c) => Boolean(c.connectionParams?.headers?.Authorization),
  context: (c) => session(c.connectionParams.headers.Authorization),
}, ws)
let sockets = 0
const say = (x) => process.stdout.write(JSON.stringify(x) + '\n')
ws.on('connection', () => say({ id: String(++sockets) }))
http.listen(0, '127.0.0.1', () => say({ ready: true, ack: { port: http.address().port } }))
process.stdin.on('data', () => ws.clients.forEach((c) => c.terminate())) // every line is a loss
process.stdin.on('end', () => all.dispose().then(() => process.exit(0)))
