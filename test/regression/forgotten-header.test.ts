import { expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { LOG_HEADER_BYTES } from '../../src/log/log-format.js'
import { codeOf, dump, openMemory, STORE } from '../store/helpers.js'

/**
 * A sync of a new log file failed, so that its header is on no disk, while a frame was on its way into the same sector;
 * then the power went. Nothing of the file had been promised against that.
 */
async function crashed(isSynced: boolean): Promise<MemoryFileSystem> {
  const { db, env } = await openMemory({ durability: 'os' })
  await db.put('a', '1')
  if (isSynced) for (const key of ['b', 'c']) await db.put(key, '1', { durability: 'disk' })
  return env.fs.clone()
}

function changeHeader(fs: MemoryFileSystem, change: (header: Buffer) => void): void {
  const name = fs.list(STORE).filter((each) => each.endsWith('.log'))
  expect(name).toHaveLength(1)
  const path = `${STORE}/${name[0]}`
  const bytes = Buffer.from(fs.readFile(path))
  change(bytes.subarray(0, LOG_HEADER_BYTES))
  fs.writeFile(path, bytes)
}

it('a log whose header the system has forgotten was never synced: the store opens', async () => {
  const fs = await crashed(false)
  changeHeader(fs, (header) => header.fill(0))
  const { db } = await openMemory({}, memoryEnv({ fs }))
  expect(await dump(db)).toEqual({})
  await db.put('b', '2')
  await db.close()
})

it('but not where a later frame says that the file was synced, or the header is damaged', async () => {
  const synced = await crashed(true)
  changeHeader(synced, (header) => header.fill(0))
  expect(await codeOf(() => openMemory({}, memoryEnv({ fs: synced })))).toBe('VARVE_CORRUPTION')
  const damaged = await crashed(false)
  changeHeader(damaged, (header) => {
    header[20]! ^= 1
  })
  expect(await codeOf(() => openMemory({}, memoryEnv({ fs: damaged })))).toBe('VARVE_CORRUPTION')
})
