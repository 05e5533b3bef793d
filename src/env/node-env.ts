import { randomFillSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { BackgroundWorker, Env, WorkerHandlers } from './env.js'
import { NodeFileSystem } from './node-file-system.js'
import { NodeWorker } from './node-workers.js'
import { sleepFor, startTimer, startUnrefTimer } from './timers.js'

const WORKER_URL = new URL('../compaction/worker-entry.js', import.meta.url)

/** The real machine. */
export const nodeEnv: Env = {
  fs: new NodeFileSystem(),
  clock: {
    wallMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    after: startTimer,
    afterUnref: startUnrefTimer,
    sleep: sleepFor,
  },
  random: {
    fill(bytes) {
      randomFillSync(bytes)
    },
  },
  startWorker,
}

/** Undefined where the compiled entry isn't there: under a test runner, or bundled into one file. */
function startWorker(handlers: WorkerHandlers): BackgroundWorker | undefined {
  if (import.meta.url.endsWith('.ts') || !existsSync(fileURLToPath(WORKER_URL))) return undefined
  return new NodeWorker(WORKER_URL, handlers)
}
