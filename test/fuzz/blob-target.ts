import { memoryEnv } from '../../src/env/memory-env.js'
import { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { BlobFile } from '../../src/segment/blob-file.js'
import {
  BLOB_HEADER_BYTES,
  encodeBlobHeader,
  REFERENCE_BYTES,
  readReference,
  writeReference,
} from '../../src/segment/blob-format.js'
import { sectionSizeMax, writeSection } from '../../src/segment/block-codec.js'
import { BLOCKING } from '../../src/segment/read-context.js'
import { writeU32 } from '../../src/util/bytes.js'
import { crc32 } from '../../src/util/crc.js'
import { STORE } from '../store/helpers.js'
import { mutate } from './mutate.js'
import type { Target } from './targets.js'

const ID = 4096
const NAME = '000000001000.blob'

/** A blob file and, as its last bytes, what a segment refers to in it: both as an attacker likes, checksums right. */
export function blobTarget(): Target {
  return {
    name: 'blob',
    weight: 6,
    seeds: [seedOf(Buffer.from('value '.repeat(20)), true), seedOf(Buffer.from('short'), false)],
    mutate: (bytes, random) => {
      const changed = mutate(bytes, random)
      if (changed.length >= BLOB_HEADER_BYTES && random.below(4) > 0)
        writeU32(changed, 18, crc32(changed, 0, 18))
      return changed
    },
    run: (bytes) => {
      const fs = new MemoryFileSystem()
      fs.makeDirectory(STORE)
      const end = Math.max(0, bytes.length - REFERENCE_BYTES)
      const reference = Buffer.alloc(REFERENCE_BYTES)
      reference.set(bytes.subarray(end))
      fs.writeFile(`${STORE}/${NAME}`, bytes.subarray(0, end))
      const file = new BlobFile(memoryEnv({ fs }), STORE, ID)
      try {
        file.read(readReference(reference, 0), BLOCKING, true)
      } finally {
        file.close()
      }
    },
  }
}

function seedOf(value: Buffer, isCompressed: boolean): Buffer {
  const section = Buffer.alloc(sectionSizeMax(value.length))
  const sizeBytes = writeSection(value, isCompressed, section, 0)
  const reference = Buffer.alloc(REFERENCE_BYTES)
  writeReference(reference, 0, {
    expiresAt: undefined,
    blobId: ID,
    offset: BLOB_HEADER_BYTES,
    sizeBytes,
    valueBytes: value.length,
  })
  return Buffer.concat([encodeBlobHeader(ID), section.subarray(0, sizeBytes), reference])
}
