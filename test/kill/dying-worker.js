// The background thread of a store, which dies under some of its jobs: by process.exit, or out of memory.
import { parentPort } from 'node:worker_threads'
// First: it listens at once, so that no job is lost before there is anybody to take it.
import '../../dist/compaction/worker-entry.js'

const DIES_EACH = 5
const way = process.env.VARVE_DEATH
let jobs = 0

parentPort.on('message', () => {
  if (++jobs % DIES_EACH !== 0) return
  if (way === 'exit') setImmediate(() => process.exit(7))
  if (way !== 'memory') return
  const hoard = []
  for (;;) hoard.push(new Array(100_000).fill(0).map(() => ({})))
})
