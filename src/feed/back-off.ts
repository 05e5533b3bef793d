import type { Random } from '../env/env.js'
import { readU32 } from '../util/bytes.js'

/** How long to wait before the next try, in milliseconds: twice as long each time, less up to a half by chance. */
export function backOffMs(failures: number, minMs: number, maxMs: number, random: Random): number {
  const delayMs = Math.min(maxMs, minMs * 2 ** Math.min(failures - 1, 60))
  const bytes = Buffer.allocUnsafe(4)
  random.fill(bytes)
  return delayMs * (0.5 + readU32(bytes, 0) / 2 ** 33)
}
