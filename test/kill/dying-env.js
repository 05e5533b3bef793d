import { nodeEnv } from '../../dist/env/node-env.js'
import { NodeWorker } from '../../dist/env/node-workers.js'

const DIES_EACH = 5
const ENTRY = new URL('dying-worker.js', import.meta.url)
const SMALL = { maxOldGenerationSizeMb: 24, maxYoungGenerationSizeMb: 4 }

/** An environment whose background threads die under every fifth job, in that way. */
export function dyingEnv(way) {
  if (way === 'terminate') return { ...nodeEnv, startWorker: terminated }
  return { ...nodeEnv, startWorker: (handlers) => new NodeWorker(ENTRY, handlers, SMALL) }
}

function terminated(handlers) {
  const inner = nodeEnv.startWorker(handlers)
  let jobs = 0
  return {
    run(id, job) {
      inner.run(id, job)
      if (++jobs % DIES_EACH !== 0) return
      // A thread that is terminated tells its handlers nothing more.
      setTimeout(() => void inner.terminate().then(() => handlers.onExit(new Error('terminated'))), 1)
    },
    terminate: () => inner.terminate(),
  }
}
