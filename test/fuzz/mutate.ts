import type { SeededRandom } from '../../src/env/seeded-random.js'
import { ByteWriter } from '../../src/util/byte-writer.js'

const INTERESTING = [0, 1, 2, 7, 8, 31, 32, 127, 128, 255, 256, 4096, 65_535, 65_536, 2 ** 24, 2 ** 31 - 1]
const HUGE = [2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40, 2 ** 48 - 1, 2 ** 48, 2 ** 53 - 1, 2 ** 53, 2 ** 56 - 1]

/** A few random changes: bits, bytes, numbers of every width, and pieces left out, doubled, moved or added. */
export function mutate(bytes: Uint8Array, random: SeededRandom): Buffer {
  let result = Buffer.from(bytes)
  for (let left = 1 + random.below(3); left > 0; left--) result = mutateOnce(result, random)
  return result
}

export function pick<T>(random: SeededRandom, choices: readonly T[]): T {
  return choices[random.below(choices.length)]!
}

/** A number as hostile files hold them. */
export function anyNumber(random: SeededRandom): number {
  if (random.below(4) === 0) return pick(random, HUGE)
  return random.below(2) === 0 ? pick(random, INTERESTING) : random.below(300)
}

function mutateOnce(bytes: Buffer<ArrayBuffer>, random: SeededRandom): Buffer<ArrayBuffer> {
  const at = random.below(bytes.length + 1)
  const size = 1 + random.below(random.below(8) === 0 ? 256 : 8)
  const end = Math.min(bytes.length, at + size)
  switch (random.below(10)) {
    case 0:
      if (at < bytes.length) bytes[at]! ^= 1 << random.below(8)
      return bytes
    case 1:
      if (at < bytes.length) bytes[at] = pick(random, [0, 1, 127, 128, 255, random.below(256)])
      return bytes
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)])
    case 3:
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)])
    case 4:
      return bytes.subarray(0, at)
    case 5:
      return Buffer.concat([bytes.subarray(0, at), randomBytes(random, size), bytes.subarray(at)])
    case 6:
      bytes.fill(pick(random, [0, 0xff]), at, end)
      return bytes
    case 7:
      return putNumber(bytes, at, random)
    case 8: {
      const from = random.below(bytes.length + 1)
      bytes.copy(bytes, at, from, from + size)
      return bytes
    }
    default: {
      const varint = new ByteWriter().varint(anyNumber(random)).view()
      return Buffer.concat([bytes.subarray(0, at), varint, bytes.subarray(Math.min(bytes.length, at + 1))])
    }
  }
}

function putNumber(bytes: Buffer<ArrayBuffer>, at: number, random: SeededRandom): Buffer<ArrayBuffer> {
  const value = anyNumber(random)
  const width = pick(random, [2, 4, 8])
  if (at + width > bytes.length) return bytes
  if (width === 2) bytes.writeUInt16LE(value % 2 ** 16, at)
  else if (width === 4) bytes.writeUInt32LE(value % 2 ** 32, at)
  else bytes.writeBigUInt64LE(BigInt(value), at)
  return bytes
}

function randomBytes(random: SeededRandom, size: number): Buffer<ArrayBuffer> {
  const bytes = Buffer.alloc(size)
  random.fill(bytes)
  return bytes
}
