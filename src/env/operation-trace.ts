import type { File, FileSystem } from './env.js'
import type { MemoryOperation } from './faults.js'
import { errorCode } from './system-error.js'

/** One operation that a memory file system was asked for. */
export interface OperationRecord {
  /** What was done. */
  readonly op: MemoryOperation
  /** As Node names it: tells a file that was created from a directory. */
  readonly syscall: string
  /** To which file or directory. */
  readonly path: string
  /** The file that was opened, read, written, synced or closed: the same under all its names. */
  readonly file?: number
  /** The other path of a rename or link. */
  readonly to?: string
  /** Where a read or write began, and how many bytes were asked for. */
  readonly offset?: number
  /** Bytes that it was to read or write. */
  readonly lengthBytes?: number
  /** What was written; only while operations are recorded for a replay. */
  readonly bytes?: Uint8Array
  /** The code of the error that it ended with; undefined: it went well. */
  readonly error?: string
}

/** How many operations are remembered while nobody asked for all of them. */
const RECENT_MAX = 256

/** The operations of one file system: the recent ones always, all of them once somebody wants to replay them. */
export class OperationTrace {
  #records: OperationRecord[] = []
  #keepsAll = false

  get keepsAll(): boolean {
    return this.#keepsAll
  }

  keepAll(): void {
    this.#records = []
    this.#keepsAll = true
  }

  note(record: OperationRecord): void {
    this.#records.push(record)
    if (!this.#keepsAll && this.#records.length >= 2 * RECENT_MAX) this.#records.splice(0, RECENT_MAX)
  }

  all(): readonly OperationRecord[] {
    return this.#keepsAll ? [...this.#records] : this.#records.slice(-RECENT_MAX)
  }
}

/** Readable, one line: `write /db/000003.log 120+64: EIO`. */
export function describeOperation({ op, path, to, offset, lengthBytes, error }: OperationRecord): string {
  const target = to === undefined ? '' : ` -> ${to}`
  const range = offset === undefined ? '' : ` ${offset}+${lengthBytes ?? 0}`
  return `${op} ${path}${target}${range}${error === undefined ? '' : `: ${error}`}`
}

/**
 * Does recorded operations again, on any file system: what changes something, and went well. An error on the way is
 * thrown. Bytes that faults changed are written as they arrived on the disk.
 * @param mapPath where a recorded path lies on `fs`. Default: at the same place.
 */
export function replayOperations(
  fs: FileSystem,
  records: readonly OperationRecord[],
  mapPath: (path: string) => string = (path) => path,
): void {
  const files = new Map<number, File>()
  try {
    for (const record of records) if (record.error === undefined) replayOne(fs, files, record, mapPath)
  } finally {
    for (const file of files.values()) file.close()
  }
}

function replayOne(
  fs: FileSystem,
  files: Map<number, File>,
  { op, syscall, path: recorded, file, to, offset, bytes }: OperationRecord,
  mapPath: (path: string) => string,
): void {
  const path = mapPath(recorded)
  switch (op) {
    case 'create':
      if (syscall === 'mkdir') fs.makeDirectory(path)
      else files.set(file ?? 0, fs.open(path, 'create'))
      return
    case 'write':
      if (bytes) files.get(file ?? 0)?.write(bytes, offset ?? 0)
      return
    case 'sync':
      files.get(file ?? 0)?.sync()
      return
    case 'syncDirectory':
      fs.syncDirectory(path)
      return
    case 'rename':
      fs.rename(path, mapPath(to ?? ''))
      return
    case 'remove':
      fs.remove(path)
      return
    case 'link':
      fs.link(path, mapPath(to ?? ''))
      return
    default:
  }
}

/** Notes what `action` did, also if it throws. */
export function traced<T>(trace: OperationTrace, record: OperationRecord, action: () => T): T {
  try {
    const result = action()
    trace.note(record)
    return result
  } catch (error) {
    trace.note({ ...record, error: errorCode(error) ?? String(error) })
    throw error
  }
}
