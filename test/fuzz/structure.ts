import type { SeededRandom } from '../../src/env/seeded-random.js'
import { FRAME_HEADER_BYTES, LOG_HEADER_BYTES, logSeed, readFrameHeader } from '../../src/log/log-format.js'
import { decodeSection, writeSection } from '../../src/segment/block-codec.js'
import { IndexBlock, IndexBuilder } from '../../src/segment/index-block.js'
import { decodeFooter, encodeFooter, FOOTER_BYTES } from '../../src/segment/segment-format.js'
import { ByteReader } from '../../src/util/byte-reader.js'
import { readU64, writeU32 } from '../../src/util/bytes.js'
import { crc32 } from '../../src/util/crc.js'
import {
  encodeRecord,
  MANIFEST_HEADER_BYTES,
  manifestSeed,
  records,
} from '../../src/version/manifest-format.js'
import { mutate, pick } from './mutate.js'

/** Changes parts of a log file and makes every checksum right again. */
export function mutateLog(bytes: Uint8Array, random: SeededRandom): Buffer {
  const header = Buffer.from(bytes.subarray(0, LOG_HEADER_BYTES))
  const seed = logSeed(header.subarray(56, 72), readU64(header, 16))
  const frames = splitLog(Buffer.from(bytes))
  // What follows the last frame: room for frames to come.
  const tail = bytes.subarray(frames.reduce((end, frame) => end + frame.length, LOG_HEADER_BYTES))
  for (let left = 1 + random.below(2); left > 0; left--) {
    const at = random.below(frames.length + 1)
    if (at === frames.length) {
      const changed = mutate(header.subarray(0, LOG_HEADER_BYTES - 4), random)
      changed.copy(header, 0, 0, LOG_HEADER_BYTES - 4)
    } else {
      const action = random.below(8)
      if (action === 0) frames.splice(at, 1)
      else if (action === 1) frames.splice(at, 0, Buffer.from(pick(random, frames)))
      else frames[at] = mutateFrame(frames[at]!, random)
    }
  }
  writeU32(header, LOG_HEADER_BYTES - 4, crc32(header, 0, LOG_HEADER_BYTES - 4))
  for (const frame of frames) {
    if (frame.length >= FRAME_HEADER_BYTES) writeU32(frame, 0, crc32(frame, 4, frame.length, seed))
  }
  return Buffer.concat([header, ...frames, random.below(10) > 0 ? tail : mutate(Buffer.from(tail), random)])
}

function mutateFrame(frame: Buffer, random: SeededRandom): Buffer {
  const isHeader = random.below(3) === 0
  const header = frame.subarray(0, FRAME_HEADER_BYTES)
  const body = frame.subarray(FRAME_HEADER_BYTES)
  const changed = isHeader
    ? Buffer.concat([mutate(header, random).subarray(0, FRAME_HEADER_BYTES), body])
    : Buffer.concat([header, mutate(body, random)])
  const isFitted = changed.length >= FRAME_HEADER_BYTES && random.below(10) > 0
  if (isFitted) writeU32(changed, 4, changed.length - FRAME_HEADER_BYTES)
  return changed
}

function splitLog(bytes: Buffer): Buffer[] {
  const frames: Buffer[] = []
  for (let at = LOG_HEADER_BYTES; at < bytes.length; ) {
    const { bodyBytes, kind } = readFrameHeader(bytes, at)
    if (kind === 0) break
    const end = at + FRAME_HEADER_BYTES + bodyBytes
    frames.push(Buffer.from(bytes.subarray(at, end)))
    at = end
  }
  return frames
}

/** Changes edits of a manifest, or the order of its records, and makes every checksum right again. */
export function mutateManifest(bytes: Uint8Array, random: SeededRandom): Buffer {
  const header = bytes.subarray(0, MANIFEST_HEADER_BYTES)
  const edits: Buffer[] = []
  for (const { start, end } of records(bytes, 'manifest')) edits.push(Buffer.from(bytes.subarray(start, end)))
  const at = random.below(edits.length)
  const action = random.below(6)
  if (action === 0) edits.splice(at, 1)
  else if (action === 1) edits.splice(at, 0, Buffer.from(pick(random, edits)))
  else edits[at] = mutate(edits[at]!, random)
  const seed = manifestSeed(header)
  let length = header.length
  const encoded = edits.map((edit) => {
    const record = encodeRecord(edit, random.below(20) === 0 ? random.below(2 ** 20) : length, seed)
    length += record.length
    return record
  })
  return Buffer.concat([header, ...encoded])
}

/** Changes one section of a segment, and makes index, footer and every checksum fit again. */
export function mutateSegment(bytes: Uint8Array, random: SeededRandom): Buffer {
  const footer = decodeFooter(bytes.subarray(bytes.length - FOOTER_BYTES), 'segment', bytes.length)
  const raw = ({ offset, sizeBytes }: { offset: number; sizeBytes: number }) =>
    Buffer.from(bytes.subarray(offset, offset + sizeBytes))
  const payload = (section: Buffer) => decodeSection(section, 0, section.length, 'segment', 0)
  const index = payload(raw(footer.index))
  const blocks: Buffer[] = splitBlocks(bytes, index, footer.tombstones.offset)
  const sections: Record<'tombstones' | 'filter' | 'index' | 'properties', Buffer> = {
    tombstones: raw(footer.tombstones),
    filter: raw(footer.filter),
    index: raw(footer.index),
    properties: raw(footer.properties),
  }
  const what = pick(random, ['block', 'block', 'tombstones', 'filter', 'index', 'properties'] as const)
  if (what === 'block' && blocks.length > 0) {
    const at = random.below(blocks.length)
    blocks[at] = mutateSection(blocks[at]!, random)
    if (random.below(8) > 0) sections.index = seal(reindexed(index, blocks))
  } else if (what !== 'block') {
    sections[what] = mutateSection(sections[what], random)
  }
  const parts: Buffer[] = [...blocks]
  let offset = blocks.reduce((sum, block) => sum + block.length, 0)
  const handles = Object.entries(sections).map(([name, section]) => {
    const handle = { offset, sizeBytes: section.length }
    parts.push(section)
    offset += section.length
    return [name, handle] as const
  })
  const tail = encodeFooter(Object.fromEntries(handles) as unknown as typeof footer, offset + FOOTER_BYTES)
  if (random.below(40) > 0) return Buffer.concat([...parts, tail])
  const changed = mutate(tail.subarray(0, FOOTER_BYTES - 4), random)
  changed.copy(tail, 0, 0, FOOTER_BYTES - 4)
  writeU32(tail, FOOTER_BYTES - 4, crc32(tail, 0, FOOTER_BYTES - 4))
  return Buffer.concat([...parts, tail])
}

/** Changes what a section holds, or the compressed bytes themselves, and seals it again. */
export function mutateSection(section: Buffer, random: SeededRandom): Buffer {
  const body = section.length - 5
  if (section[body] === 1 && random.below(2) === 0) {
    const changed = Buffer.concat([mutate(section.subarray(0, body), random), Buffer.from([1, 0, 0, 0, 0])])
    writeU32(changed, changed.length - 4, crc32(changed, 0, changed.length - 4))
    return changed
  }
  return seal(mutate(decodeSection(section, 0, section.length, 'section', 0), random), random.below(2) === 0)
}

export function seal(payload: Buffer, isCompressed = false): Buffer {
  const section = Buffer.alloc(payload.length + 64)
  return Buffer.from(section.subarray(0, writeSection(payload, isCompressed, section, 0)))
}

function splitBlocks(bytes: Uint8Array, index: Buffer, dataBytes: number): Buffer[] {
  const parsed = IndexBlock.parse(index, 'segment', 0, dataBytes)
  return Array.from({ length: parsed.count }, (_, i) =>
    Buffer.from(bytes.subarray(parsed.offsetOf(i), parsed.endOf(i))),
  )
}

function reindexed(index: Buffer, blocks: readonly Buffer[]): Buffer {
  const reader = new ByteReader(index, 'index')
  const builder = new IndexBuilder()
  const count = reader.varint()
  for (let i = 0; i < count; i++) {
    const separator = reader.bytes()
    reader.varint()
    builder.add(separator, blocks[i]!.length)
  }
  return builder.build()
}
