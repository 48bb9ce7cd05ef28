// An upstream made by others: graphql-ws' own server, and graphql-tools' schema,
// at /v1/graphql over HTTP and over a socket.
//
//   node upstream.mjs upstream PORT
import { createServer } from 'node:http'
import { makeExecutableSchema } from '@graphql-tools/schema'
import { stitchSchemas } from '@graphql-tools/stitch'
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
const schema = stitchSchemas({ subschemas: [counter], typeDefs: 'extend type Query { hello: String }', resolvers: { Query: { hello: () => 'world' } } })
const http = createServer(async (req, res) => {
  let body = ''
  for await (const part of req) body += part
  const { query, variables } = JSON.parse(body)
  res.setHeader('content-type', 'application/json')
  res.end(JSON.stringify(await graphql({ schema, source: query, variableValues: variables })))
})
const ws = new WebSocketServer({ server: http, path: '/v1/graphql' })
const all = useServer({ schema, onConnect: (c) => Boolean(c.connectionParams?.headers?.Authorization) }, ws)
let sockets = 0
const say = (x) => process.stdout.write(JSON.stringify(x) + '\n')
ws.on('connection', () => say({ id: String(++sockets) }))
http.listen(0, '127.0.0.1', () => say({ ready: true, ack: { port: http.address().port } }))
process.stdin.on('data', () => ws.clients.forEach((c) => c.terminate())) // every line is a loss
process.stdin.on('end', () => all.dispose().then(() => process.exit(0)))
