// graphql-ws on Node, and a map of rooms in memory behind the resolver.
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { buildSchema } from 'graphql'
import { useServer } from 'graphql-ws/use/ws'
import { WebSocketServer } from 'ws'
import { serve } from './child.mjs'

const schema = buildSchema(`
  scalar uuid
  type Message { id: uuid! senderId: uuid content: String seq: String! createdAt: String! }
  type Event { kind: String! message: Message! cursor: String! }
  type Result { status: String! }
  input Input { channelId: uuid! clientMessageId: String! content: String! }
  type Query { ok: Boolean }
  type Mutation { sendMessage(input: Input!): Result! }
  type Subscription { messageChanged(channelId: uuid!): Event! }
`)
const rooms = new Map()
let seq = 0

/** told is a stream of what is pushed to it, which ends where it is left. */
function told(room) {
  const waiting = []
  let wake
  const push = (x) => { waiting.push(x); wake?.() }
  if (!rooms.has(room)) rooms.set(room, new Set())
  rooms.get(room).add(push)
  return {
    async next() {
      while (!waiting.length) await new Promise((r) => { wake = r })
      return { value: { messageChanged: waiting.shift() }, done: false }
    },
    async return() { rooms.get(room).delete(push); return { value: undefined, done: true } },
    [Symbol.asyncIterator]() { return this },
  }
}
schema.getSubscriptionType().getFields().messageChanged.subscribe = (_, { channelId }) => told(channelId)
schema.getMutationType().getFields().sendMessage.resolve = (_, { input }) => {
  const message = { id: randomUUID(), senderId: randomUUID(), content: input.content, seq: String(++seq), createdAt: new Date().toISOString() }
  for (const push of rooms.get(input.channelId) ?? []) push({ kind: 'created', message, cursor: randomUUID() + randomUUID() + randomUUID() })
  return { status: 'sent' }
}
const server = createServer()
useServer({ schema }, new WebSocketServer({ server, path: '/graphql' }))
serve(server, '/graphql')
