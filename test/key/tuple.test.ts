import { toBufferKey } from 'ordered-binary'
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { decodeTuple, encodeTuple, type TuplePart } from '../../src/key/tuple.js'

const SEED = 20261126
const CHARACTERS = [
  '\0',
  '\x01',
  '\x03',
  '\x04',
  '\x05',
  '\x1a',
  '\x1b',
  '\x1c',
  'a',
  'z',
  'é',
  '🌊',
  '\uffff',
  '\x7f',
]
const NUMBERS = [
  ...[0, 1, -1, 0.1, -0.1, 1.5, -1.5, 255, 256, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 - 1, -(2 ** 53), 1e21],
  ...[1e-300, -1e-300, 5e-324, -5e-324, Number.MAX_VALUE, -Number.MAX_VALUE, Infinity, -Infinity],
]

const random = new SeededRandom(SEED)
const below = (limit: number) => random.below(limit)
const pick = <T>(choices: readonly T[]): T => choices[below(choices.length)]!
const text = () => Array.from({ length: below(pick([3, 8, 8, 200])) }, () => pick(CHARACTERS)).join('')
const number = () => (below(2) ? pick(NUMBERS) : (below(2 ** 30) - 2 ** 29) / (1 + below(1000)))
const bytes = () => Buffer.from(Array.from({ length: below(6) }, () => below(below(2) ? 6 : 256)))
function bigint(): bigint {
  let value = 0n
  for (let i = below(20); i >= 0; i--) value = value * 65_536n + BigInt(below(65_536))
  return below(2) ? value : -value
}

const KINDS = [text, number, bytes, bigint, () => below(2) === 1, () => null]
const tuple = (): TuplePart[] => Array.from({ length: below(5) }, () => pick(KINDS)())

/** The order that the header of the format promises. */
function rank(part: TuplePart): number {
  if (part === null) return 0
  if (part instanceof Uint8Array) return 1
  return typeof part === 'boolean' ? 2 : typeof part === 'string' ? 4 : 3
}

function compareParts(a: TuplePart, b: TuplePart): number {
  if (rank(a) !== rank(b)) return rank(a) - rank(b)
  if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b as string))
  if (a instanceof Uint8Array) return Buffer.compare(a, b as Uint8Array)
  return a! < b! ? -1 : a! > b! ? 1 : 0
}

function compareTuples(a: readonly TuplePart[], b: readonly TuplePart[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = compareParts(a[i]!, b[i]!)
    if (order !== 0) return Math.sign(order)
  }
  return Math.sign(a.length - b.length)
}

const decoded = (encoded: Buffer) => decodeTuple(encoded, 0, encoded.length)

function expectBack(parts: readonly TuplePart[]): void {
  const back = decoded(encodeTuple(parts))
  const isSame = (part: TuplePart, i: number) =>
    // A bigint that is a double comes back as one.
    typeof part === 'bigint' ? BigInt(back[i] as number) === part : compareParts(part, back[i]!) === 0
  const isWhole = back.length === parts.length && parts.every(isSame)
  if (!isWhole) expect(back, `seed ${SEED}`).toEqual(parts)
}

describe('tuples as bytes', () => {
  it('come back as they were, whatever they are made of', () => {
    for (let i = 0; i < 20_000; i++) expectBack(tuple())
  })

  it('sort as the tuples do', () => {
    let last = tuple()
    for (let i = 0; i < 20_000; i++) {
      // Half of them share a beginning with the one before.
      const next = below(2) ? tuple() : [...last.slice(0, below(last.length + 1)), ...tuple()]
      const order = Buffer.compare(encodeTuple(last), encodeTuple(next))
      if (order !== compareTuples(last, next)) expect([last, next], `seed ${SEED}`).toEqual('in order')
      last = next.slice(0, 6)
    }
  })

  it.each([
    [['a', 'b', null]],
    [['a', 'b', null, null]],
    [['', '', '']],
    [[null, null, null]],
    [['b', Buffer.from([0, 255])]],
    [[Buffer.alloc(0), 'x']],
    [[`${'long '.repeat(20)}\0with a part of its own`, 1]],
    [['x'.repeat(60_000)]],
    [[2n ** 70n + 1n, -(2n ** 90n) - 1n, 'x']],
  ])('%#: what an encoding without escapes would misread is kept apart', (parts) => {
    expect(decoded(encodeTuple(parts))).toEqual(parts)
  })

  it('know one zero, and numbers and bigints of one value as one', () => {
    expect(Object.is(decoded(encodeTuple([-0]))[0], 0)).toBe(true)
    expect(encodeTuple([5n])).toEqual(encodeTuple([5]))
    expect(() => encodeTuple([2n ** 1001n])).toThrow('a bigint in a key has at most 1000 bits')
  })

  it('are the bytes of ordered-binary where that keeps what it is given', () => {
    for (let i = 0; i < 2000; i++) {
      const parts = Array.from({ length: 1 + below(3) }, () =>
        pick([() => [...text()].slice(0, 20).join(''), number, bigint])(),
      )
      expect(encodeTuple(parts)).toEqual(Buffer.from(toBufferKey(parts as never)))
    }
  })

  it('refuse bytes that are none', () => {
    for (const hex of ['6b00', '01', '05', '1800', '10ff', '0361' + '04', '6104', '0601'])
      expect(() => decoded(Buffer.from(hex, 'hex')), hex).toThrow('a key that was read is no tuple')
  })
})
