import type { FileNode, GrowingBytes, PendingWrite } from './memory-nodes.js'
import type { SeededRandom } from './seeded-random.js'

const SECTOR_BYTES = 512
const BLOCK_BYTES = 4096

/** The content of one file after the crash; equal tags of one file mean equal content. */
export interface Image {
  readonly bytes: GrowingBytes
  readonly tag: string
}

/** What one crash draws once, for all files. */
export interface CrashDraw {
  /** Everything ordered before is kept by `prefix`; a write at it is torn. */
  readonly cut: number
  readonly tear: number
  readonly random: SeededRandom
}

/** The content that a crash by this rule leaves of a file. */
export function imageOf(
  file: FileNode,
  rule: { readonly data: string; readonly tornOverwrite?: boolean },
  { cut, tear, random }: CrashDraw,
): Image {
  switch (rule.data) {
    case 'zerosKeepSize':
      return zerosImage(file)
    case 'all':
      return completeImage(file)
    case 'garbageTail':
      return garbageImage(file, random)
    case 'prefix':
      return cutImage(file, cut, tear)
    case 'blocks4k':
      return scatteredImage(file, BLOCK_BYTES, rule.tornOverwrite ?? true, random)
    case 'sectors512':
      return scatteredImage(file, SECTOR_BYTES, rule.tornOverwrite ?? true, random)
    default:
      return durableImage(file)
  }
}

function survivors(file: FileNode): PendingWrite[] {
  return file.writes.filter((write) => !write.isLost)
}

function durableImage(file: FileNode): Image {
  return { bytes: file.durable.fork(), tag: 'durable' }
}

function completeImage(file: FileNode): Image {
  const writes = survivors(file)
  if (writes.length === 0) return durableImage(file)
  if (writes.length === file.writes.length) return { bytes: file.live.fork(), tag: 'complete' }
  const bytes = file.durable.fork()
  for (const write of writes) bytes.write(write.bytes, write.offset)
  return { bytes, tag: 'complete' }
}

/** Blocks were given to the file, and its size set, before any data reached them. */
function zerosImage(file: FileNode): Image {
  if (file.live.length === file.durable.length) return durableImage(file)
  const bytes = file.durable.fork()
  bytes.extendTo(file.live.length)
  return { bytes, tag: 'zeros' }
}

function garbageImage(file: FileNode, random: SeededRandom): Image {
  const last = survivors(file).at(-1)
  const { bytes } = completeImage(file)
  if (last === undefined) return durableImage(file)
  const from = Math.floor(last.bytes.length / 2)
  const garbage = new Uint8Array(last.bytes.length - from)
  random.fill(garbage)
  bytes.write(garbage, last.offset + from)
  return { bytes, tag: 'garbage' }
}

function cutImage(file: FileNode, cut: number, tear: number): Image {
  const kept = survivors(file).filter((write) => write.order <= cut)
  const last = kept.at(-1)
  if (last === undefined) return durableImage(file)
  const bytes = file.durable.fork()
  let tornAt = last.bytes.length
  for (const write of kept) {
    if (write.order === cut) tornAt = tornLength(write, tear)
    bytes.write(write === last ? write.bytes.subarray(0, tornAt) : write.bytes, write.offset)
  }
  return { bytes, tag: `until ${last.order} ${tornAt}` }
}

/** Sectors are written whole: a write is cut where one ends, and one inside a sector is not there at all. */
function tornLength(write: PendingWrite, tear: number): number {
  const first = Math.floor(write.offset / SECTOR_BYTES) + 1
  const last = Math.ceil((write.offset + write.bytes.length) / SECTOR_BYTES) - 1
  if (last < first) return 0
  return (first + (tear % (last - first + 1))) * SECTOR_BYTES - write.offset
}

/** Each unit of the file as one of the writes to it left it, or as it was; half of the units are complete. */
function scatteredImage(file: FileNode, unitBytes: number, tearsOld: boolean, random: SeededRandom): Image {
  const writes = survivors(file)
  if (writes.length === 0) return durableImage(file)
  const pieces = writes.flatMap((write) => piecesOf(write, unitBytes, tearsOld ? 0 : file.durable.length))
  const left = new Map<number, number>()
  for (const { unit } of pieces) left.set(unit, (left.get(unit) ?? 0) + 1)
  for (const [unit, count] of left) left.set(unit, random.below(2) === 0 ? count : random.below(count))
  const bytes = file.durable.fork()
  const tag = [...left].map(([unit, count]) => `${unit}:${count}`).join(' ')
  for (const { unit, from, content } of pieces) {
    const count = left.get(unit)!
    left.set(unit, count - 1)
    if (count > 0) bytes.write(content, from)
  }
  return { bytes, tag }
}

interface Piece {
  readonly unit: number
  readonly from: number
  readonly content: Uint8Array
}

/** A write, cut where units end. What lies before `untorn` is one unit. */
function piecesOf({ offset, bytes }: PendingWrite, unitBytes: number, untorn: number): Piece[] {
  const pieces: Piece[] = []
  const end = offset + bytes.length
  for (let from = offset; from < end; ) {
    const unit = from < untorn ? -1 : Math.floor(from / unitBytes)
    const to = Math.min(end, from < untorn ? untorn : (unit + 1) * unitBytes)
    pieces.push({ unit, from, content: bytes.subarray(from - offset, to - offset) })
    from = to
  }
  return pieces
}
