import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { type Database, type OpenOptions, open } from '../../src/index.js'
import { STORE, TINY } from '../store/helpers.js'

export const KEY = Buffer.from('0b4c5e6f'.repeat(8), 'hex')
export const OTHER_KEY = Buffer.from('0b4c5e70'.repeat(8), 'hex')
export const ENCRYPTED: OpenOptions = { ...TINY, encryption: { key: KEY } }
/** In every key, value and name that the tests write. */
export const SECRET = 'hush'

export function openEncrypted(
  env: MemoryEnv = memoryEnv(),
  options: OpenOptions = {},
  path = STORE,
): Promise<Database> {
  return open(path, { ...ENCRYPTED, ...options, env } as OpenOptions)
}

/** Writes of every kind: several segments in several levels, range tombstones, a consumer, a kept log. */
export async function fill(db: Database, rounds = 6): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < 40; i++) {
      const id = String((i * 7 + round * 13) % 100).padStart(3, '0')
      void db.put(`${SECRET}-key-${id}`, `${SECRET}-value-${round}-${id}-${'x'.repeat(i)}`)
    }
    await db.batch([
      { type: 'put', key: `${SECRET}-batch-${round}`, value: `${SECRET}`.repeat(20) },
      { type: 'del', key: `${SECRET}-key-00${round}` },
    ])
    if (round === 2) await db.clear({ gte: `${SECRET}-key-050`, lt: `${SECRET}-key-060` })
    await db.flush()
  }
}

/** Every file of a directory and of those in it, by path. */
export function filesIn(fs: MemoryFileSystem, directory = STORE): Map<string, Buffer> {
  const found = new Map<string, Buffer>()
  for (const name of fs.list(directory)) {
    const path = `${directory}/${name}`
    if (!fs.stat(path)!.isDirectory) found.set(path, Buffer.from(fs.readFile(path)))
    else for (const [inner, bytes] of filesIn(fs, path)) found.set(inner, bytes)
  }
  return found
}
