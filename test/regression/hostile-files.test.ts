import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { POSITION_MAX } from '../../src/key/position.js'
import { Block } from '../../src/segment/block.js'
import { VARINT_BYTES_MAX, writeVarint } from '../../src/segment/block-columns.js'
import type { SegmentMeta } from '../../src/segment/segment-meta.js'
import { encodeEdit } from '../../src/version/edit-format.js'
import {
  decodeCurrent,
  encodeCurrent,
  encodeManifestHeader,
  encodeRecord,
  manifestSeed,
} from '../../src/version/manifest-format.js'
import { Version, type VersionEdit } from '../../src/version/version.js'
import { readManifest, VersionSet } from '../../src/version/version-set.js'
import { codeOf, failureOf, openMemory, STORE } from '../store/helpers.js'

const STORE_ID = Buffer.alloc(16, 1)

function segment(number: number, start: string, end: string): SegmentMeta {
  const range = { start: Buffer.from(start), end: Buffer.from(end) }
  const counts = { entryCount: 1, delCount: 0, rangeTombstoneCount: 0, keyBytes: 1, valueBytes: 1, blobs: [] }
  return { number, sizeBytes: 100, checksum: 1, range, positionMin: 1, positionMax: 1, ...counts }
}

/** A store whose manifest holds these edits, every checksum right. */
function withManifest(edits: readonly VersionEdit[]): ReturnType<typeof memoryEnv> {
  const fs = new MemoryFileSystem()
  fs.makeDirectory(STORE)
  const header = encodeManifestHeader(STORE_ID)
  const encoded = edits.map((edit) => encodeRecord(encodeEdit(edit), 0, manifestSeed(header)))
  fs.writeFile(`${STORE}/MANIFEST-000001`, Buffer.concat([header, ...encoded]))
  fs.writeFile(`${STORE}/CURRENT`, encodeCurrent('MANIFEST-000001'))
  return memoryEnv({ fs })
}

describe('a CURRENT with a right checksum', () => {
  /** Was: an empty name was taken, and one with other digits ended in a TypeError. */
  it.each([
    '',
    'MANIFEST-0000001',
    'MANIFEST-9999999999999999',
    '../MANIFEST-000001',
    'LOCK',
  ])('that names %j is refused', async (name) => {
    expect(await codeOf(() => decodeCurrent(encodeCurrent(name), 'CURRENT'))).toBe('VARVE_CORRUPTION')
  })
})

describe('a manifest with right checksums', () => {
  /** Was: a broken invariant, without code and file. */
  it.each<[string, VersionEdit[]]>([
    ['removes a segment that is not there', [{ removed: [7] }]],
    ['moves the flushed position back', [{ flushedPosition: 9 }, { flushedPosition: 8 }]],
    ['holds a position that no log can', [{ flushedPosition: POSITION_MAX + 1 }]],
    ['leaves no file numbers', [{ nextFileNumber: 2 ** 53 - 1 }]],
    [
      'has segments that overlap in a sorted level',
      [
        {
          added: [
            { level: 1, meta: segment(1, 'a', 'c') },
            { level: 1, meta: segment(2, 'b', 'd') },
          ],
        },
      ],
    ],
    [
      'adds a segment twice',
      [
        {
          added: [
            { level: 1, meta: segment(1, 'a', 'c') },
            { level: 2, meta: segment(1, 'a', 'c') },
          ],
        },
      ],
    ],
    ['has a segment of no keys', [{ added: [{ level: 1, meta: segment(1, 'c', 'a') }] }]],
  ])('that %s is refused, and named', async (_, edits) => {
    const env = withManifest(edits)
    const failure = await failureOf(() => readManifest(env, STORE))
    expect(failure?.code).toBe('VARVE_CORRUPTION')
    expect(failure?.file).toBe(`${STORE}/MANIFEST-000001`)
  })
})

/** Was: lengths were cut to 32 bits, so that one of 2^32 + 1 was read as 1. */
it('a block whose key lengths are beyond 32 bits is not sound', () => {
  const bytes = Buffer.alloc(5 * VARINT_BYTES_MAX)
  let at = 0
  for (const number of [0, 1, 2 ** 32 + 1, 1, 0]) at = writeVarint(bytes, at, number)
  bytes[at++] = 0x61
  expect(Block.parse(bytes.subarray(0, at))).toBeUndefined()
})

/** Was: 2^53, while a frame holds 48 bits: beyond them the log of the next open had a gap. */
it('positions end where frames of the log can still hold them', async () => {
  const env = memoryEnv()
  env.fs.makeDirectory(STORE)
  const flushedPosition = POSITION_MAX - 2
  const version = new Version({ ...Version.EMPTY, flushedPosition, durablePosition: flushedPosition })
  const versions = new VersionSet(env, STORE, STORE_ID, version, 1)
  versions.rotate()
  await versions.close()
  const { db } = await openMemory({ workers: 0 }, env)
  expect(await db.put('last', '1')).toBe(POSITION_MAX - 1)
  await db.flush()
  expect(await db.put('last', '2')).toBe(POSITION_MAX)
  expect(await codeOf(() => db.put('last', '3'))).toBe('VARVE_POSITION_EXHAUSTED')
  await db.close()
  const again = (await openMemory({ workers: 0 }, env)).db
  expect(again.position).toBe(POSITION_MAX)
  expect(await again.get('last')).toBe('2')
  await again.close()
})
