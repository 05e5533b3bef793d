import { expect, it } from 'vitest'
import { LOG_HEADER_BYTES, logSeed, readLogHeader, writeLogHeader } from '../../src/log/log-format.js'
import { scanLog } from '../../src/log/log-scan.js'
import { writeU16, writeU32, writeU48 } from '../../src/util/bytes.js'
import { encodeManifestHeader, records } from '../../src/version/manifest-format.js'

const SIZE = 4 * 2 ** 20
const STEP = 32
/** Minutes by the square of the size, a second in proportion to it. */
const TIME_MAX_MS = 10_000

/** Was: each likely frame was checked to its end, so that 4 MiB of forged ones took minutes and 64 MiB hours. */
it('a log full of forged frames is searched in time proportional to its size', () => {
  const storeId = Buffer.alloc(16, 7)
  const bytes = Buffer.alloc(SIZE)
  writeLogHeader(bytes, {
    ...{ number: 1, basePosition: 0, previousNumber: 0, previousBytes: 0, previousChain: 0 },
    ...{ storeId, createdMs: 0 },
  })
  for (let at = LOG_HEADER_BYTES; at + STEP <= SIZE; at += STEP) {
    writeU32(bytes, at + 4, SIZE - at - STEP)
    writeU48(bytes, at + 24, LOG_HEADER_BYTES + 1)
    writeU16(bytes, at + 30, 1)
  }
  const startMs = performance.now()
  const scan = scanLog(bytes, readLogHeader(bytes, 'log')!, logSeed(storeId, 1), 'log', () => {})
  expect(scan).toMatchObject({ isTorn: true, endOffset: LOG_HEADER_BYTES })
  expect(performance.now() - startMs).toBeLessThan(TIME_MAX_MS)
})

it('a manifest full of forged records is searched in time proportional to its size', () => {
  const bytes = Buffer.alloc(SIZE)
  encodeManifestHeader(Buffer.alloc(16)).copy(bytes)
  for (let at = 64; at + 16 <= SIZE; at += 16) {
    writeU32(bytes, at + 4, SIZE - at - 16)
    writeU32(bytes, at + 8, 40)
  }
  const startMs = performance.now()
  expect([...records(bytes, 'manifest')]).toEqual([])
  expect(performance.now() - startMs).toBeLessThan(TIME_MAX_MS)
})
