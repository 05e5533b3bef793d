import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { type RangeTombstone, RangeTombstones } from '../../src/key/range-tombstones.js'
import { compareBytes } from '../../src/util/bytes.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)

function covers({ start, end }: RangeTombstone, key: Buffer): boolean {
  return compareBytes(start, key) <= 0 && (!end || compareBytes(end, key) > 0)
}

it(`finds the newest tombstone over a key that a reader may see, as a search of all does (seed ${SEED})`, () => {
  const random = new SeededRandom(SEED)
  const anyKey = () => Buffer.from(Array.from({ length: random.below(4) }, () => random.below(4)))
  for (let round = 0; round < 60; round++) {
    const set = new RangeTombstones()
    const all: RangeTombstone[] = []
    const count = random.below(120)
    for (let position = 1; position <= count; position++) {
      const tombstone = { start: anyKey(), end: random.below(4) === 0 ? undefined : anyKey(), position }
      all.push(tombstone)
      set.add(tombstone)
    }
    for (let i = 0; i < 60; i++) {
      const key = anyKey()
      const atMost = random.below(count + 2)
      const seen = all.filter((tombstone) => tombstone.position <= atMost && covers(tombstone, key))
      expect(set.find(key, 0, key.length, atMost)?.position).toBe(seen.at(-1)?.position)
    }
  }
})
