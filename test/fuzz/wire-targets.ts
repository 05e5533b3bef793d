import { decodeBackup, encodeBackup } from '../../src/backup/backup-format.js'
import type { SeededRandom } from '../../src/env/seeded-random.js'
import { Sha256 } from '../../src/env/sha256.js'
import { readToken, TokenWriter } from '../../src/feed/resume-token.js'
import { batchSizeBytes } from '../../src/key/batch-format.js'
import { LOG_HEADER_BYTES } from '../../src/log/log-format.js'
import { FrameBuilder } from '../../src/replication/frame-builder.js'
import { FrameParser } from '../../src/replication/frame-parser.js'
import { formatEpochs, parseDigest, parseStatus } from '../../src/replication/messages.js'
import {
  encodeHead,
  readStreamHeader,
  STREAM_HEADER_BYTES,
  writeStreamHeader,
} from '../../src/replication/stream-format.js'
import {
  decodeParked,
  decodePlace,
  encodeParked,
  encodePlace,
  parkedKey,
  parseCursorKey,
} from '../../src/store/cursor-state.js'
import { epochBegunBy } from '../../src/store/epochs.js'
import { ByteWriter } from '../../src/util/byte-writer.js'
import { readU32, writeU32 } from '../../src/util/bytes.js'
import { crc32 } from '../../src/util/crc.js'
import { decodeRecord, encodeRecord, type ViewRecord } from '../../src/view/record.js'
import { mutate, pick } from './mutate.js'
import type { Sample } from './sample-store.js'
import type { Target } from './targets.js'

const FILE = '/store/file'
const SEED = 4711
const STORE_ID = Buffer.alloc(16, 7)
const HEX_ID = '07'.repeat(16)

/** What comes from other processes, and from callers; and what the log carries for what stands on it. */
export function wireTargets(sample: Sample): Target[] {
  return [...streamTargets(sample), ...textTargets(), ...stateTargets(), backupTarget()]
}

function streamTargets(sample: Sample): Target[] {
  const batches = sample.paths.log.map((path) =>
    Buffer.from(sample.fs.readFile(path).subarray(LOG_HEADER_BYTES + 32)),
  )
  const builder = new FrameBuilder(SEED)
  for (let i = 0; i < 6; i++)
    builder.add(i + 1, i < 3 ? 10 : 20, 1 + Math.floor(i / 4), batches[i % batches.length]!, 0)
  const frames = builder.take()!
  const head = encodeHead({ position: 6, oldestPosition: 1, wallMs: 99 }, 2, SEED)
  return [
    {
      name: 'stream',
      weight: 12,
      seeds: [frames, Buffer.concat([frames, head]), head, epochBatch()],
      mutate: mutateStream,
      run: (bytes) => {
        const parser = new FrameParser(SEED)
        // As a network cuts it: the first bytes alone, then the rest.
        const cut = bytes.length === 0 ? 0 : bytes[0]! % bytes.length
        for (const piece of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
          for (const frame of parser.push(Buffer.from(piece)).frames) readFrame(frame)
        }
      },
      isRefusal: (error) => error.code === 'VARVE_CORRUPTION',
    },
  ]
}

function readFrame({
  bytes,
  start,
  end,
  batchCount,
}: {
  bytes: Uint8Array
  start: number
  end: number
  batchCount: number
}): void {
  let batch = start
  for (let i = 0; i < batchCount; i++) {
    epochBegunBy(bytes, batch)
    batch += batchSizeBytes(bytes, batch)
  }
  if (batch !== end) throw new Error('a frame that does not end where it says')
}

/** A frame of the batch that begins an epoch. */
function epochBatch(): Buffer {
  const name = Buffer.from('\0epochs')
  const state = Buffer.from(new ByteWriter().varint(1).varint(1).varint(2).varint(40).view())
  const op = Buffer.alloc(7 + name.length + state.length)
  op[0] = 5
  op.writeUInt16LE(name.length, 1)
  op.writeUInt32LE(state.length, 3)
  op.set(name, 7)
  op.set(state, 7 + name.length)
  const batch = Buffer.alloc(8 + op.length)
  writeU32(batch, 0, 1)
  writeU32(batch, 4, op.length)
  batch.set(op, 8)
  const builder = new FrameBuilder(SEED)
  builder.add(40, 10, 2, batch, 0)
  return builder.take()!
}

/** Changes fields and bodies of frames, and makes both checksums right again. */
function mutateStream(bytes: Buffer, random: SeededRandom): Buffer {
  const frames: Buffer[] = []
  for (let at = 0; at + STREAM_HEADER_BYTES <= bytes.length; ) {
    const size = STREAM_HEADER_BYTES + readStreamHeader(bytes, at, SEED)!.bodyBytes
    frames.push(Buffer.from(bytes.subarray(at, at + size)))
    at += size
  }
  const at = random.below(frames.length)
  const frame = frames[at]!
  const action = random.below(6)
  if (action === 0) frames.splice(at, 1)
  else if (action === 1) frames.splice(at, 0, Buffer.from(frame))
  else frames[at] = action === 2 ? mutateHeader(frame, random) : mutateBody(frame, random)
  const joined = Buffer.concat(frames)
  return random.below(12) === 0 ? mutate(joined, random) : joined
}

function mutateHeader(frame: Buffer, random: SeededRandom): Buffer {
  const header = mutate(frame.subarray(8, STREAM_HEADER_BYTES), random)
  const changed = Buffer.from(frame)
  header.copy(changed, 8, 0, STREAM_HEADER_BYTES - 8)
  const body = changed.subarray(STREAM_HEADER_BYTES)
  const claimed = Math.min(readU32(changed, 8), body.length)
  writeU32(changed, 4, crc32(body, 0, claimed, SEED))
  writeU32(changed, 0, crc32(changed, 4, STREAM_HEADER_BYTES, SEED))
  return changed
}

function mutateBody(frame: Buffer, random: SeededRandom): Buffer {
  const header = readStreamHeader(frame, 0, SEED)!
  const body = mutate(frame.subarray(STREAM_HEADER_BYTES), random)
  const changed = Buffer.concat([frame.subarray(0, STREAM_HEADER_BYTES), body])
  writeStreamHeader(changed, 0, { ...header, bodyBytes: body.length }, SEED)
  return changed
}

function textTargets(): Target[] {
  const epochs = formatEpochs([
    { epoch: 1, firstPosition: 1 },
    { epoch: 3, firstPosition: 20 },
  ])
  const status = {
    lineage: HEX_ID,
    epochs,
    position: 30,
    oldestPosition: 2,
    wallMs: 99,
    leader: 'http://127.0.0.1:1',
  }
  const range = { after: 0, upTo: 30, count: 4, hash: 'abcd' }
  const digest = { version: 1, position: 30, state: [range], log: [range, { ...range, after: 30 }] }
  const regions = [
    { position: 7, lastKey: Buffer.from('middle') },
    { position: 9, lastKey: undefined },
  ]
  const tokens = [new TokenWriter(STORE_ID, regions), new TokenWriter(STORE_ID, [])]
  return [
    {
      name: 'message',
      weight: 6,
      seeds: [Buffer.from(JSON.stringify(status)), Buffer.from(JSON.stringify(digest))],
      mutate: mutateJson,
      run: (bytes) => {
        const value: unknown = JSON.parse(bytes.toString('utf8'))
        const isStatus = typeof value === 'object' && value !== null && 'lineage' in value
        if (isStatus) parseStatus(value)
        else parseDigest(value)
      },
      isRefusal: (error) => error.code === 'VARVE_CORRUPTION' || error.code === 'VARVE_IO',
    },
    {
      name: 'resume token',
      weight: 6,
      seeds: tokens.map((writer) => Buffer.from(writer.at(12))),
      mutate: mutateToken,
      run: (bytes) => {
        for (const { position } of readToken(bytes.toString('latin1'), STORE_ID).regions)
          if (!Number.isSafeInteger(position)) throw new Error('a position that is none')
      },
      isRefusal: (error) => error.code === 'VARVE_INVALID_ARGUMENT',
    },
  ]
}

const VALUES: readonly unknown[] = [
  null,
  -1,
  0.5,
  1e99,
  '',
  [],
  {},
  true,
  2 ** 53,
  '1:1,1:1',
  [null],
  'x'.repeat(999),
]

/** Other values in the place of some, fields left out and added: JSON it stays, or these decoders never see it. */
function mutateJson(bytes: Buffer, random: SeededRandom): Buffer {
  let value: unknown = JSON.parse(bytes.toString('utf8'))
  for (let left = 1 + random.below(2); left > 0; left--) value = mutateValue(value, random)
  return Buffer.from(JSON.stringify(value))
}

function mutateValue(value: unknown, random: SeededRandom): unknown {
  if (typeof value !== 'object' || value === null || random.below(8) === 0) return pick(random, VALUES)
  const copy = Array.isArray(value) ? [...value] : { ...value }
  const names = Object.keys(copy)
  const fields = copy as Record<string, unknown>
  if (names.length === 0) return pick(random, VALUES)
  const name = random.below(10) > 0 || Array.isArray(copy) ? pick(random, names) : '__proto__'
  if (random.below(6) === 0 && !Array.isArray(copy)) delete fields[name]
  else fields[name] = mutateValue(fields[name], random)
  return copy
}

/** Changes the part that says what was read, and makes its checksum and the check right again. */
function mutateToken(bytes: Buffer, random: SeededRandom): Buffer {
  if (random.below(4) === 0) return mutate(bytes, random)
  const head = Buffer.from(bytes.toString('latin1').split('.')[0]!, 'base64url')
  const regions = mutate(head.subarray(17, head.length - 4), random)
  const changed = Buffer.concat([head.subarray(0, 17), regions, Buffer.alloc(4)])
  const end = changed.length - 4
  const crc = crc32(changed, 0, end)
  writeU32(changed, end, crc)
  const position = random.below(1000)
  const mixed = Math.imul(position, 0x9e37_79b1)
  const check = (crc ^ mixed ^ (mixed >>> 15)) >>> 0
  return Buffer.from(`${changed.toString('base64url')}.${position.toString(36)}.${check.toString(36)}`)
}

function stateTargets(): Target[] {
  const record: ViewRecord = {
    storeId: HEX_ID,
    lineage: HEX_ID,
    position: 12,
    logNumber: 3,
    durable: 11,
    serving: 1,
    parts: [
      { at: 5, upTo: '6162', isDone: true },
      { at: 6, isDone: false },
    ],
    encodings: ['utf8', 'json'],
  }
  const place = encodePlace({ position: 4, seen: 9 })
  const parked = encodeParked({ position: 4, timestamp: 5, parkedMs: 6, attempts: 7, error: 'no such thing' })
  return [
    {
      name: 'view record',
      weight: 5,
      seeds: [Buffer.from(encodeRecord(record).state)],
      mutate: (bytes, random) => (random.below(4) === 0 ? mutate(bytes, random) : mutateJson(bytes, random)),
      run: (bytes) => {
        const read = decodeRecord(new Map([['view', bytes]]), FILE)
        if (read) useRecord(read)
      },
    },
    {
      name: 'consumer state',
      weight: 3,
      seeds: [place, parked, Buffer.from(parkedKey('name', 17))],
      mutate,
      run: (bytes) => {
        const { parked: position } = parseCursorKey(bytes.toString('utf8'))
        if (position !== undefined && !(Number.isNaN(position) || position >= 0 || position < 0))
          throw new Error('a position that is none')
        const found = decodePlace(bytes)
        if (found && !encodePlace(found).equals(bytes)) throw new Error('another place')
        decodeParked(bytes)
      },
    },
  ]
}

/** As opening a view does: every field is what it says. */
function useRecord(record: ViewRecord): void {
  Buffer.from(record.storeId, 'hex')
  Buffer.from(record.lineage, 'hex')
  const numbers = [record.position, record.logNumber, record.durable, record.serving]
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0)) throw new Error('no number')
  for (const { at, upTo, isDone } of record.parts) {
    if (!Number.isSafeInteger(at) || typeof isDone !== 'boolean') throw new Error('no part')
    if (upTo !== undefined) Buffer.from(upTo, 'hex')
  }
  if (record.encodings.some((name) => typeof name !== 'string')) throw new Error('no name')
}

function backupTarget(): Target {
  const sha256 = Buffer.alloc(32, 1)
  const file = { sizeBytes: 700, crc: 5, sha256 }
  const backup = encodeBackup(
    {
      isAuthenticated: false,
      isEncrypted: false,
      number: 3,
      previous: 2,
      storeId: STORE_ID,
      position: 30,
      createdMs: 99,
      copiedBytes: 1400,
      edit: Buffer.from([3, 30]),
      files: [
        { kind: 'segment', number: 7, ...file, basePosition: 0, lastPosition: 0 },
        { kind: 'log', number: 8, ...file, basePosition: 20, lastPosition: 30 },
      ],
    },
    undefined,
  )
  return {
    name: 'backup',
    weight: 4,
    seeds: [backup],
    mutate: (bytes, random) => {
      const body = mutate(bytes.subarray(16, bytes.length - 32), random)
      const header = Buffer.from(bytes.subarray(0, 16))
      writeU32(header, 12, body.length)
      const whole = Buffer.concat([header, body])
      const isSealed = random.below(10) > 0
      return Buffer.concat([whole, isSealed ? new Sha256().update(whole).digest() : bytes.subarray(-32)])
    },
    run: (bytes) => {
      decodeBackup(bytes, 3, undefined, FILE)
    },
  }
}
