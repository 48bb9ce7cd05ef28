// What each of these servers is to the bench: it says its URL, then what it has used for each
// line it reads, and ends with its input. `node --expose-gc` has the garbage collected first.
import { createInterface } from 'node:readline'

export function serve(server, path) {
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
    console.log(`ws://127.0.0.1:${server.address().port}${path}`)
    const lines = createInterface({ input: process.stdin })
    lines.on('line', (what) => {
      if (what === 'rest') globalThis.gc?.()
      const cpu = process.cpuUsage(), memory = process.memoryUsage()
      console.log(JSON.stringify({ CPU: (cpu.user + cpu.system) * 1000, Goroutines: 0, Memory: memory.heapUsed, Resident: memory.rss }))
    })
    lines.on('close', () => process.exit(0))
  })
}
