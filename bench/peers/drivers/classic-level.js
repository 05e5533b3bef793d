import { ClassicLevel } from 'classic-level'
import { openLevel } from './level.js'
import { packageVersion } from './package-version.js'

export function open(dir, { memory }) {
  const db = new ClassicLevel(dir, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    cacheSize: memory / 2,
    // LevelDB holds up to two of these: the one being written and the one being flushed.
    writeBufferSize: memory / 4,
  })
  return openLevel('classic-level', packageVersion('classic-level'), db)
}
