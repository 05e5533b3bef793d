import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'varve-life-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true })
})

/** Runs `body` as a module with `open` and `directory`: what it wrote, and how it ended. */
function run(body: string): { output: string; status: number | null } {
  const main = new URL('../../dist/index.js', import.meta.url).href
  const script = `import { open } from '${main}'\nconst directory = ${JSON.stringify(directory)}\n${body}`
  const args = ['--input-type=module', '--eval', script]
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 })
  return { output: stdout + stderr, status }
}

describe('a process that does nothing but wait for the store', () => {
  it('lives until writes are through that are slowed because memtables wait', () => {
    const body = `
      const db = await open(directory, { memory: 65_536, memtableBytes: 16_384 })
      let slowest = 0
      for (let i = 0; i < 30; i++) {
        const start = performance.now()
        await db.put('key' + i, 'v'.repeat(100_000))
        slowest = Math.max(slowest, performance.now() - start)
      }
      console.log(db.stats().stall.count > 0, slowest < 1000)
      await db.close()
      console.log('closed')`
    expect(run(body)).toEqual({ output: 'true true\nclosed\n', status: 0 })
  })

  it('lives until a read that waits for a position is answered or gives up', () => {
    const body = `
      const db = await open(directory)
      const failed = await db.get('a', { atLeast: 5, timeoutMs: 50 }).catch((error) => error.code)
      console.log(failed)
      await db.close()`
    expect(run(body)).toEqual({ output: 'VARVE_TIMEOUT\n', status: 0 })
  })

  it('may end without close: an idle store holds nothing up, and what was handed to the system stays', () => {
    const write = run(`const db = await open(directory)\nawait db.put('a', '1')\nconsole.log('written')`)
    expect(write).toEqual({ output: 'written\n', status: 0 })
    const read = run(`const db = await open(directory)\nconsole.log(await db.get('a'))`)
    expect(read).toEqual({ output: '1\n', status: 0 })
  })
})
