import { parentPort } from 'node:worker_threads'
import { nodeEnv } from '../env/node-env.js'
import type { WorkerRequest } from '../env/node-workers.js'
import { lowerThreadPriority } from '../env/thread-priority.js'
import { WorkerLoop } from './worker-loop.js'

/** The thread that flushes and merges. */
const port = parentPort!
const loop = new WorkerLoop(nodeEnv, (answer) => port.postMessage(answer))

lowerThreadPriority()

port.on('message', (request: WorkerRequest) => loop.take(request))
