// @ts-check
// The replication slot: PostgreSQL keeps its log for it until the reader acknowledges, also while nobody reads. Its
// lag is therefore to be watched from elsewhere too: `watchSlot` needs no store and no running reader. What ends the
// growth is `max_slot_wal_keep_size`; beyond it the slot is lost, which `lossOf` finds before anything is applied.
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { lsnOf } from './lsn.js'

/**
 * @typedef {object} SlotStatus
 * @property {number} lagBytes of PostgreSQL's log that the slot's reader has not acknowledged
 * @property {string} walStatus `reserved`, `extended`, `unreserved` (in danger) or `lost`
 * @property {number | undefined} safeBytes that may still be written before the slot is lost; undefined: no cap
 * @property {bigint | undefined} confirmedLsn up to which the server has been told
 * @property {boolean} isActive
 */

/**
 * @param {import('pg').ClientBase} client
 * @param {string} slot
 * @returns {Promise<SlotStatus | undefined>} undefined: there is no such slot
 */
export async function readSlot(client, slot) {
  const { rows } = await client.query(
    `select active, coalesce(wal_status, 'lost') as wal_status, safe_wal_size, confirmed_flush_lsn as confirmed,
       pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::float8 as lag
     from pg_replication_slots where slot_name = $1`,
    [slot],
  )
  const row = rows[0]
  if (row === undefined) return undefined
  return {
    lagBytes: row.lag ?? Number.POSITIVE_INFINITY,
    walStatus: row.wal_status,
    safeBytes: row.safe_wal_size === null ? undefined : Number(row.safe_wal_size),
    confirmedLsn: row.confirmed === null ? undefined : lsnOf(row.confirmed),
    isActive: row.active,
  }
}

/**
 * Why the slot cannot go on where the store is, if it cannot. A server asked for what the slot has passed does not
 * fail: it silently starts later. So the slot is compared first.
 *
 * @param {SlotStatus | undefined} slot
 * @param {bigint} savedLsn
 */
export function lossOf(slot, savedLsn) {
  if (slot === undefined) return 'the replication slot is gone'
  if (slot.walStatus === 'lost')
    return 'the replication slot was lost: its reader was away past max_slot_wal_keep_size'
  if (slot.confirmedLsn === undefined || slot.confirmedLsn > savedLsn) {
    return 'the replication slot is ahead of the store: another reader used it, or the store is an older copy'
  }
  return undefined
}

/** @param {SlotStatus} slot @param {number} warningBytes */
export function isSlotInDanger(slot, warningBytes) {
  return slot.lagBytes > warningBytes || slot.walStatus === 'unreserved' || slot.walStatus === 'lost'
}

/**
 * Measures the slot every `everyMs` until the signal ends it, and calls `onWarning` each time that it is in danger.
 *
 * @param {pg.ClientConfig} connection
 * @param {string} slot
 * @param {object} options
 * @param {number} options.warningBytes
 * @param {(status: SlotStatus) => void} options.onWarning
 * @param {(status: SlotStatus) => void} [options.onStatus]
 * @param {number} [options.everyMs]
 * @param {AbortSignal} options.signal
 */
export async function watchSlot(
  connection,
  slot,
  { warningBytes, onWarning, onStatus, everyMs = 10_000, signal },
) {
  const client = new pg.Client(connection)
  // A query that fails says it too.
  client.on('error', () => {})
  try {
    await client.connect()
    while (!signal.aborted) {
      const status = await readSlot(client, slot)
      if (status !== undefined) {
        onStatus?.(status)
        if (isSlotInDanger(status, warningBytes)) onWarning(status)
      }
      await sleep(everyMs, undefined, { signal }).catch(() => {})
    }
  } finally {
    await client.end().catch(() => {})
  }
}
