import { createSecretKey, type KeyObject } from 'node:crypto'
import type { BackgroundWorker, Env, WorkerHandlers } from './env.js'
import { Vault } from './file-cipher.js'
import type { Job } from './job.js'

/** A job as it crosses to a thread that needs the key: a handle, not its bytes. The thread keeps it no longer than the job. */
export interface KeyedJob extends Job {
  readonly key?: KeyObject
}

/** The environment of a store that encrypts what it writes. The key is copied, and is nowhere to be read again. */
export function encryptedEnv(env: Env, key: Uint8Array | KeyObject): Env {
  const master = key instanceof Uint8Array ? createSecretKey(key) : key
  return {
    fs: env.fs,
    clock: env.clock,
    random: env.random,
    vault: new Vault(master, (bytes) => env.random.fill(bytes)),
    startWorker: (handlers) => startKeyedWorker(env, master, handlers),
  }
}

function startKeyedWorker(env: Env, key: KeyObject, handlers: WorkerHandlers): BackgroundWorker | undefined {
  const worker = env.startWorker(handlers)
  if (!worker) return undefined
  return {
    run(id, job) {
      const keyed: KeyedJob = { ...job, key }
      worker.run(id, keyed)
    },
    terminate: () => worker.terminate(),
  }
}

/** What a thread runs a job with: the job without its key, and an environment that has it. */
export function unlockJob(env: Env, keyed: KeyedJob): { readonly env: Env; readonly job: Job } {
  const { key, ...job } = keyed
  return { env: key ? encryptedEnv(env, key) : env, job }
}
