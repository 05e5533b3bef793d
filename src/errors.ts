/**
 * What went wrong and what to do about it:
 *
 * - `VARVE_CLOSED` the store, iterator or snapshot is closed: fix the call order.
 * - `VARVE_INVALID_ARGUMENT` a value of the wrong type or options that contradict one another: fix the call.
 * - `VARVE_LIMIT` a key, value or batch over the documented limits: fix the call.
 * - `VARVE_LOCKED` another process, or another part of this one, has the directory open (`pid`): close that one.
 * - `VARVE_NO_SPACE` the disk is full; reads go on, writes stop: make room, then call `resume()` or reopen.
 * - `VARVE_IO` the system refused an operation (`cause`): look at the disk, then reopen.
 * - `VARVE_POISONED` an earlier failure (`cause`) stopped all writes: reopen.
 * - `VARVE_CORRUPTION` bytes are not what was written (`file`, `offset`): restore from a checkpoint.
 * - `VARVE_FORMAT_VERSION` the directory was written by a newer release or is no store: use the right release.
 * - `VARVE_KEY` the store's encryption key is missing, is another one, or was given for a store without encryption
 *   (`file`): open it with the key it was made with.
 * - `VARVE_READ_ONLY` a write on a store opened with `readOnly`: open it for writing.
 * - `VARVE_BACKGROUND` background work failed again and again (`cause`): reopen.
 * - `VARVE_CONFLICT` a condition of the write was not met; nothing was written: read again and retry.
 * - `VARVE_POSITION_LOST` the log no longer reaches back that far (`position` is the oldest): bootstrap again.
 * - `VARVE_HANDLER` the handler of a consumer threw (`cause`) on the change at `position`: mend it and run again.
 * - `VARVE_TIMEOUT` the position asked for was not reached in time: retry.
 * - `VARVE_ABORTED` the caller's signal ended it.
 * - `VARVE_NOT_LEADER` this store follows another one (`leader`): write there, or `promote()` this one.
 * - `VARVE_FENCED` another writer took over: reopen.
 * - `VARVE_DIVERGED` the two logs differ from `position` on: restore one of them.
 * - `VARVE_POSITION_EXHAUSTED` no positions are left below 2^48: dump and load into a new store.
 */
export type VarveErrorCode =
  | 'VARVE_CLOSED'
  | 'VARVE_INVALID_ARGUMENT'
  | 'VARVE_LIMIT'
  | 'VARVE_LOCKED'
  | 'VARVE_NO_SPACE'
  | 'VARVE_IO'
  | 'VARVE_POISONED'
  | 'VARVE_CORRUPTION'
  | 'VARVE_FORMAT_VERSION'
  | 'VARVE_KEY'
  | 'VARVE_READ_ONLY'
  | 'VARVE_BACKGROUND'
  | 'VARVE_CONFLICT'
  | 'VARVE_POSITION_LOST'
  | 'VARVE_HANDLER'
  | 'VARVE_TIMEOUT'
  | 'VARVE_ABORTED'
  | 'VARVE_NOT_LEADER'
  | 'VARVE_FENCED'
  | 'VARVE_DIVERGED'
  | 'VARVE_POSITION_EXHAUSTED'

/** Evidence that an error carries where it applies. */
export interface ErrorDetails {
  /** What was thrown below. */
  readonly cause?: unknown
  /** The damaged or refused file. */
  readonly file?: string
  /** Bytes from the start of `file`. */
  readonly offset?: number
  /** The position that the error is about. */
  readonly position?: number
  /** The process that holds the lock. */
  readonly pid?: number
  /** The address of the store that takes the writes. */
  readonly leader?: string
}

/** The one error class of Varve. Test `code`, not the message. */
export class VarveError extends Error {
  /** What to test for. */
  readonly code: VarveErrorCode
  // Declared alone: what does not apply is then not there at all, and not printed as undefined.
  /** The damaged or refused file. */
  declare readonly file?: string
  /** Bytes from the start of `file`. */
  declare readonly offset?: number
  /** What the code says. */
  declare readonly position?: number
  /** The process that holds the lock. */
  declare readonly pid?: number
  /** The address of the store that takes the writes. */
  declare readonly leader?: string

  constructor(code: VarveErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'VarveError'
    this.code = code
    if (details.file !== undefined) this.file = details.file
    if (details.offset !== undefined) this.offset = details.offset
    if (details.position !== undefined) this.position = details.position
    if (details.pid !== undefined) this.pid = details.pid
    if (details.leader !== undefined) this.leader = details.leader
  }
}

/** A `VARVE_CORRUPTION` error that names the place. */
export function corruption(file: string, offset: number, what: string, cause?: unknown): VarveError {
  return new VarveError('VARVE_CORRUPTION', `${file} at byte ${offset}: ${what}`, { file, offset, cause })
}

/** Turns what a system call threw into a `VarveError`; one that is already typed passes unchanged. */
export function ioError(cause: unknown, doing: string, file: string): VarveError {
  if (cause instanceof VarveError) return cause
  const code = (cause as { code?: unknown } | null)?.code
  const isFull = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG'
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new VarveError(isFull ? 'VARVE_NO_SPACE' : 'VARVE_IO', `${doing} ${file}: ${reason}`, {
    cause,
    file,
  })
}
