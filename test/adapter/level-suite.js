// The compliance suite of abstract-level, unmodified, on real directories. Prints TAP.
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import suite from 'abstract-level/test/index.js'
import test from 'tape'
import { VarveLevel } from '../../dist/adapter/level/varve-level.js'

// Some hundred stores are made: in memory where the system has a directory there, for the speed of it.
const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'varve-level-'))
let count = 0

suite({
  test,
  factory: (options) => new VarveLevel(join(root, String(count++)), options),
})
test.onFinish(() => rmSync(root, { recursive: true, force: true }))
