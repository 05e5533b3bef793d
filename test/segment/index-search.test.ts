import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { IndexBlock, IndexBuilder } from '../../src/segment/index-block.js'

const SEED = 7
const random = new SeededRandom(SEED)

function indexOf(separators: readonly Buffer[]): IndexBlock {
  const builder = new IndexBuilder()
  for (const separator of separators) builder.add(separator, 10)
  return IndexBlock.parse(builder.build(), 'file', 0, separators.length * 10)
}

function randomKey(byteMax: number, lengthMax: number): Buffer {
  return Buffer.from(Array.from({ length: random.below(lengthMax + 1) }, () => random.below(byteMax)))
}

function find(index: IndexBlock, key: Buffer): number {
  const within = Buffer.concat([Buffer.from('<'), key, Buffer.from('>')])
  return index.find(within, 1, 1 + key.length)
}

it.each<[string, () => Buffer]>([
  ['spread evenly', () => randomKey(256, 12)],
  ['of few bytes', () => randomKey(2, 10)],
  ['of digits behind the same prefix', () => Buffer.from(`user:${100 + random.below(800)}`)],
  ['that differ beyond their first words', () => Buffer.concat([Buffer.from('same'), randomKey(256, 3)])],
  [
    'near each other but for a few',
    () => Buffer.from([random.below(9) === 0 ? 255 : 1, 0, 0, random.below(256)]),
  ],
  ['of the largest bytes', () => Buffer.alloc(4 + random.below(5), 255)],
])(`finds the block of any key among separators %s (seed ${SEED})`, (_, separatorAt) => {
  for (const count of [0, 1, 2, 3, 40, 300]) {
    const texts = new Set(Array.from({ length: count }, () => separatorAt().toString('latin1')))
    const separators = [...texts].map((text) => Buffer.from(text, 'latin1')).sort(Buffer.compare)
    const index = indexOf(separators)
    const keys = separators.flatMap((separator): Buffer[] => [
      separator,
      Buffer.concat([separator, Buffer.from([0])]),
      separator.subarray(0, -1),
    ])
    for (let i = 0; i < 100; i++) keys.push(separatorAt(), randomKey(256, 8))
    for (const key of keys) {
      const found = separators.findIndex((separator) => Buffer.compare(separator, key) >= 0)
      const wanted = found < 0 ? separators.length : found
      expect([key, find(index, key)]).toEqual([key, wanted])
      // A block starts with a key that it would be asked for.
      for (const block of new Set([0, wanted - 1, wanted, wanted + 1, separators.length - 1]))
        if (block >= 0 && block < separators.length)
          expect([key, block, index.mayStartWith(block, key, 0, key.length)]).toEqual([
            key,
            block,
            block === wanted,
          ])
    }
  }
})

it(`finds some block, or none, among separators out of order (seed ${SEED})`, () => {
  for (let round = 0; round < 50; round++) {
    const separators = Array.from({ length: 1 + random.below(20) }, () => randomKey(256, 6))
    const index = indexOf(separators)
    for (let i = 0; i < 20; i++) {
      const block = find(index, randomKey(256, 6))
      expect(Number.isInteger(block) && block >= 0 && block <= separators.length).toBe(true)
    }
  }
})
