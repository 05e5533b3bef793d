import { expect, it } from 'vitest'
import {
  encodeManifestHeader,
  encodeRecord,
  manifestSeed,
  records,
} from '../../src/version/manifest-format.js'
import { codeOf } from '../store/helpers.js'

/** A header and three records, each written once all before it were on disk. */
function manifest(): { bytes: Buffer; starts: number[] } {
  const header = encodeManifestHeader(Buffer.alloc(16, 3))
  const parts: Buffer[] = [header]
  const starts: number[] = []
  let length = header.length
  for (const edit of ['first', 'second', 'third']) {
    starts.push(length)
    const record = encodeRecord(Buffer.from(edit), length, manifestSeed(header))
    parts.push(record)
    length += record.length
  }
  return { bytes: Buffer.concat(parts), starts }
}

it('a manifest may end in a torn record, but not have a damaged one before another', async () => {
  const { bytes, starts } = manifest()
  expect([...records(bytes, 'manifest')]).toHaveLength(3)
  expect([...records(bytes.subarray(0, -1), 'manifest')]).toHaveLength(2)
  for (const damaged of [0, 1]) {
    const copy = Buffer.from(bytes)
    copy[starts[damaged]! + 18]! ^= 1
    expect(await codeOf(() => [...records(copy, 'manifest')])).toBe('VARVE_CORRUPTION')
  }
})
