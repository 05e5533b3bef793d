import type { Position } from '../key/position.js'

/** A file that was not as it was written, and where that showed first. */
export interface DamagedFile {
  /** Its name in the directory. */
  readonly file: string
  /** Bytes from the start of `file`. */
  readonly offset?: number
  /** What is wrong with it. */
  readonly what: string
}

/** Something that could not be saved. Keys are bytes, whatever the store's encoding; positions are inclusive. */
export interface RepairLoss {
  /** Where it was. */
  readonly file: string
  /**
   * `block` some keys of a segment; `segment` all of them; `blob` values that stood apart in it; `tombstones` ranges that were cleared, whose keys may be
   * back; `log` batches; `manifest` states of consumers, and which segments had been replaced, so that deleted keys
   * may be back; `history` changes that are only in the copies now, while their data is not lost.
   */
  readonly kind: 'block' | 'segment' | 'blob' | 'tombstones' | 'log' | 'manifest' | 'history'
  /** Keys above `after`, up to and with `upTo`, may be lost, or be there in an older version. */
  readonly after?: Uint8Array
  /** The last key, see `after`. */
  readonly upTo?: Uint8Array
  /** No lost change is older. */
  readonly positionMin?: Position
  /** No lost change is newer. */
  readonly positionMax?: Position
  /** Bytes of the file that were given up. */
  readonly sizeBytes?: number
}

/** What a repair found, saved and gave up. */
export interface RepairReport {
  /** Nothing was damaged, and nothing was changed. */
  readonly isSound: boolean
  /** What was wrong, file by file. */
  readonly damaged: readonly DamagedFile[]
  /** What could not be kept. */
  readonly lost: readonly RepairLoss[]
  /** The directory that holds every file the repair replaced, as it was. */
  readonly copies: string | undefined
  /** The last position of the repaired store. */
  readonly position: Position
  /** Segments that the store has now. */
  readonly segments: number
  /** Versions of keys in its segments. */
  readonly entries: number
}
