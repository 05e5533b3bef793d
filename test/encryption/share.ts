/**
 * Random suites run a share of their stores encrypted, chosen by seed. `VARVE_ENCRYPTED=1` encrypts all of them,
 * `VARVE_ENCRYPTED=0` none.
 */
import type { EncryptionOptions } from '../../src/index.js'

/** One in so many seeds. */
const EACH = 8
const FORCED = process.env['VARVE_ENCRYPTED'] ?? ''
/** Always the same: equal seeds make equal files. */
export const SHARE_KEY = Buffer.from('5eedc0de'.repeat(8), 'hex')

export interface EncryptionShare {
  readonly encryption?: EncryptionOptions
}

/** About every eighth, whatever the distance between the seeds of a run. */
export function isEncrypted(seed: number): boolean {
  return underSwitch(Math.imul(seed, 0x9e3779b1) >>> 0 < 2 ** 32 / EACH)
}

/** What was chosen, where the switch says nothing else. */
export function underSwitch(isChosen: boolean): boolean {
  return FORCED === '' ? isChosen : FORCED === '1'
}

/** Options of the store of a seed. */
export function encryptionOf(seed: number): EncryptionShare {
  return encryptionIf(isEncrypted(seed))
}

export function encryptionIf(isChosen: boolean): EncryptionShare {
  return isChosen ? { encryption: { key: SHARE_KEY } } : {}
}

/** For the line that says which run failed. */
export function encryptionNote(seed: number): string {
  return isEncrypted(seed) ? ', encrypted' : ''
}

/** What `npm run sim` is told where a run was forced. */
export function encryptionSwitch(): string {
  return FORCED === '' ? '' : FORCED === '1' ? ' --encrypted' : ' --plain'
}
