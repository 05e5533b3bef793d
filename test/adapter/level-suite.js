// The compliance suite of abstract-level, unmodified, on real directories. Prints TAP.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import suite from 'abstract-level/test/index.js'
import test from 'tape'
import { VarveLevel } from '../../dist/adapter/level/varve-level.js'

const root = mkdtempSync(join(tmpdir(), 'varve-level-'))
let count = 0

suite({
  test,
  factory: (options) => new VarveLevel(join(root, String(count++)), options),
})
test.onFinish(() => rmSync(root, { recursive: true, force: true }))
