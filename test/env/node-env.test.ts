import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ResourceLimits } from 'node:worker_threads'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Env, WorkerHandlers } from '../../src/env/env.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { nodeEnv } from '../../src/env/node-env.js'
import { NodeWorker } from '../../src/env/node-workers.js'
import { compileSources, temporaryDirectory } from './temporary-directory.js'

const ENTRY = `
import { parentPort } from 'node:worker_threads'
parentPort.on('message', ({ id, job }) => {
  if (job.kind === 'exit') process.exit(7)
  if (job.kind === 'throw') throw new Error('thrown')
  if (job.kind === 'memory') for (const all = []; ; ) all.push(new Array(1e5).fill(id))
  if (job.kind === 'typed') {
    const error = { code: 'VARVE_CORRUPTION', message: 'bad', file: '/f', offset: 3 }
    return parentPort.postMessage({ id, error })
  }
  if (job.kind === 'system') return parentPort.postMessage({ id, error: { code: 'EIO', message: 'io' } })
  if (job.kind !== 'silent') parentPort.postMessage({ id, result: { kind: job.kind + job.directory } })
})`

/** A worker, and a queue of what its handlers were told. */
function startWorker(limits?: ResourceLimits): {
  worker: NodeWorker
  next(): Promise<unknown[]>
  heard: unknown[][]
} {
  const path = join(temporaryDirectory(), 'worker.mjs')
  writeFileSync(path, ENTRY)
  const heard: unknown[][] = []
  let wake = () => {}
  const hear = (...what: unknown[]) => {
    heard.push(what)
    wake()
  }
  const handlers: WorkerHandlers = {
    onResult: (id, result) => hear('result', id, result),
    onError: (id, error) => hear('error', id, error),
    onExit: (cause) => hear('exit', cause),
  }
  const worker = new NodeWorker(pathToFileURL(path), handlers, limits)
  onTestFinished(() => worker.terminate())
  let taken = 0
  const next = async () => {
    while (heard.length <= taken) await new Promise<void>((resolve) => (wake = resolve))
    return heard[taken++]!
  }
  return { worker, next, heard }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('a background thread', () => {
  it('answers jobs, with errors rebuilt', async () => {
    const { worker, next } = startWorker()
    worker.run(1, { kind: 'echo', directory: '/d' })
    worker.run(2, { kind: 'typed', directory: '/d' })
    worker.run(3, { kind: 'system', directory: '/d' })
    expect(await next()).toEqual(['result', 1, { kind: 'echo/d' }])
    const [kind, id, error] = await next()
    expect([kind, id, error instanceof Error]).toEqual(['error', 2, true])
    expect(error).toMatchObject({
      name: 'VarveError',
      code: 'VARVE_CORRUPTION',
      message: 'bad',
      file: '/f',
      offset: 3,
    })
    expect(await next()).toEqual(['error', 3, expect.objectContaining({ code: 'EIO', message: 'io' })])
  })

  it.each([
    ['exit', 'exit code 7'],
    ['throw', 'thrown'],
    ['memory', 'memory limit'],
  ])(
    'that ends by %s says so once',
    async (kind, message) => {
      const { worker, next, heard } = startWorker({ maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 8 })
      worker.run(1, { kind, directory: '' })
      const [what, cause] = await next()
      expect([what, String(cause)]).toEqual(['exit', expect.stringContaining(message)])
      await pause(50)
      expect(heard).toHaveLength(1)
      expect(() => worker.run(2, { kind, directory: '' })).toThrow(
        expect.objectContaining({ code: 'VARVE_BACKGROUND' }),
      )
    },
    20_000,
  )

  it('is silent after terminate', async () => {
    const { worker, heard } = startWorker()
    worker.run(1, { kind: 'silent', directory: '' })
    worker.run(2, { kind: 'echo', directory: '' })
    await worker.terminate()
    await pause(50)
    expect(heard).toEqual([])
  })

  it('keeps the process alive while it works, and no longer', () => {
    const directory = temporaryDirectory()
    const compiled = compileSources(directory, ['errors', 'env/node-workers'])
    writeFileSync(join(directory, 'worker.mjs'), ENTRY)
    const main = join(compiled, 'main.js')
    writeFileSync(
      main,
      `import { NodeWorker } from './env/node-workers.js'
       const onResult = (id, result) => process.stdout.write(result.kind)
       const worker = new NodeWorker(new URL('../worker.mjs', import.meta.url), { onResult })
       worker.run(1, { kind: 'done', directory: '' })`,
    )
    const { stdout, status, signal } = spawnSync(process.execPath, [main], {
      timeout: 5000,
      encoding: 'utf8',
    })
    expect({ stdout, status, signal }).toEqual({ stdout: 'done', status: 0, signal: null })
  })

  it('is not there when the sources run uncompiled', async () => {
    const uncompiled = '../../src/env/node-env.ts'
    const { nodeEnv }: { nodeEnv: Env } = await import(uncompiled)
    expect(nodeEnv.startWorker({ onResult() {}, onError() {}, onExit() {} })).toBeUndefined()
  })
})

describe.each([
  ['node', nodeEnv],
  ['memory', memoryEnv()],
])('clock and randomness: %s', (_, { clock, random }) => {
  it('sleeps at least as long as asked', async () => {
    const start = clock.monotonicMs()
    await clock.sleep(20)
    expect(clock.monotonicMs() - start).toBeGreaterThanOrEqual(19)
    expect(Math.abs(clock.wallMs() - Date.now())).toBeLessThan(1000)
  })

  it('lets the event loop turn on sleep(0)', async () => {
    let hasTurned = false
    setImmediate(() => {
      hasTurned = true
    })
    await clock.sleep(0)
    expect(hasTurned).toBe(true)
  })

  it('calls back once, unless cancelled; a huge delay is not a short one', async () => {
    const calls: string[] = []
    clock.after(5, () => calls.push('due'))
    clock.after(5, () => calls.push('cancelled'))()
    const cancel = clock.after(2 ** 40, () => calls.push('huge'))
    await clock.sleep(40)
    cancel()
    expect(calls).toEqual(['due'])
  })

  it('fills with random bytes', () => {
    const bytes = new Uint8Array(64)
    random.fill(bytes)
    expect(new Set(bytes).size).toBeGreaterThan(20)
  })
})
