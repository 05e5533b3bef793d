import { BlockCache } from '../../src/cache/block-cache.js'
import { verifySegment } from '../../src/compaction/verify-segment.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { SeededRandom } from '../../src/env/seeded-random.js'
import type { VarveError } from '../../src/errors.js'
import { findBatchFault } from '../../src/key/batch-format.js'
import { RangeTombstones } from '../../src/key/range-tombstones.js'
import { FRAME_HEADER_BYTES, LOG_HEADER_BYTES, logSeed, readLogHeader } from '../../src/log/log-format.js'
import { checkHeaderless, scanLog } from '../../src/log/log-scan.js'
import { Memtable } from '../../src/memtable/memtable.js'
import { Block, EntryFields } from '../../src/segment/block.js'
import { decodeSection } from '../../src/segment/block-codec.js'
import { Filter } from '../../src/segment/filter.js'
import { IndexBlock } from '../../src/segment/index-block.js'
import {
  decodeFooter,
  decodeProperties,
  decodeTombstones,
  encodeProperties,
  encodeTombstones,
  FOOTER_BYTES,
} from '../../src/segment/segment-format.js'
import type { SegmentMeta } from '../../src/segment/segment-meta.js'
import { logPieces } from '../../src/store/log-reader.js'
import { ByteReader } from '../../src/util/byte-reader.js'
import { ByteWriter } from '../../src/util/byte-writer.js'
import { asBuffer, cloneBytes, compareRanges, readU64, writeU32 } from '../../src/util/bytes.js'
import { crc32 } from '../../src/util/crc.js'
import { hashKey } from '../../src/util/hash.js'
import { decodeEdit, encodeEdit } from '../../src/version/edit-format.js'
import { decodeCurrent, encodeCurrent, records } from '../../src/version/manifest-format.js'
import { readManifest } from '../../src/version/version-set.js'
import { type OpenedStore, openMemory, STORE } from '../store/helpers.js'
import { blobTarget } from './blob-target.js'
import { anyNumber, mutate } from './mutate.js'
import { SAMPLE_OPTIONS, type Sample } from './sample-store.js'
import { mutateLog, mutateManifest, mutateSection, mutateSegment } from './structure.js'
import { wireTargets } from './wire-targets.js'

/** One decoder: inputs that it takes, how they are changed, and the decoder itself with all that reads its result. */
export interface Target {
  readonly name: string
  /** Share of all executions, beside the others. */
  readonly weight: number
  readonly seeds: readonly Buffer[]
  mutate(bytes: Buffer, random: SeededRandom): Buffer
  run(bytes: Buffer): void | Promise<void>
  /** Whether it is a proper refusal of what is no file; default: one that names the file. */
  isRefusal?(error: VarveError): boolean
}

const FILE = '/store/file'

export function makeTargets(sample: Sample): Target[] {
  return [
    ...valueTargets(sample),
    ...sectionTargets(sample),
    blobTarget(),
    ...logTargets(sample),
    ...fileTargets(sample),
    ...wireTargets(sample),
  ]
}

function fileOf(sample: Sample, path: string): Buffer {
  return Buffer.from(sample.fs.readFile(path))
}

function valueTargets(sample: Sample): Target[] {
  const edits: Buffer[] = []
  const manifest = fileOf(sample, sample.paths.manifest)
  for (const { start, end } of records(manifest, FILE)) edits.push(Buffer.from(manifest.subarray(start, end)))
  return [
    {
      name: 'varint',
      weight: 6,
      seeds: [1, 127, 128, 2 ** 32, 2 ** 53 - 1].map((n) => cloneBytes(new ByteWriter().varint(n).view())),
      mutate: (bytes, random) =>
        random.below(2)
          ? mutate(bytes, random)
          : cloneBytes(new ByteWriter().varint(anyNumber(random)).view()),
      run: (bytes) => {
        const value = new ByteReader(bytes, FILE).varint()
        const again = new ByteReader(new ByteWriter().varint(value).view(), FILE).varint()
        if (again !== value) throw new Error(`${value} became ${again}`)
      },
    },
    {
      name: 'edit',
      weight: 8,
      seeds: edits,
      mutate,
      run: (bytes) => {
        const edit = decodeEdit(new ByteReader(bytes, FILE))
        // What was read can be written, and is then read the same.
        const once = encodeEdit(edit)
        if (!Buffer.from(once).equals(encodeEdit(decodeEdit(new ByteReader(once, FILE)))))
          throw new Error('not the same')
      },
    },
    {
      name: 'current',
      weight: 3,
      seeds: ['MANIFEST-000001', 'MANIFEST-1234567890'].map(encodeCurrent),
      mutate: (bytes, random) => {
        const text = mutate(bytes, random).toString('latin1').split(' ')[0]!
        return random.below(2) ? encodeCurrent(text) : mutate(bytes, random)
      },
      run: (bytes) => {
        const name = decodeCurrent(bytes, FILE)
        if (!/^MANIFEST-\d{6,}$/.test(name)) throw new Error(`a name that is none: ${name}`)
      },
    },
  ]
}

function sectionTargets(sample: Sample): Target[] {
  const segment = fileOf(sample, sample.paths.segment[0]!)
  const footerBytes = segment.subarray(segment.length - FOOTER_BYTES)
  const footer = decodeFooter(footerBytes, FILE, segment.length)
  const section = (handle: { offset: number; sizeBytes: number }) =>
    Buffer.from(segment.subarray(handle.offset, handle.offset + handle.sizeBytes))
  const payload = (handle: { offset: number; sizeBytes: number }) => {
    const bytes = section(handle)
    return decodeSection(bytes, 0, bytes.length, FILE, 0)
  }
  const index = IndexBlock.parse(payload(footer.index), FILE, 0, footer.tombstones.offset)
  const block = section({ offset: 0, sizeBytes: index.endOf(0) })
  const tombstones = [
    { start: Buffer.from('a'), end: Buffer.from('b'), position: 3 },
    { start: Buffer.from('aa'), end: undefined, position: 4 },
  ]
  return [
    {
      name: 'block',
      weight: 20,
      seeds: [decodeSection(block, 0, block.length, FILE, 0)],
      mutate,
      run: runBlock,
    },
    {
      name: 'section',
      weight: 10,
      seeds: [block, section(footer.index)],
      mutate: mutateSection,
      run: (bytes) => {
        decodeSection(bytes, 0, bytes.length, FILE, 0)
      },
    },
    {
      name: 'index',
      weight: 8,
      seeds: [payload(footer.index)],
      mutate,
      run: (bytes) => {
        const parsed = IndexBlock.parse(bytes, FILE, 0, footer.tombstones.offset)
        for (let i = 0; i < parsed.count; i++) {
          if (parsed.endOf(i) < parsed.offsetOf(i)) throw new Error('blocks that go backwards')
        }
        parsed.find(Buffer.from('00005'), 0, 5)
      },
    },
    {
      name: 'filter',
      weight: 4,
      seeds: [payload(footer.filter)],
      mutate,
      run: (bytes) => {
        const filter = new Filter(bytes, FILE, 0)
        for (let hash = 0; hash < 2 ** 32; hash += 2 ** 28) filter.mayHold(hash)
      },
    },
    {
      name: 'tombstones',
      weight: 4,
      seeds: [encodeTombstones(tombstones)],
      mutate,
      run: (bytes) => {
        const set = new RangeTombstones()
        for (const tombstone of decodeTombstones(bytes, FILE, 0)) set.add(tombstone)
        set.find(Buffer.from('ab'), 0, 2, 5)
      },
    },
    {
      name: 'properties',
      weight: 3,
      seeds: [
        encodeProperties({
          ...{ entryCount: 1, delCount: 2, rangeTombstoneCount: 3, positionMin: 4, positionMax: 5 },
          ...{
            keyBytes: 6,
            valueBytes: 700,
            blobs: [{ blobId: 4096, count: 2, sizeBytes: 600, valueBytes: 650 }],
          },
        }),
      ],
      mutate,
      run: (bytes) => {
        decodeProperties(bytes, FILE, 0)
      },
    },
    {
      name: 'footer',
      weight: 4,
      seeds: [Buffer.from(footerBytes)],
      mutate: (bytes, random) => {
        const changed = Buffer.concat([mutate(bytes, random), Buffer.alloc(FOOTER_BYTES)]).subarray(
          0,
          FOOTER_BYTES,
        )
        writeU32(changed, FOOTER_BYTES - 4, crc32(changed, 0, FOOTER_BYTES - 4))
        return changed
      },
      run: (bytes) => {
        decodeFooter(bytes, FILE, segment.length)
      },
    },
  ]
}

function runBlock(bytes: Buffer): void {
  const block = Block.parse(bytes)
  if (!block) return
  const cache = new BlockCache(2 ** 20)
  const cached = new Block()
  if (!block.keepIn(cache, cache.register(new Uint32Array(1)), 0, cached))
    throw new Error('no room for a block')
  // Its first lookup is by binary search; the hash index is made for the second.
  cached.find(bytes, 0, 0, 0)
  const fields = new EntryFields()
  let at = -1
  for (let entry = 0; entry < block.count; entry++) {
    block.read(entry, fields)
    const { keyStart, keyEnd, valueEnd } = fields
    const isInside = keyStart <= keyEnd && keyEnd <= valueEnd && valueEnd <= bytes.length
    if (!isInside || (at >= 0 && keyStart !== at)) throw new Error(`entry ${entry} is outside its block`)
    at = valueEnd
    const hash = hashKey(bytes, keyStart, keyEnd)
    // By the hash of its key, where it stands in the cache; by binary search keys in any order need not be found.
    if (cached.find(bytes, keyStart, keyEnd, hash) < 0) throw new Error(`entry ${entry} is not found`)
    block.find(bytes, keyStart, keyEnd, hash)
    cached.read(entry, fields)
    const isSame = fields.keyEnd - fields.keyStart === keyEnd - keyStart
    if (
      !isSame ||
      asBuffer(cached.bytes).compare(bytes, keyStart, valueEnd, fields.keyStart, fields.valueEnd) !== 0
    )
      throw new Error(`entry ${entry} is another one in the cache`)
  }
}

function logTargets(sample: Sample): Target[] {
  const logs = sample.paths.log.map((path) => fileOf(sample, path))
  const frameStart = LOG_HEADER_BYTES + FRAME_HEADER_BYTES
  return [
    {
      name: 'batch',
      weight: 12,
      seeds: logs.map((log) => Buffer.from(log.subarray(frameStart))),
      mutate,
      run: (bytes) => {
        if (findBatchFault(bytes, 0, bytes.length) !== undefined) return
        const memtable = new Memtable(bytes, 1, 0)
        memtable.apply(0, 1)
        memtable.sortedRuns()
      },
    },
    { name: 'log replay', weight: 15, seeds: logs, mutate: mutateLog, run: runLog },
    {
      name: 'log cursor',
      weight: 8,
      seeds: logs,
      mutate: mutateLog,
      run: (bytes) => {
        const fs = new MemoryFileSystem()
        fs.makeDirectory(STORE)
        fs.writeFile(`${STORE}/000005.log`, bytes)
        let position = 0
        for (const piece of logPieces(memoryEnv({ fs }), STORE, 5, undefined)) position = piece.position
        return void position
      },
    },
  ]
}

function runLog(bytes: Buffer): void {
  const header = readLogHeader(bytes, FILE)
  if (!header) {
    checkHeaderless(bytes, 1, FILE)
    return
  }
  const memtable = new Memtable(bytes, header.number, header.basePosition)
  const seed = logSeed(header.storeId, readU64(bytes, 16))
  scanLog(bytes, header, seed, FILE, (batch, position) => memtable.apply(batch, position))
  const [run] = memtable.sortedRuns()
  if (!run) return
  const key = Buffer.from('00001')
  memtable.find(key, 0, key.length, hashKey(key, 0, key.length), Number.MAX_SAFE_INTEGER)
  memtable.tombstones.find(key, 0, key.length, Number.MAX_SAFE_INTEGER)
}

function fileTargets(sample: Sample): Target[] {
  const { manifest } = sample.paths
  const version = readManifest(memoryEnv({ fs: sample.fs }), STORE)!.version
  const metas = new Map([...version.segments()].map((meta) => [meta.number, meta]))
  const segments = sample.paths.segment.map((path) => fileOf(sample, path))
  return [
    {
      name: 'manifest',
      weight: 8,
      seeds: [fileOf(sample, manifest)],
      mutate: mutateManifest,
      run: (bytes) => {
        const fs = new MemoryFileSystem()
        fs.makeDirectory(STORE)
        fs.writeFile(manifest, bytes)
        fs.writeFile(`${STORE}/CURRENT`, sample.fs.readFile(`${STORE}/CURRENT`))
        const read = readManifest(memoryEnv({ fs }), STORE)!
        for (const level of read.version.levels.slice(1)) {
          for (let i = 1; i < level.length; i++) {
            const [a, b] = [level[i - 1]!.range.end, level[i]!.range.start]
            if (!a || compareRanges(a, 0, a.length, b, 0, b.length) > 0) throw new Error('levels overlap')
          }
        }
      },
    },
    {
      name: 'segment',
      weight: 6,
      seeds: segments,
      mutate: mutateSegment,
      run: (bytes) => scanSegment(bytes, metas),
    },
    ...storeTargets(sample),
  ]
}

/** Opens and scans the whole file, as a verification would that trusts what the manifest says of it. */
function scanSegment(bytes: Buffer, metas: ReadonlyMap<number, SegmentMeta>): void {
  const fs = new MemoryFileSystem()
  fs.makeDirectory(STORE)
  fs.writeFile(`${STORE}/000001.seg`, bytes)
  const [known] = metas.values()
  const checksum = crc32(bytes, 0, bytes.length)
  const segment = {
    ...known!,
    number: 1,
    sizeBytes: bytes.length,
    checksum,
    range: { start: Buffer.alloc(0), end: undefined },
  }
  for (const _ of verifySegment(memoryEnv({ fs }), { kind: 'verify', directory: STORE, segment }));
}

/** By every way of reading; hostile bytes may make them differ. */
async function readAll(db: OpenedStore['db']): Promise<void> {
  const keys = await db.keys().all()
  await db.entries({ reverse: true }).all()
  await db.getMany([...keys, 'none'])
  for await (const _ of db.changes());
}

/** A whole store one file of which is hostile: opened, read in every way, written, merged, closed. */
function storeTargets(sample: Sample): Target[] {
  const { paths } = sample
  const replaced = (name: string, path: string, change: Target['mutate']): Target => ({
    name,
    weight: 1,
    seeds: [fileOf(sample, path)],
    mutate: change,
    run: async (bytes) => {
      const fs = sample.fs.clone()
      fs.writeFile(path, bytes)
      const { db } = await openMemory(SAMPLE_OPTIONS, memoryEnv({ fs }))
      try {
        await readAll(db)
        await db.put('new', 'value')
        await db.compact()
        await readAll(db)
        await db.verify()
      } finally {
        await db.close().catch(() => {})
      }
    },
  })
  return [
    replaced('store with a log', paths.log.at(-1)!, mutateLog),
    replaced('store with a manifest', paths.manifest, mutateManifest),
    replaced('store with a segment', paths.segment[0]!, (bytes, random) => {
      for (;;) {
        const changed = mutateSegment(bytes, random)
        // The manifest knows the size: only a file of that size gets any further.
        if (changed.length === bytes.length || random.below(200) === 0) return changed
      }
    }),
  ]
}
