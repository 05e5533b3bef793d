import { expect, it, vi } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { open } from '../../src/index.js'
import { IndexBlock, IndexBuilder } from '../../src/segment/index-block.js'
import type { OpenOptionsWithEnv } from '../../src/store/options.js'

const BLOCKS = 10_000
/** Blocks that are looked at between two turns at most, and they are looked at twice. */
const STEP_BLOCKS = 256

it('an index of many blocks is parsed in steps, to the same index', () => {
  const builder = new IndexBuilder()
  for (let i = 0; i < BLOCKS; i++) builder.add(Buffer.from(`${100_000 + i}`), 10 + (i % 7))
  const payload = builder.build()
  const dataBytes = Array.from({ length: BLOCKS }, (_, i) => 10 + (i % 7)).reduce((a, b) => a + b)
  const whole = IndexBlock.parse(payload, 'file', 0, dataBytes)
  const parsing = IndexBlock.parseInSteps(payload, 'file', 0, dataBytes)
  let steps = 1
  let step = parsing.next()
  for (; !step.done; step = parsing.next()) steps++
  expect(steps).toBeGreaterThanOrEqual((2 * BLOCKS) / STEP_BLOCKS)
  for (let i = 0; i < BLOCKS; i += 99) {
    const key = Buffer.from(`${100_000 + i}`)
    expect([step.value.find(key, 0, key.length), step.value.endOf(i)]).toEqual([i, whole.endOf(i)])
  }
})

it('gives the event loop turns while a segment of many blocks is opened', async () => {
  const inner = memoryEnv()
  let nowMs = 0
  let turns = 0
  let isCounted = false
  const clock = {
    ...inner.clock,
    // Every look at the clock takes a millisecond.
    monotonicMs: () => nowMs++,
    sleep: (ms: number) => {
      if (isCounted) turns++
      return inner.clock.sleep(ms)
    },
  }
  const options: OpenOptionsWithEnv<string, string> = {
    env: { ...inner, clock },
    memory: 64 << 20,
    blockBytes: 1,
    workers: 0,
  }
  const db = await open('/db', options)
  await db.batch(Array.from({ length: BLOCKS }, (_, i) => ({ type: 'put', key: `${i}`, value: '' })))
  await db.flush()
  await db.close()
  isCounted = true
  const parsedAtOnce = vi.spyOn(IndexBlock, 'parse')
  const again = await open('/db', options)
  expect(parsedAtOnce).not.toHaveBeenCalled()
  parsedAtOnce.mockRestore()
  expect(turns).toBeGreaterThanOrEqual((2 * BLOCKS) / STEP_BLOCKS)
  await again.close()
})

it('opens the file of a segment once, and leaves it closed where any part of it is damaged', async () => {
  const env = memoryEnv()
  const options: OpenOptionsWithEnv<string, string> = { env, workers: 0 }
  const isSegment = (path: string) => path.endsWith('.seg')
  const db = await open('/db', options)
  await db.put('key', 'value')
  await db.flush()
  const [path] = env.fs.openFiles().filter(isSegment)
  await db.close()
  const opened = vi.spyOn(env.fs, 'open')
  await (await open('/db', options)).close()
  expect(opened.mock.calls.filter(([file]) => isSegment(file))).toHaveLength(1)
  opened.mockRestore()
  const whole = Buffer.from(env.fs.readFile(path!))
  let refused = 0
  for (let at = 0; at < whole.length; at += 3) {
    const damaged = Buffer.from(whole)
    damaged[at]! ^= 1
    env.fs.writeFile(path!, damaged)
    const again = await open('/db', options).catch((error: { code: string }) => error.code)
    if (typeof again !== 'string') await again.close()
    else refused += again === 'VARVE_CORRUPTION' ? 1 : Number.NaN
    expect(env.fs.openFiles()).toEqual([])
  }
  // All but the block of data.
  expect(refused).toBeGreaterThan(whole.length / 6)
})
