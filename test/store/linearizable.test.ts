import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { VarveError } from '../../src/errors.js'
import { openMemory, TINY } from '../store/helpers.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)

/** One call on a register, with when it was called and when it returned, on one clock. */
interface Call {
  readonly called: number
  readonly returned: number
  /** The value it set; undefined: it read. */
  readonly set?: string
  /** The value that a read gave, or that a compare-and-set found. */
  readonly saw?: string | undefined
  readonly kind: 'set' | 'read' | 'swap'
}

/**
 * Whether the calls can be put in an order that respects real time and in which a register explains every answer.
 * Source: Wing and Gong, "Testing and Verifying Concurrent Objects", 1993, with the states that failed remembered.
 */
function isLinearizable(calls: readonly Call[]): boolean {
  const failed = new Set<string>()
  const search = (left: readonly number[], value: string | undefined): boolean => {
    if (left.length === 0) return true
    const name = `${left.join()}=${value}`
    if (failed.has(name)) return false
    const firstReturn = Math.min(...left.map((i) => calls[i]!.returned))
    for (const i of left) {
      const call = calls[i]!
      // Another call returned before this one began: it comes first.
      if (call.called > firstReturn) continue
      if (call.kind !== 'set' && call.saw !== value) continue
      const next = call.kind === 'read' ? value : call.set
      if (
        search(
          left.filter((other) => other !== i),
          next,
        )
      )
        return true
    }
    failed.add(name)
    return false
  }
  return search(
    calls.map((_, i) => i),
    undefined,
  )
}

describe('D41: a key read and written by many clients at once', () => {
  it(`is one register: every history is linearizable (seed ${SEED})`, async () => {
    const random = new SeededRandom(SEED)
    for (let round = 0; round < 30; round++) {
      const { db } = await openMemory({ ...TINY, durability: round % 2 === 0 ? 'os' : 'disk' })
      const calls: Call[] = []
      let clock = 0
      const client = async (id: number) => {
        for (let i = 0; i < 6; i++) {
          for (let pause = random.below(4); pause > 0; pause--) await Promise.resolve()
          if (random.below(5) === 0) await new Promise((resolve) => setImmediate(resolve))
          const set = `${id}:${i}`
          const called = clock++
          const kind = (['set', 'read', 'swap'] as const)[random.below(3)]!
          if (kind === 'set') {
            await db.put('x', set)
            calls.push({ kind, set, called, returned: clock++ })
          } else if (kind === 'read') {
            const saw = await db.get('x')
            calls.push({ kind, saw, called, returned: clock++ })
          } else {
            const entry = await db.getEntry('x')
            const isSwapped = await db.put('x', set, { ifPosition: entry?.position ?? null }).then(
              () => true,
              (error: unknown) => {
                if (error instanceof VarveError && error.code === 'VARVE_CONFLICT') return false
                throw error
              },
            )
            // One that failed changed nothing, and said nothing of the value.
            if (isSwapped) calls.push({ kind, set, saw: entry?.value, called, returned: clock++ })
          }
          if (random.below(20) === 0) void db.flush()
        }
      }
      await Promise.all(Array.from({ length: 5 }, (_, id) => client(id)))
      expect(calls.length).toBeGreaterThan(10)
      expect(isLinearizable(calls)).toBe(true)
      await db.close()
    }
  })

  it('is told from one that is not: the checker finds a stale read and a lost write', () => {
    const set = (value: string, called: number, returned: number): Call => ({
      kind: 'set',
      set: value,
      called,
      returned,
    })
    const read = (saw: string | undefined, called: number, returned: number): Call => ({
      kind: 'read',
      saw,
      called,
      returned,
    })
    expect(isLinearizable([set('a', 0, 1), read('a', 2, 3)])).toBe(true)
    expect(isLinearizable([set('a', 0, 3), read(undefined, 1, 2)])).toBe(true)
    expect(isLinearizable([set('a', 0, 1), read(undefined, 2, 3)])).toBe(false)
    expect(isLinearizable([set('a', 0, 3), set('b', 1, 2), read('a', 4, 5), read('b', 6, 7)])).toBe(false)
    expect(
      isLinearizable([set('a', 0, 1), { kind: 'swap', saw: undefined, set: 'b', called: 2, returned: 3 }]),
    ).toBe(false)
  })
})
