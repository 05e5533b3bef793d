import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { writeU32 } from '../../src/util/bytes.js'
import { CRC_RESIDUE, crc32 } from '../../src/util/crc.js'
import { shiftCrc } from '../../src/util/crc-shift.js'

it('the checksum of two parts follows from theirs, and from the length of one that ends with its own', () => {
  const random = new SeededRandom(11)
  for (let i = 0; i < 100; i++) {
    const bytes = Buffer.alloc(4 + random.below(9000))
    random.fill(bytes)
    const cut = random.below(bytes.length - 3)
    const before = crc32(bytes, 0, cut)
    expect((shiftCrc(before, bytes.length - cut) ^ crc32(bytes, cut, bytes.length)) >>> 0).toBe(
      crc32(bytes, 0, bytes.length),
    )
    writeU32(bytes, bytes.length - 4, crc32(bytes, cut, bytes.length - 4))
    expect((shiftCrc(before, bytes.length - cut) ^ CRC_RESIDUE) >>> 0).toBe(crc32(bytes, 0, bytes.length))
  }
})
