import { expect, it, vi } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { open } from '../../src/index.js'
import { IndexBlock, IndexBuilder } from '../../src/segment/index-block.js'
import type { OpenOptionsWithEnv } from '../../src/store/options.js'

const BLOCKS = 10_000

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
  expect(steps).toBeGreaterThanOrEqual(BLOCKS / 1024)
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
  expect(turns).toBeGreaterThanOrEqual(2)
  await again.close()
})
