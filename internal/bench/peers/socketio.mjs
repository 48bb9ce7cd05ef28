// Socket.IO: rooms of its own, WebSocket alone.
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { Server } from 'socket.io'
import { serve } from './child.mjs'

const server = createServer(), io = new Server(server, { transports: ['websocket'] })
let seq = 0
io.on('connection', (socket) => {
  socket.on('join', (room) => { socket.join(room); socket.emit('joined') })
  socket.on('say', (room, content) => {
    io.to(room).emit('message', { kind: 'created', message: { id: randomUUID(), senderId: randomUUID(), content, seq: String(++seq), createdAt: new Date().toISOString() } })
    socket.emit('said')
  })
})
serve(server, '/socket.io/?EIO=4&transport=websocket')
