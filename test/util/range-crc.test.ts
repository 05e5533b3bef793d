import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { crc32 } from '../../src/util/crc.js'
import { RangeCrc } from '../../src/util/range-crc.js'

it('the checksum of any part is that of crc32, before and after it stops computing plainly', () => {
  const random = new SeededRandom(7)
  const bytes = Buffer.alloc(5000)
  random.fill(bytes)
  const checksums = new RangeCrc(bytes)
  for (let i = 0; i < 2000; i++) {
    const start = random.below(bytes.length + 1)
    const end = start + random.below(bytes.length + 1 - start)
    const seed = random.uint32()
    expect(checksums.crc(start, end, seed)).toBe(crc32(bytes, start, end, seed))
  }
})
