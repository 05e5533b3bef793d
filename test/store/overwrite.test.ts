import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { open } from '../../src/index.js'
import { pad } from './helpers.js'

const KEYS = 100_000
const ROUNDS = 10
const BATCH = 1000

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'varve-overwrite-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true })
})

// Values that don't compress, so that what is on disk can be held against what is alive.
function valueFor(key: number, round: number): Buffer {
  const value = Buffer.alloc(48)
  let state = (key * 16 + round) | 1
  for (let at = 0; at < value.length; at += 4) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) ^ Math.imul(at + 1, 0x297a2d39)
    value.writeInt32LE(state ^ (state >>> 13), at)
  }
  return value
}

it('D10: ten overwrites of 100,000 keys leave one entry a key and at most 1.2 times the live bytes', async () => {
  const db = await open<string, Buffer>(directory, { valueEncoding: 'buffer', memory: 16 * 2 ** 20 })
  for (let round = 1; round <= ROUNDS; round++) {
    for (let from = 0; from < KEYS; from += BATCH) {
      const keys = Array.from({ length: BATCH }, (_, i) => ((from + i) * 7919) % KEYS)
      await db.batch(keys.map((key) => ({ type: 'put', key: pad(key), value: valueFor(key, round) })))
    }
  }
  await db.compact()
  const liveBytes = KEYS * (pad(0).length + 48)
  const { levels } = db.stats()
  expect(levels.reduce((sum, level) => sum + level.entries, 0)).toBe(KEYS)
  expect(levels.reduce((sum, level) => sum + level.bytes, 0)).toBeLessThanOrEqual(1.2 * liveBytes)
  await db.close()
  const names = readdirSync(directory)
  const diskBytes = names.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
  expect(diskBytes).toBeLessThanOrEqual(1.2 * liveBytes)
  const again = await open<string, Buffer>(directory, { valueEncoding: 'buffer' })
  let checked = 0
  for await (const [key, value] of again.entries()) {
    if (!value.equals(valueFor(Number(key), ROUNDS))) throw new Error(`${key} holds something else`)
    checked++
  }
  expect(checked).toBe(KEYS)
  await again.close()
})
