import { describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import { logFileName } from '../../src/env/file-names.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { Database, OpenOptions } from '../../src/index.js'
import { pad, STORE, TINY, watched } from './helpers.js'

/** Where in the calls a file of the structure is written next, and which log it takes its entries from. */
interface Flush {
  readonly at: number
  readonly log: string
}

describe('durable writes', () => {
  it.each([
    ['awaited one by one', 1],
    ['in bursts over several log files', 90],
  ])('D3: are in the log, on disk, before the structure is written that holds them: %s', async (_, burst) => {
    const watch = watched(memoryEnv())
    const { calls } = watch
    const db: Database = await open(STORE, { ...TINY, durability: 'disk', env: watch.env } as OpenOptions)
    const flushes: Flush[] = []
    db.on('flush.began', ({ logNumber }) => flushes.push({ at: calls.length, log: logFileName(logNumber) }))
    for (let i = 0; i < 450; i += burst) {
      await Promise.all(Array.from({ length: burst }, (_, j) => db.put(pad((i + j) % 70), 'v'.repeat(60))))
    }
    await db.compact()
    await db.close()
    expect(flushes.length).toBeGreaterThan(8)
    for (const { at, log } of flushes) {
      const structure = calls.findIndex((call, i) => i >= at && /^write (\d+\.seg|MANIFEST)/.test(call))
      const lastWrite = calls.lastIndexOf(`write ${log}`)
      const synced = calls.findIndex((call, i) => i > lastWrite && call === `sync ${log}`)
      expect(lastWrite).toBeLessThan(structure)
      expect([log, synced >= 0 && synced < structure]).toEqual([log, true])
    }
  })
})
