import { readFileSync } from 'node:fs'
import { VarveLevel } from '../../../dist/adapter/level/varve-level.js'
import { openLevel } from './level.js'

const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))

export function open(dir, { memory }) {
  const db = new VarveLevel(dir, { keyEncoding: 'buffer', valueEncoding: 'buffer', memory })
  return openLevel('varve-level', version, db)
}
