import { describe, expect, it } from 'vitest'
import { ALL_CRASH_POLICIES } from '../../src/env/crash-states.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { Durability } from '../../src/index.js'
import { codeOf, openMemory, pad, recovered, TINY } from './helpers.js'

const MODES = new Map<string, Durability>([
  ['memory', 'memory'],
  ['os', 'os'],
  ['intervalMs', { intervalMs: 3 }],
  ['disk', 'disk'],
])
const BATCHES = 24

/** A store at the moment of an acknowledgement. */
interface Moment {
  readonly fs: MemoryFileSystem
  readonly acknowledged: number
  readonly durable: number
}

/** Batches of two keys, through flushes and merges; a moment after each sixth acknowledgement. */
async function momentsOf(durability: Durability): Promise<Moment[]> {
  const { db, env } = await openMemory({ ...TINY, durability })
  const moments: Moment[] = []
  for (let i = 1; i <= BATCHES; i++) {
    const value = `${i} `.repeat(30)
    const acknowledged = await db.batch([
      { type: 'put', key: `a${pad(i)}`, value },
      { type: 'put', key: `b${pad(i)}`, value },
    ])
    if (i % 6 !== 0) continue
    if (typeof durability === 'object')
      await new Promise((resolve) => setTimeout(resolve, i % 4 === 0 ? 5 : 0))
    moments.push({ fs: env.fs.clone(), acknowledged, durable: db.durablePosition })
  }
  await db.close()
  return moments
}

/** How many batches are there; they must be the first ones, each whole. */
async function prefixOf(fs: MemoryFileSystem): Promise<number> {
  const found = Object.keys(await recovered(fs))
  const count = found.length / 2
  const expected = ['a', 'b'].flatMap((part) => Array.from({ length: count }, (_, i) => part + pad(i + 1)))
  expect(found.sort()).toEqual(expected)
  return count
}

/** The fewest batches that a kill left beyond what was acknowledged, or took of them. */
async function afterKills(durability: Durability): Promise<number> {
  const left = []
  for (const { fs, acknowledged } of await momentsOf(durability))
    left.push((await prefixOf(fs)) - acknowledged)
  return Math.min(...left)
}

/** The same of every kind of power loss, beyond `durablePosition`. */
async function afterPowerLosses(durability: Durability): Promise<{ left: number; durable: number }> {
  const left: number[] = []
  let last = 0
  for (const { fs, durable } of await momentsOf(durability)) {
    for (const state of fs.crashStates(ALL_CRASH_POLICIES)) left.push((await prefixOf(state.fs)) - durable)
    last = durable
  }
  return { left: Math.min(...left), durable: last }
}

describe('a kill takes', () => {
  it("of 'memory' the last writes: what is left is a prefix of whole batches", async () => {
    expect(await afterKills('memory')).toBeLessThan(0)
  })

  it.each(['os', 'intervalMs', 'disk'])("of '%s' nothing that was acknowledged", async (mode) => {
    expect(await afterKills(MODES.get(mode)!)).toBe(0)
  })
})

describe('a power loss takes', () => {
  it.each([...MODES.keys()])("of '%s' at most what is newer than durablePosition", async (mode) => {
    const { left, durable } = await afterPowerLosses(MODES.get(mode)!)
    expect(left).toBe(0)
    if (mode === 'intervalMs') expect(durable).toBeGreaterThan(0)
    if (mode === 'disk') expect(durable).toBe(BATCHES)
  })
})

describe('a write that was refused', () => {
  it('may be there or not after the next open, and once it is read there it outlasts every power loss', async () => {
    const seen = new Set<boolean>()
    for (const when of ['before', 'after'] as const) {
      const { db, env } = await openMemory({ ...TINY, durability: 'disk' })
      await db.put('kept', '1')
      env.fs.inject({ op: 'sync', path: /\.log$/, when, effect: { errno: 'EIO' } })
      expect(await codeOf(() => db.put('refused', '1'))).toBe('VARVE_IO')
      await codeOf(() => db.close())
      const survivors = [env.fs.clone(), ...[...env.fs.crashStates()].map(({ fs }) => fs)]
      for (const fs of survivors) {
        const { db: again, env: next } = await openMemory(TINY, { ...env, fs })
        const isThere = await again.has('refused')
        seen.add(isThere)
        for (const { fs: lost } of next.fs.crashStates(ALL_CRASH_POLICIES)) {
          const found = await recovered(lost)
          expect(found).toEqual(isThere ? { kept: '1', refused: '1' } : { kept: '1' })
        }
        await again.close()
      }
    }
    expect(seen).toEqual(new Set([true, false]))
  })
})
