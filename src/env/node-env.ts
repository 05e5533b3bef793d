import { randomFillSync } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import type { BackgroundWorker, Env, WorkerHandlers } from './env.js'
import { NodeFileSystem } from './node-file-system.js'
import { NodeWorker } from './node-workers.js'
import { findScript } from './package-file.js'
import { sleepFor, startTimer, startUnrefTimer } from './timers.js'

/** What a bundle calls the thread's script. */
const BUNDLED_WORKER = 'varve-worker'

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

/** Undefined where the thread's script isn't there: under a test runner, or bundled into one file. */
function startWorker(handlers: WorkerHandlers): BackgroundWorker | undefined {
  const script = findScript('../compaction/worker-entry.js', BUNDLED_WORKER)
  return script === undefined ? undefined : new NodeWorker(pathToFileURL(script), handlers)
}
