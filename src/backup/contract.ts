import type { Env } from '../env/env.js'
import type { Position } from '../key/position.js'
import type { EncryptionOptions } from '../store/contract.js'
import type { OptionNames } from '../util/option-names.js'

/** What every function on a directory of backups takes. */
export interface BackupAccess {
  /**
   * A secret of at least 16 bytes, or characters. A backup made with it carries an HMAC-SHA-256 over its list of
   * files and their SHA-256; whoever reads it with a key refuses what was not made with the same one. Without a key
   * only accidents are found, not forgery.
   */
  readonly key?: Uint8Array | string | undefined
  /**
   * The key of the store, if it is encrypted and given by its path, or is to be restored or verified. Its backups hold
   * its files as they are, and what they say of keys and consumers encrypted too. Neither key takes the other's place.
   */
  readonly encryption?: EncryptionOptions | undefined
  /** For tests and for embedding in something that is not Node. */
  readonly env?: Env
}

/** What every function that reads or copies many bytes takes. */
export interface BackupPace {
  /** Reads, and so writes, at most so many bytes a second on average; default: no limit. */
  readonly maxBytesPerSecond?: number | undefined
  /** Called now and then with bytes dealt with, and how many there are. */
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined
  /** Ends it with `VARVE_ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

/** How a backup is made. `env` counts only where the store is given by its path. */
export interface BackupOptions extends BackupAccess, BackupPace {
  /**
   * The name of a consumer that keeps the log from this backup to the next one, within `log.pinnedMaxBytes`: it is
   * made if the store does not know it, and moved once the backup is whole. Left out, the log between two backups is
   * there only if `log.maxBytes`, or another reader, keeps it. A follower takes no consumers.
   */
  readonly consumer?: string | undefined
}

/** One backup in a directory. Sizes in bytes. */
export interface BackupInfo {
  /** By which the other functions know it; names sort in the order in which the backups were made. */
  readonly name: string
  /** The store as of this position is in it. */
  readonly position: Position
  /** Every position from here to `position` can be restored, out of this backup and those before it. */
  readonly restorableFrom: Position
  /** When it was made, in milliseconds since the epoch. */
  readonly createdMs: number
  /** Of all its files, whichever backup copied them. */
  readonly sizeBytes: number
  /** Of the files that it copied because no backup before it had them. */
  readonly copiedBytes: number
  /** Segments that it names, shared ones included. */
  readonly segments: number
  /** Log files that it names: from the backup before to its position. */
  readonly logFiles: number
  /** Whether it was made with a key. */
  readonly isAuthenticated: boolean
}

/** Which state `restoreBackup` writes. */
export interface RestoreBackupOptions extends BackupAccess, BackupPace {
  /** The name of a backup; default: the newest. */
  readonly backup?: string | undefined
  /**
   * A position, or a time: before the first change that was committed later. At or before the backup, and in what
   * its `restorableFrom` promises. Left out: the backup itself.
   */
  readonly at?: Position | Date | undefined
}

/** Which backups `purgeBackups` leaves. */
export interface PurgeOptions extends BackupAccess {
  /** How many of the newest backups stay; at least 1. */
  readonly keep: number
}

/** What `purgeBackups` removed. */
export interface PurgeReport {
  /** Names of backups, oldest first. */
  readonly removed: readonly string[]
  /** Of files that no backup needs any more. */
  readonly freedBytes: number
}

const ACCESS_NAMES: OptionNames<BackupAccess> = { key: true, encryption: true, env: true }
const PACE_NAMES: OptionNames<BackupPace> = { maxBytesPerSecond: true, onProgress: true, signal: true }
/** What each function takes. */
export const LIST_NAMES = ACCESS_NAMES
export const VERIFY_NAMES: OptionNames<BackupAccess & BackupPace> = { ...ACCESS_NAMES, ...PACE_NAMES }
export const BACKUP_NAMES: OptionNames<BackupOptions> = { ...VERIFY_NAMES, consumer: true }
export const RESTORE_NAMES: OptionNames<RestoreBackupOptions> = { ...VERIFY_NAMES, backup: true, at: true }
export const PURGE_NAMES: OptionNames<PurgeOptions> = { ...ACCESS_NAMES, keep: true }
