import { corruption } from '../errors.js'
import type { Position } from '../key/position.js'
import type { CursorState } from '../store/cursor-state.js'
import type { Bytes } from '../util/bytes.js'

/**
 * What a view's own store says of it, in the same batch as its output: a cursor named `view` whose state is JSON.
 * Readers skip fields they do not know; `format` is raised where that would be wrong.
 */
export interface ViewRecord {
  /** The id of the main store, in hexadecimal. */
  readonly storeId: string
  /** What the main store and its copies have in common, in hexadecimal. */
  readonly lineage: string
  /** Everything up to here is in the output; while the snapshot is read: the position it is of. */
  readonly position: Position
  /** The number of the log file that held `position`: a crash may put other changes in its place, in another file. */
  readonly logNumber: number
  /** What of the main store was on disk then: no crash takes that back. */
  readonly durable: Position
  /** Counts the versions that answered; 0: this one never did. The one with the highest answers. */
  readonly serving: number
  /** Parts of the snapshot that were read, in order of their keys; none once the log has caught up with them. */
  readonly parts: readonly SnapshotPart[]
  /** Names of the encodings of keys and values. */
  readonly encodings: readonly [string, string]
}

/** Keys up to `upTo`, from the part before on, were read as they were at a position. */
export interface SnapshotPart {
  readonly at: Position
  /** In hexadecimal; undefined: to the last key. */
  readonly upTo?: string | undefined
  /** Nothing more is read for it. */
  readonly isDone: boolean
}

const RECORD_NAME = 'view'
const RECORD_FORMAT = 1
const NAME_BYTES = Buffer.from(RECORD_NAME)

export function encodeRecord(record: ViewRecord): CursorState {
  return { name: NAME_BYTES, state: Buffer.from(JSON.stringify({ format: RECORD_FORMAT, ...record })) }
}

/** Undefined where nothing was committed yet. @throws VarveError `VARVE_CORRUPTION` for one that is none. */
export function decodeRecord(cursors: ReadonlyMap<string, Bytes>, directory: string): ViewRecord | undefined {
  const bytes = cursors.get(RECORD_NAME)
  if (!bytes || bytes.length === 0) return undefined
  try {
    const { format, ...record } = JSON.parse(Buffer.from(bytes).toString('utf8')) as ViewRecord & {
      format: number
    }
    if (format === RECORD_FORMAT && isWhole(record)) return record
  } catch (error) {
    throw corruption(directory, 0, 'the record of a view that cannot be read', error)
  }
  throw corruption(directory, 0, 'the record of a view in another format')
}

/** Its checksums are right, yet somebody else may have made them so. */
function isWhole({
  storeId,
  lineage,
  position,
  logNumber,
  durable,
  serving,
  parts,
  encodings,
}: ViewRecord): boolean {
  return (
    [storeId, lineage].every(isText) &&
    [position, logNumber, durable, serving].every(isCount) &&
    Array.isArray(parts) &&
    parts.every((part) => isPart(part as unknown)) &&
    Array.isArray(encodings) &&
    encodings.length === 2 &&
    encodings.every(isText)
  )
}

function isPart(part: unknown): boolean {
  if (typeof part !== 'object' || part === null) return false
  const { at, upTo, isDone } = part as Partial<SnapshotPart>
  return isCount(at) && (upTo === undefined || isText(upTo)) && typeof isDone === 'boolean'
}

function isText(value: unknown): boolean {
  return typeof value === 'string'
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
