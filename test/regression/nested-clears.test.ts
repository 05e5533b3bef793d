import { expect, it } from 'vitest'
import { RangeTombstones } from '../../src/key/range-tombstones.js'

const COUNT = 20_000

/** Was: a list of tombstones for each piece between two bounds, so that 20,000 nested ones took gigabytes. */
it('nested range tombstones do not take memory by the square of their number', () => {
  const set = new RangeTombstones()
  const bound = (number: number) => Buffer.from(String(number).padStart(8, '0'))
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < COUNT; i++) {
    set.add({ start: bound(i), end: bound(2 * COUNT - i), position: i + 1 })
  }
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(100 * 2 ** 20)
  const key = bound(COUNT)
  expect(set.find(key, 0, key.length, COUNT)?.position).toBe(COUNT)
  expect(set.find(key, 0, key.length, 7)?.position).toBe(7)
})
