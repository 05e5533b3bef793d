import { MemoryLevel } from 'memory-level'
import { openLevel } from './level.js'
import { packageVersion } from './package-version.js'

/** Keeps nothing: what is opened again is what was never closed. */
let engine

export async function open() {
  if (!engine) {
    const db = new MemoryLevel({ keyEncoding: 'buffer', valueEncoding: 'buffer', storeEncoding: 'buffer' })
    engine = { ...(await openLevel('memory-level', packageVersion('memory-level'), db)), close() {} }
  }
  return engine
}
