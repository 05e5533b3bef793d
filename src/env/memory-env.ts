import type { Env } from './env.js'
import { MemoryFileSystem } from './memory-file-system.js'
import { SeededRandom } from './seeded-random.js'
import { sleepFor, startTimer, startUnrefTimer } from './timers.js'

/** How an environment in memory is made. */
export interface MemoryEnvOptions {
  /** Decides the random numbers, and where crash states are cut. Default: 1. */
  readonly seed?: number
  /** Files that are there already, such as a crash state. Default: an empty root directory. */
  readonly fs?: MemoryFileSystem
}

/** An environment whose files are in memory. */
export interface MemoryEnv extends Env {
  /** Its disk. */
  readonly fs: MemoryFileSystem
}

/** An environment for tests: files in memory, no threads, seeded random numbers, real time. */
export function memoryEnv(options: MemoryEnvOptions = {}): MemoryEnv {
  const seed = options.seed ?? 1
  const random = new SeededRandom(seed)
  return {
    fs: options.fs ?? new MemoryFileSystem(seed),
    clock: {
      wallMs: () => Date.now(),
      monotonicMs: () => performance.now(),
      after: startTimer,
      afterUnref: startUnrefTimer,
      sleep: sleepFor,
    },
    random: { fill: (bytes) => random.fill(bytes) },
    startWorker: () => undefined,
  }
}
